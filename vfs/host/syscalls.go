package host

import (
	"golang.org/x/sys/unix"

	"gosv.dev/platform/hostcall"
)

// beneath: argument n is a descriptor and not AT_FDCWD, so paths are relative to what was opened
// before. (Absolute paths lead into the sentry's empty root.)
func beneath(ns ...int) []hostcall.Cond {
	var c []hostcall.Cond
	for _, n := range ns {
		c = append(c, hostcall.Cond{Arg: n, Mask: 1 << 31, Value: 0})
	}
	return c
}

func value(arg int, v uint64) hostcall.Cond {
	return hostcall.Cond{Arg: arg, Mask: 0xffffffff, Value: v}
}

// HostSyscalls lists the host calls that the package makes, and with which arguments. Several
// entries for one call are alternatives. Ordinary work on descriptors (read, pread64, close ...) has no
// conditions: a descriptor that is there was opened by us.
func HostSyscalls() []hostcall.Rule {
	const dirs = "host directories"
	const inherited = "inherited descriptors"
	list := []hostcall.Rule{
		{Nr: unix.SYS_OPENAT, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_STATX, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_MKDIRAT, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_MKNODAT, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_UNLINKAT, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_SYMLINKAT, Args: beneath(1), Why: dirs},
		{Nr: unix.SYS_LINKAT, Args: beneath(0, 2), Why: dirs},
		{Nr: unix.SYS_RENAMEAT2, Args: beneath(0, 2), Why: dirs},
		{Nr: unix.SYS_READLINKAT, Args: beneath(0), Why: dirs},
		{Nr: unix.SYS_FCHMODAT, Args: beneath(0), Why: dirs},
		{Nr: 452, Args: append(beneath(0), value(3, unix.AT_EMPTY_PATH)), Why: dirs}, // fchmodat2
		{Nr: unix.SYS_FCHOWNAT, Args: append(beneath(0), value(4, unix.AT_EMPTY_PATH)), Why: dirs},
		{Nr: unix.SYS_UTIMENSAT, Args: beneath(0), Why: dirs},
	}
	for _, nr := range []uintptr{
		unix.SYS_CLOSE, unix.SYS_LSEEK, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_GETDENTS64,
		unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FSTATFS,
		unix.SYS_FCHMOD, unix.SYS_FGETXATTR, unix.SYS_FSETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR,
	} {
		list = append(list, hostcall.Rule{Nr: nr, Why: dirs})
	}
	for _, nr := range []uintptr{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_POLL, unix.SYS_PPOLL,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_WAIT,
	} {
		list = append(list, hostcall.Rule{Nr: nr, Why: inherited})
	}
	for _, cmd := range []uint64{
		unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF, tcgets2, tcsets2, tcsetsw2, tcsetsf2,
		unix.TIOCGWINSZ, unix.TIOCSWINSZ, unix.TIOCOUTQ, unix.TIOCGETD, unix.TIOCGEXCL, unix.TIOCINQ,
		unix.TCSBRK, unix.TCSBRKP, unix.TCXONC, unix.TCFLSH,
	} {
		list = append(list, hostcall.Rule{Nr: unix.SYS_IOCTL, Args: []hostcall.Cond{value(1, cmd)}, Why: "inherited terminals"})
	}
	return append(list,
		hostcall.Rule{Nr: unix.SYS_SENDMSG, Args: []hostcall.Cond{value(2, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)}, Why: "inherited sockets"},
		hostcall.Rule{Nr: unix.SYS_FCNTL, Args: []hostcall.Cond{value(1, unix.F_GETFL)}, Why: inherited})
}
