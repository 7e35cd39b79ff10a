package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Calls about the machine, which a sandbox has none of.

// needCap returns EPERM without the capability in the initial user namespace, else err: for calls that
// Linux lets only the administrator make, and that have nothing to act on here.
func needCap(t *sentry.Task, c int, err error) (uintptr, error) {
	if !t.Cred().HasInitial(c) {
		return 0, unix.EPERM
	}
	return 0, err
}

// swapon(2): there is no swap space; no file is one.
func swapon(t *sentry.Task, _ usermem.Addr, _ int32) (uintptr, error) {
	return needCap(t, unix.CAP_SYS_ADMIN, unix.EINVAL)
}

// swapoff(2)
func swapoff(t *sentry.Task, _ usermem.Addr) (uintptr, error) {
	return needCap(t, unix.CAP_SYS_ADMIN, unix.EINVAL)
}

// acct(2): there is no accounting, as in a kernel built without.
func acct(t *sentry.Task, _ usermem.Addr) (uintptr, error) {
	return needCap(t, unix.CAP_SYS_PACCT, unix.ENOSYS)
}

// kexec_load(2)
func kexecLoad(t *sentry.Task, _, _ uint64, _ usermem.Addr, _ uint64) (uintptr, error) {
	return 0, unix.EPERM
}

// kexec_file_load(2)
func kexecFileLoad(t *sentry.Task, _, _ int32, _ uint64, _ usermem.Addr, _ uint64) (uintptr, error) {
	return 0, unix.EPERM
}

// init_module(2), and finit_module(2), delete_module(2): modules are disabled for good
// (kernel.modules_disabled), which is EPERM for root too.
func initModule(*sentry.Task, usermem.Addr, uint64, usermem.Addr) (uintptr, error) {
	return 0, unix.EPERM
}

func finitModule(*sentry.Task, int32, usermem.Addr, int32) (uintptr, error) { return 0, unix.EPERM }

func deleteModule(*sentry.Task, usermem.Addr, uint32) (uintptr, error) { return 0, unix.EPERM }

// iopl(2): no ports. Level 0 is what everybody has.
func iopl(_ *sentry.Task, level uint32) (uintptr, error) {
	if level > 3 {
		return 0, unix.EINVAL
	}
	if level == 0 {
		return 0, nil
	}
	return 0, unix.EPERM
}

// ioperm(2)
func ioperm(_ *sentry.Task, from, num uint64, on int32) (uintptr, error) {
	if from+num <= from || from+num > 65536 {
		return 0, unix.EINVAL
	}
	if on != 0 {
		return 0, unix.EPERM
	}
	return 0, nil
}
