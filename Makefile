# make run    builds gosv and shows what it does
# make test   installs what the tests need and runs them all
# make bench  measures gosv and what it can be compared with; BENCH="-runs 5 -best" are its flags

GO ?= go
# The sentry leaves the low addresses to programs (docs/platforms.md).
LDFLAGS := -T=0x600000001000 -s -w

.PHONY: all build run test check docs bench clean

all: build

build: bin/gosv

bin/gosv: FORCE
	CGO_ENABLED=0 $(GO) build -ldflags="$(LDFLAGS)" -o $@ ./runsc-like

run: build
	bash tests/demo.sh

test: build
	bash tests/run.sh

# What CI asks besides the tests.
check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) run ./syscalls/gen -check

docs:
	$(GO) run ./syscalls/gen

bench: build
	$(GO) run ./tests/bench $(BENCH)

clean:
	rm -rf bin tests/out

FORCE:
