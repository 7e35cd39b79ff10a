package host

import "golang.org/x/sys/unix"

// Syscall is a host call that this package makes after the sentry has confined itself.
type Syscall struct {
	Nr   uintptr
	Args []Cond
	Why  string
}

// Cond is a condition on an argument: arg&Mask == Value.
type Cond struct {
	Arg         int
	Mask, Value uint64
}

// beneath: argument n is a descriptor and not AT_FDCWD, so paths are relative to what was opened
// before. (Absolute paths lead into the sentry's empty root.)
func beneath(ns ...int) []Cond {
	var c []Cond
	for _, n := range ns {
		c = append(c, Cond{Arg: n, Mask: 1 << 31, Value: 0})
	}
	return c
}

func value(arg int, v uint64) Cond { return Cond{Arg: arg, Mask: 0xffffffff, Value: v} }

// HostSyscalls lists the host calls that the package makes, and with which arguments. Several
// entries for one call are alternatives. Ordinary work on descriptors (read, pread64, close ...) has no
// conditions: a descriptor that is there was opened by us.
func HostSyscalls() []Syscall {
	const dirs = "host directories"
	const inherited = "inherited descriptors"
	list := []Syscall{
		{unix.SYS_OPENAT, beneath(0), dirs},
		{unix.SYS_STATX, beneath(0), dirs},
		{unix.SYS_MKDIRAT, beneath(0), dirs},
		{unix.SYS_MKNODAT, beneath(0), dirs},
		{unix.SYS_UNLINKAT, beneath(0), dirs},
		{unix.SYS_SYMLINKAT, beneath(1), dirs},
		{unix.SYS_LINKAT, beneath(0, 2), dirs},
		{unix.SYS_RENAMEAT2, beneath(0, 2), dirs},
		{unix.SYS_READLINKAT, beneath(0), dirs},
		{unix.SYS_FCHMODAT, beneath(0), dirs},
		{452, append(beneath(0), value(3, unix.AT_EMPTY_PATH)), dirs}, // fchmodat2
		{unix.SYS_FCHOWNAT, append(beneath(0), value(4, unix.AT_EMPTY_PATH)), dirs},
		{unix.SYS_UTIMENSAT, beneath(0), dirs},
	}
	for _, nr := range []uintptr{
		unix.SYS_CLOSE, unix.SYS_LSEEK, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_GETDENTS64,
		unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FSTATFS,
		unix.SYS_FCHMOD, unix.SYS_FGETXATTR, unix.SYS_FSETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR,
	} {
		list = append(list, Syscall{Nr: nr, Why: dirs})
	}
	for _, nr := range []uintptr{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_POLL, unix.SYS_PPOLL,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_WAIT,
	} {
		list = append(list, Syscall{Nr: nr, Why: inherited})
	}
	for _, cmd := range []uint64{
		unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF, tcgets2, tcsets2, tcsetsw2, tcsetsf2,
		unix.TIOCGWINSZ, unix.TIOCSWINSZ, unix.TIOCOUTQ, unix.TIOCGETD, unix.TIOCGEXCL, unix.TIOCINQ,
		unix.TCSBRK, unix.TCSBRKP, unix.TCXONC, unix.TCFLSH,
	} {
		list = append(list, Syscall{Nr: unix.SYS_IOCTL, Args: []Cond{value(1, cmd)}, Why: "inherited terminals"})
	}
	return append(list,
		Syscall{Nr: unix.SYS_SENDMSG, Args: []Cond{value(2, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)}, Why: "inherited sockets"},
		Syscall{Nr: unix.SYS_FCNTL, Args: []Cond{value(1, unix.F_GETFL)}, Why: inherited})
}
