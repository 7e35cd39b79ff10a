package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs/epoll"
)

// epoll_create1(2)
func epollCreate1(t *sentry.Task, flags uint32) (uintptr, error) {
	if flags&^unix.EPOLL_CLOEXEC != 0 {
		return 0, unix.EINVAL
	}
	return newFD(t, epoll.New(t.Kernel().VFS, t.Cred()), flags&unix.EPOLL_CLOEXEC != 0)
}

// epoll_create(2): the size is a hint that is not needed.
func epollCreate(t *sentry.Task, size int32) (uintptr, error) {
	if size <= 0 {
		return 0, unix.EINVAL
	}
	return epollCreate1(t, 0)
}

// epoll_ctl(2)
func epollCtl(t *sentry.Task, epfd, op, fd int32, addr usermem.Addr) (uintptr, error) {
	var ev epoll.Event
	if op != unix.EPOLL_CTL_DEL {
		var b [epoll.EventSize]byte
		if _, err := t.MM().CopyIn(addr, b[:]); err != nil {
			return 0, err
		}
		ev = epoll.GetEvent(b[:])
	}
	f, err := t.Files().Get(epfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	target, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer target.DecRef()
	return 0, epoll.Ctl(f, int(op), fd, target, ev)
}

// epollWaitFor is what the waiting calls share; a negative timeout is none.
func epollWaitFor(t *sentry.Task, epfd int32, addr usermem.Addr, maxEvents int32, timeout time.Duration) (uintptr, error) {
	if maxEvents <= 0 || maxEvents > (1<<31-1)/epoll.EventSize {
		return 0, unix.EINVAL
	}
	if err := userRange(addr, uint64(maxEvents)*epoll.EventSize); err != nil {
		return 0, err
	}
	f, err := openFile(t, epfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	n, err := epoll.Wait(t, f, int(maxEvents), timeout, func(ev epoll.Event) error {
		var b [epoll.EventSize]byte
		ev.Put(b[:])
		_, err := t.MM().CopyOut(addr, b[:])
		addr += epoll.EventSize
		return err
	})
	return uintptr(n), err
}

// millis is a timeout in milliseconds.
func millis(ms int32) time.Duration {
	if ms < 0 {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}

// epoll_wait(2)
func epollWait(t *sentry.Task, epfd int32, addr usermem.Addr, maxEvents, timeout int32) (uintptr, error) {
	return epollWaitFor(t, epfd, addr, maxEvents, millis(timeout))
}

// epoll_pwait(2)
func epollPwait(t *sentry.Task, epfd int32, addr usermem.Addr, maxEvents, timeout int32, mask usermem.Addr, size uint64) (uintptr, error) {
	if err := temporaryMask(t, mask, size); err != nil {
		return 0, err
	}
	n, err := epollWaitFor(t, epfd, addr, maxEvents, millis(timeout))
	return n, t.MaskUnlessInterrupted(err)
}

// epoll_pwait2(2)
func epollPwait2(t *sentry.Task, epfd int32, addr usermem.Addr, maxEvents int32, timeout, mask usermem.Addr, size uint64) (uintptr, error) {
	d := time.Duration(-1)
	if timeout != 0 {
		var ts unix.Timespec
		if err := usermem.CopyObjectIn(t.MM(), timeout, &ts); err != nil {
			return 0, err
		}
		if !validTimespec(ts) {
			return 0, unix.EINVAL
		}
		if d = duration(ts); d == noLimit {
			d = -1
		}
	}
	if err := temporaryMask(t, mask, size); err != nil {
		return 0, err
	}
	n, err := epollWaitFor(t, epfd, addr, maxEvents, d)
	return n, t.MaskUnlessInterrupted(err)
}
