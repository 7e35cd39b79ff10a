#!/usr/bin/env bash
# Runs the guest programs on another Linux kernel, in QEMU's software emulation: as root and as an ordinary user, and then
# under settings of the host that take away what the sandbox needs.
#
#	tests/oldkernels.sh KERNEL [PROGRAM...]
#
# KERNEL is a bzImage with a serial console, a RAM disk and tmpfs built in, such as /boot/vmlinuz of a distribution's
# package (dpkg-deb --fsys-tarfile linux-image-....deb | tar -x ./boot). Without names of programs all of tests/guest run,
# which takes a quarter of an hour or more. What is expected is what the programs print natively on this machine, in the same tree of files.
# Under the settings gosv must work, or end with one line that says what failed.
#
#	GOSV_BINARY   the gosv to test, bin/gosv otherwise
#	GOSV_PLATFORM the platform, ptrace otherwise
#	GOSV_APPEND   more words for the kernel's command line
#	GOSV_SMP, GOSV_MEMORY, GOSV_CPU, GOSV_TIMEOUT   the machine: 2, 3G, max, and how many seconds it may run (3600)
#
# Needs root, gcc, busybox-static, cpio, qemu-system-x86. Not part of tests/run.sh.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
kernel=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
gosv=${GOSV_BINARY-bin/gosv}
for tool in gcc busybox cpio qemu-system-x86_64 unshare; do
  command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 2; }
done
go test ./tests/guest -run 'TestPrograms/^none$' | grep -v '^ok' || true # builds them

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,t,want/0,want/65534,root,var/tmp,run,lib64,usr/bin}
chmod 755 "$work" "$root"
chmod 1777 "$root/tmp" "$root/var/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
cp "$gosv" "$root/bin/gosv"
[ $# -gt 0 ] || set -- $(cd tests/out/guest && ls -d */* | sed 's|.*/||' | sort | grep -vx signal_faults) # QEMU raises no SSE exceptions
for name; do cp tests/out/guest/*/"$name" "$root/t/"; done
for lib in $( (ldd "$root"/t/* 2>/dev/null || true) | grep -o '/lib[^ ]*' | sort -u); do
  mkdir -p "$root$(dirname "$lib")"
  cp -L "$lib" "$root$lib"
done

# As a user, in a session of its own, with the environment that tests have.
gcc -O1 -static -x c -o "$root/bin/as" - <<'END'
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int uid = atoi(argv[1]);
	static char home[4096] = "HOME=";
	char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", home, "LANG=C.UTF-8", "TERM=dumb", NULL};
	for (int i = 0; i < 4000 && argv[2][i]; i++)
		home[5 + i] = argv[2][i];
	umask(022);
	setsid();
	if (uid != getuid() && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)))
		return 125;
	if (chdir(argv[2]))
		return 125;
	execve(argv[3], argv + 3, env);
	return 127;
}
END

# All programs, natively, or in one sandbox, as a user.
cat >"$root/bin/all" <<'END'
#!/bin/sh
# all native|sandbox UID
uid=$2 dir=/tmp/dir-$2
passed=0 failed=0
one() { # program, output
  rm -rf $dir; mkdir $dir; chown $uid:$uid $dir
  timeout -s KILL 120 as $uid $dir /t/$1 a b </dev/null >$2 2>/tmp/err-$uid
  echo "(exit status $?)" >>$2
}
for p in $(cd /t; ls); do
  if [ $1 = native ]; then one $p /want/$uid/$p; continue; fi
  want=/want/$uid/$p out=/tmp/out-$uid
  for times in once "the second time" never; do
    [ "$times" = never ] || one $p $out
    cmp -s $want $out && break
  done
  if [ "$times" = never ]; then
    failed=$((failed+1))
    echo "FAILED $uid $p"
    diff -U1 $want $out | tail -n +3 | head -20
    head -5 /tmp/err-$uid
  else
    passed=$((passed+1))
    [ "$times" = once ] || echo "passed $uid $p $times"
  fi
done
[ $1 = native ] || echo "SUMMARY: uid $uid: $passed passed, $failed failed, after $(cut -d. -f1 /proc/uptime) s"
END

# On the kernel under test.
cat >"$root/bin/conditions" <<'END'
#!/bin/sh
# Under each setting gosv works, or ends with one line.
dir=/tmp/dir
rm -rf $dir; mkdir $dir; chmod 755 $dir
try() {
  for uid in 0 65534; do
    timeout -s KILL 60 as $uid $dir /bin/gosv do -- /bin/echo works </dev/null >/tmp/out 2>/tmp/err
    status=$?
    if [ $status = 0 ] && [ "$(cat /tmp/out)" = works ] && [ ! -s /tmp/err ]; then echo "CONDITION $1, uid $uid: works"
    elif [ $status != 0 ] && [ $(wc -l </tmp/err) = 1 ]; then echo "CONDITION $1, uid $uid: status $status: $(cat /tmp/err)"
    else echo "CONDITION $1, uid $uid: BAD, status $status"; head -20 /tmp/out /tmp/err
    fi
  done
}
with() { # sysctl, value
  f=/proc/sys/$(echo $1 | tr . /)
  if [ ! -e $f ]; then echo "CONDITION $1: this kernel has no such setting"; return; fi
  was=$(cat $f)
  echo $2 >$f && try "$1=$2"
  echo $was >$f 2>/dev/null
}
try "as it is"
with user.max_user_namespaces 0
with user.max_pid_namespaces 0
with user.max_mnt_namespaces 0
with kernel.unprivileged_userns_clone 0
with kernel.apparmor_restrict_unprivileged_userns 1
with vm.max_map_count 100
with fs.protected_regular 2
mount -o remount,noexec /dev 2>/dev/null
mount -t tmpfs none /proc; try "no /proc"; umount /proc
mount -o remount,hidepid=2 /proc; try "/proc with hidepid=2"; mount -o remount,hidepid=0 /proc
mount -t tmpfs -o mode=1777 tmp /tmp; mkdir $dir; chmod 755 $dir
mount -o remount,ro /; try "a root that is read-only"; mount -o remount,rw /
for scope in 1 2 3; do with kernel.yama.ptrace_scope $scope; done # the last cannot be undone
END
cat >"$root/init" <<'END'
#!/bin/sh
# First as the RAM disk's, whose root cannot be pivoted away from, then in a tmpfs.
export PATH=/bin
if [ -d /new ]; then
  mount -t proc proc /proc
  grep -q ramdisk=only /proc/cmdline; only=$?
  umount /proc
  if [ $only != 0 ]; then
    mount -t tmpfs -o size=2g,mode=755 root /new
    tar -c bin etc lib lib64 init proc root run sys t tmp usr var want | tar -x -C /new
    mkdir /new/dev
    mount -t devtmpfs dev /new/dev
    exec switch_root /new /init
  fi
fi
mount -t proc proc /proc
mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts /dev/mqueue
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t devpts devpts /dev/pts
dmesg -n 1
echo "KERNEL $(uname -r), the root is a $(grep " / " /proc/mounts | tail -1 | cut -d" " -f3)"
platform=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^gosvplatform=//p')
for uid in 0 65534; do as $uid / /bin/gosv do --platform=$platform -- /bin/all sandbox $uid </dev/null; done
conditions
dmesg | grep -iE 'BUG|oops|segfault|general protection' | tail -5
echo "THE END"
poweroff -f
END
chmod 755 "$root/init" "$root"/bin/{all,conditions}

echo "== natively"
mkdir "$root/old"
unshare -m -p -f sh -ec "
  mount --bind $root $root; cd $root
  mount -t proc proc proc; mount -t sysfs sys sys; mount --rbind /dev dev
  pivot_root . old
  exec /bin/sh -ec 'umount -l /old; for uid in 0 65534; do all native \$uid; done'"
rmdir "$root/old"
rm -rf "$root"/tmp/*
mkdir "$root/new"
(cd "$root" && find . -xdev | cpio -o -H newc --quiet) >"$work/ram"
echo "== $(basename "$kernel")"
timeout "${GOSV_TIMEOUT-3600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu "${GOSV_CPU-max}" -smp "${GOSV_SMP-2}" -m "${GOSV_MEMORY-3G}" -nic none \
  -kernel "$kernel" -initrd "$work/ram" -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check random.trust_cpu=on gosvplatform=${GOSV_PLATFORM-ptrace} ${GOSV_APPEND-}" -display none -serial stdio -no-reboot </dev/null |
  sed -u 's|\r||' | tee "$work/log"
grep -q '^THE END' "$work/log" || { echo "the machine did not reach the end"; exit 1; }
! grep -qE '^FAILED|: BAD' "$work/log"
