#!/usr/bin/env bash
# Runs all tests and says how many there were. Installs what they need.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/install.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
run() { # name, arguments of go test
  local name=$1
  shift
  echo "== $name"
  go test -v "$@" >"$out/$name" 2>&1 || status=1
  # What failed in full, what passed in a line a package.
  if grep -qE '^(\s*--- FAIL|FAIL|panic:)' "$out/$name"; then
    grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' "$out/$name" | tail -n 400
  else
    grep -E '^(ok|\?)' "$out/$name" || true
  fi
}
# Packages, with the race detector.
run units -race -timeout 10m ./platform/... ./mm/... ./vfs/... ./sentry/... ./netstack/... ./syscalls/... ./runsc-like/...
# Programs, natively and in the sandbox.
run programs -timeout 25m -p 1 ./tests/...
count() { cat "$out"/* | grep -cE "^\s*--- $1" || true; }
echo "$(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit $status
