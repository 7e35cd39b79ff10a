#!/usr/bin/env bash
# Installs the programs that the tests run, when they are missing. Debian and its kin; needs root only if something is.
set -euo pipefail
need=()
want() { # command, package
  command -v "$1" >/dev/null 2>&1 || [ -x "$1" ] || need+=("$2")
}
want bash bash
want busybox busybox-static
want /usr/bin/python3 python3
want gcc gcc
[ -e /usr/include/stdio.h ] || need+=(libc6-dev)
[ -e /usr/include/linux/mount.h ] || need+=(linux-libc-dev)
want make make
want git git
want tar tar
want gzip gzip
want find findutils
want perl perl
want sqlite3 sqlite3
want javac default-jdk-headless
want node nodejs
want stress-ng stress-ng
want strace strace
want gdb gdb
want valgrind valgrind
want sbcl sbcl
want trinity trinity
want musl-gcc musl-tools
want ps procps
want script bsdutils
[ ${#need[@]} -eq 0 ] && exit 0
echo "installing: ${need[*]}"
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# One by one when together fails, so that a missing name does not keep the others away; the tests say what they lack.
$sudo apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null || for p in "${need[@]}"; do
  $sudo apt-get install -y -qq --no-install-recommends "$p" >/dev/null || echo "cannot install $p" >&2
done
