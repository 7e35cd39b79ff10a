package sentry

import (
	"cmp"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/epoll"
)

// XCR0 is the components of the processor's extended state that guests may use.
func XCR0() uint64 { return xfeatures }

// ProcessMRelease is process_mrelease(2): the process must be about to die.
func (t *Task) ProcessMRelease(pid *PID) error {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	if pid.proc == nil {
		return unix.ESRCH
	}
	sh := pid.proc.lockSig()
	defer sh.mu.Unlock()
	if !pid.proc.groupExit {
		return unix.EINVAL
	}
	return nil
}

// EndNamespace is reboot(2) in a pid namespace: its init dies of sig.
func (t *Task) EndNamespace(sig unix.Signal) error {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	ns := t.PIDNS()
	if ns.parent == nil {
		return unix.EPERM // the sandbox is ended from outside
	}
	if p := ns.reaper; p != nil {
		sh := p.lockSig()
		if !p.groupExit {
			p.startGroupExitLocked(WaitStatus(sig))
		}
		sh.mu.Unlock()
	}
	return nil
}

// What kcmp(2) compares.
const (
	kcmpFile = iota
	kcmpVM
	kcmpFiles
	kcmpFS
	kcmpSighand
	kcmpIO
	kcmpSysvsem
	kcmpEpollTFD
)

// Kcmp is kcmp(2) after permission was checked: 0 if the two share the object, 1 or 2 for an order
// among those that do not, which is the same each time in the life of the objects.
func (t *Task) Kcmp(a, b *Task, kind int32, i, j uint64) (int, error) {
	switch kind {
	case kcmpFile:
		fa, err := a.fileOf(t, i)
		if err != nil {
			return 0, err
		}
		defer fa.DecRef()
		fb, err := b.fileOf(t, j)
		if err != nil {
			return 0, err
		}
		defer fb.DecRef()
		return t.k.order(fa, fb), nil
	case kcmpVM:
		return t.k.order(a.peek(func(x *Task) any { return x.mm }), b.peek(func(x *Task) any { return x.mm })), nil
	case kcmpFiles:
		return t.k.order(a.peek(func(x *Task) any { return x.files }), b.peek(func(x *Task) any { return x.files })), nil
	case kcmpFS:
		return t.k.order(a.peek(func(x *Task) any { return x.fs }), b.peek(func(x *Task) any { return x.fs })), nil
	case kcmpSighand:
		return t.k.order(a.proc.sighand.Load(), b.proc.sighand.Load()), nil
	case kcmpIO:
		return t.k.order(a.ioContext(), b.ioContext()), nil
	case kcmpEpollTFD:
		return t.kcmpEpoll(a, b, i, usermem.Addr(j))
	}
	return 0, unix.EINVAL
}

// kcmpEpoll compares file i of a with what an epoll of b watches; addr has efd, tfd and which of those
// added as tfd is meant.
func (t *Task) kcmpEpoll(a, b *Task, i uint64, addr usermem.Addr) (int, error) {
	var slot struct{ EFD, TFD, TOff uint32 }
	if err := usermem.CopyObjectIn(t.mm, addr, &slot); err != nil {
		return 0, err
	}
	f, err := a.fileOf(t, i)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	ep, err := b.fileOf(t, uint64(slot.EFD))
	if err != nil {
		return 0, err
	}
	defer ep.DecRef()
	if !epoll.Is(ep) {
		return 0, unix.EINVAL
	}
	target := epoll.Target(ep, int32(slot.TFD), slot.TOff)
	if target == nil {
		return 0, unix.ENOENT
	}
	defer target.DecRef()
	return t.k.order(f, target), nil
}

// KcmpObjects compares two objects that packages above keep for tasks, as Kcmp does.
func (t *Task) KcmpObjects(a, b any) int { return t.k.order(a, b) }

// ioContext is the task's I/O context, nil as long as it has no I/O priority of its own.
func (t *Task) ioContext() *ioContext {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	return t.ioc
}

func (t *Task) peek(f func(*Task) any) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f(t)
}

func (t *Task) fileOf(caller *Task, fd uint64) (*vfs.File, error) {
	files := t.GetFiles()
	if files == nil || fd > 1<<31-1 {
		return nil, unix.EBADF
	}
	defer files.DecRef(caller)
	return files.Get(int32(fd))
}

// order compares two pointers: 0 if they are equal, else 1 or 2. Which of the two says
// nothing about addresses.
func (k *Kernel) order(a, b any) int {
	if a == b {
		return 0
	}
	return 1 + (cmp.Compare(k.objectID(a), k.objectID(b))+1)/2
}

// objectID is a number that an object keeps as long as it is compared: kcmp's users sort by it.
func (k *Kernel) objectID(x any) uint64 {
	k.kcmpMu.Lock()
	defer k.kcmpMu.Unlock()
	if k.kcmpIDs == nil {
		k.kcmpIDs = make(map[any]uint64)
	}
	id, ok := k.kcmpIDs[x]
	if !ok {
		if len(k.kcmpIDs) > 4096 {
			clear(k.kcmpIDs) // do not keep objects for ever
		}
		id = k.nextIno()
		k.kcmpIDs[x] = id
	}
	return id
}
