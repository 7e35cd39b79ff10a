#!/usr/bin/env bash
# A short demonstration: programs of this machine on another kernel, which they may change as they like.
set -eu
cd "$(dirname "$0")/.."
show() {
  printf '\n\033[1m$ %s\033[0m\n' "$(echo "$*" | sed "s|bin/gosv|gosv|")"
  "$@"
}
echo "The host runs $(uname -sr). In the sandbox:"
show bin/gosv do -- uname -sr
show bin/gosv do -- sh -c 'echo "hello from process $$, as $(id -un)"'
show bin/gosv do -- sh -c 'rm -rf /usr/include/* && ls -A /usr/include | wc -l'
echo "and on the host /usr/include still has $(ls -A /usr/include | wc -l) entries."
show bin/gosv do -- sh -c 'seq 1 100000 | sort -rn | head -3'
show bin/gosv do --memory 64M --hostname box -- sh -c 'hostname; head -1 /proc/meminfo'
