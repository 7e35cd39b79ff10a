#!/usr/bin/env bash
# Runs all tests and says how many there were. Installs what they need.
#
# A test that fails is run again, at most twice and only if few failed, and named in the last lines: on a machine that is
# busy with something else a program that waits for another can be late. GOSV_STRICT=1: nothing is run again.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/install.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
again=(--rerun-fails=2 --rerun-fails-max-failures=8)
[ -z "${GOSV_STRICT-}" ] || again=()
run() { # name, packages, arguments of go test
  local name=$1 packages=$2
  shift 2
  echo "== $name"
  go tool gotestsum --format pkgname --format-hide-empty-pkg --hide-summary skipped --jsonfile "$out/$name" \
    --rerun-fails-report "$out/$name.again" "${again[@]}" --packages "$packages" -- "$@" || status=1
}
# Packages, with the race detector, but for the platform flat: what ships is tested there, which has no C code in it (platform/flat/tls_unsafe.go),
# and the instructions of leaf calls.
run units "$(go list ./platform/... ./mm/... ./vfs/... ./sentry/... ./netstack/... ./syscalls/... ./runsc-like/... | grep -v /platform/flat | tr '\n' ' ')" -race -timeout 10m
CGO_ENABLED=0 run flat "./platform/flat/... ./syscalls" -timeout 10m
# Programs, natively and in the sandbox, on each platform that the machine can have.
if [ -z "${GOSV_PLATFORMS-}" ]; then
  export GOSV_PLATFORMS=ptrace
  if why=$(bin/gosv do --platform=flat true 2>&1); then
    GOSV_PLATFORMS=ptrace,flat
  else
    echo "the platform flat is not tested: $why"
  fi
fi
run programs "./tests/..." -timeout 25m -p 1
cat "$out"/*.again 2>/dev/null || true
go run ./tests/count "$out/units" "$out/flat" "$out/programs"
exit $status
