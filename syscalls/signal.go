package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs/kernfs"
)

// Signals.

const sigsetSize = 8

// readSigset reads a set of signals of the given size, which must be the right one.
func readSigset(t *sentry.Task, addr usermem.Addr, size uint64) (s sentry.SigSet, err error) {
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	return s, usermem.CopyObjectIn(t.MM(), addr, &s)
}

// rt_sigaction(2)
func rtSigaction(t *sentry.Task, sig int32, act, old usermem.Addr, size uint64) (uintptr, error) {
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	var n *sentry.SigAction
	if act != 0 {
		n = new(sentry.SigAction)
		if err := usermem.CopyObjectIn(t.MM(), act, n); err != nil {
			return 0, err
		}
	}
	was, err := t.SetAction(sig, n)
	if err != nil || old == 0 {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), old, &was)
}

// rt_sigprocmask(2)
func rtSigprocmask(t *sentry.Task, how int32, set, old usermem.Addr, size uint64) (uintptr, error) {
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	was := t.SignalMask()
	if set != 0 {
		var s sentry.SigSet
		if err := usermem.CopyObjectIn(t.MM(), set, &s); err != nil {
			return 0, err
		}
		switch how {
		case unix.SIG_BLOCK:
			s |= was
		case unix.SIG_UNBLOCK:
			s = was &^ s
		case unix.SIG_SETMASK:
		default:
			return 0, unix.EINVAL
		}
		t.SetSignalMask(s)
	}
	if old == 0 {
		return 0, nil
	}
	return 0, usermem.CopyObjectOut(t.MM(), old, &was)
}

// rt_sigreturn(2)
func rtSigreturn(t *sentry.Task) (uintptr, error) {
	t.Sigreturn()
	return 0, sentry.ErrNoReturn
}

// rt_sigpending(2)
func rtSigpending(t *sentry.Task, set usermem.Addr, size uint64) (uintptr, error) {
	if size > sigsetSize {
		return 0, unix.EINVAL
	}
	own, shared := t.PendingSignals()
	pending := (own | shared) & t.SignalMask()
	_, err := t.MM().CopyOut(set, usermem.AsBytes(&pending)[:size])
	return 0, err
}

// rt_sigtimedwait(2)
func rtSigtimedwait(t *sentry.Task, set, info, timeout usermem.Addr, size uint64) (uintptr, error) {
	s, err := readSigset(t, set, size)
	if err != nil {
		return 0, err
	}
	wait := int64(-1)
	if timeout != 0 {
		var ts unix.Timespec
		if err := usermem.CopyObjectIn(t.MM(), timeout, &ts); err != nil {
			return 0, err
		}
		if !validTimespec(ts) {
			return 0, unix.EINVAL
		}
		wait = int64(duration(ts))
	}
	var i sentry.SigInfo
	sig, err := t.Sigtimedwait(s, &i, wait)
	if err != nil {
		return 0, err
	}
	if info != 0 {
		if err := usermem.CopyObjectOut(t.MM(), info, &i); err != nil {
			return 0, err
		}
	}
	return uintptr(sig), nil
}

// rt_sigsuspend(2)
func rtSigsuspend(t *sentry.Task, set usermem.Addr, size uint64) (uintptr, error) {
	s, err := readSigset(t, set, size)
	if err != nil {
		return 0, err
	}
	return 0, t.Sigsuspend(s)
}

// pause(2)
func pause(t *sentry.Task) (uintptr, error) { return 0, t.Pause() }

// sigaltstack(2)
func sigaltstack(t *sentry.Task, st, old usermem.Addr) (uintptr, error) {
	var n *sentry.AltStack
	if st != 0 {
		n = new(sentry.AltStack)
		if err := usermem.CopyObjectIn(t.MM(), st, n); err != nil {
			return 0, err
		}
	}
	was, err := t.SigAltStack(n)
	if err != nil || old == 0 {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), old, &was)
}

// kill(2)
func kill(t *sentry.Task, pid, sig int32) (uintptr, error) { return 0, t.Kill(pid, sig) }

// tkill(2)
func tkill(t *sentry.Task, tid, sig int32) (uintptr, error) {
	if tid <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.Tgkill(0, tid, sig)
}

// tgkill(2)
func tgkill(t *sentry.Task, tgid, tid, sig int32) (uintptr, error) {
	if tgid <= 0 || tid <= 0 {
		return 0, unix.EINVAL
	}
	return 0, t.Tgkill(tgid, tid, sig)
}

func readSigInfo(t *sentry.Task, addr usermem.Addr) (*sentry.SigInfo, error) {
	i := new(sentry.SigInfo)
	return i, usermem.CopyObjectIn(t.MM(), addr, i)
}

// rt_sigqueueinfo(2)
func rtSigqueueinfo(t *sentry.Task, tgid, sig int32, info usermem.Addr) (uintptr, error) {
	i, err := readSigInfo(t, info)
	if err != nil {
		return 0, err
	}
	return 0, t.Sigqueueinfo(tgid, sig, i)
}

// rt_tgsigqueueinfo(2)
func rtTgsigqueueinfo(t *sentry.Task, tgid, tid, sig int32, info usermem.Addr) (uintptr, error) {
	if tgid <= 0 || tid <= 0 {
		return 0, unix.EINVAL
	}
	i, err := readSigInfo(t, info)
	if err != nil {
		return 0, err
	}
	return 0, t.Tgsigqueueinfo(tgid, tid, sig, i)
}

// pidfd_send_signal(2)
func pidfdSendSignal(t *sentry.Task, fd, sig int32, info usermem.Addr, flags uint32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	pid, thread, err := sentry.PIDOfFile(f)
	if err != nil {
		// A directory of /proc stands for its process, too.
		ok := false
		if pid, ok = kernfs.Subject(f.Inode()).(*sentry.PID); !ok {
			return 0, err
		}
	}
	var i *sentry.SigInfo
	if info != 0 {
		if i, err = readSigInfo(t, info); err != nil {
			return 0, err
		}
	}
	return 0, t.PidfdSendSignal(pid, thread, sig, i, flags)
}

// signalfd4(2)
func signalfd4(t *sentry.Task, fd int32, set usermem.Addr, size uint64, flags uint32) (uintptr, error) {
	s, err := readSigset(t, set, size)
	if err != nil {
		return 0, err
	}
	n, err := t.Signalfd(fd, s, flags)
	return uintptr(n), err
}

// signalfd(2)
func signalfd(t *sentry.Task, fd int32, set usermem.Addr, size uint64) (uintptr, error) {
	return signalfd4(t, fd, set, size, 0)
}

// restart_syscall(2)
func restartSyscall(t *sentry.Task) (uintptr, error) { return t.Restart() }
