package syscalls

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/sentry/ipc"
)

// ipcOf is the objects of the caller's IPC namespace.
func ipcOf(t *sentry.Task) (*ipc.Namespace, error) {
	o, err := t.Namespaces().IPC.Objects()
	if err != nil {
		return nil, err
	}
	ns, ok := o.(*ipc.Namespace)
	if !ok {
		return nil, unix.ENOSYS
	}
	return ns, nil
}

// undoLists are the adjustments of semaphores (SEM_UNDO) of processes: the threads of a process
// share them, as those that are made with CLONE_SYSVSEM do.
type undoLists struct {
	mu sync.Mutex
	m  map[*sentry.Process]*ipc.UndoList
}

// of returns the list of t's process.
func (u *undoLists) of(t *sentry.Task) *ipc.UndoList {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.m[t.Process()]
	if l == nil {
		if u.m == nil {
			u.m = make(map[*sentry.Process]*ipc.UndoList)
		}
		l = new(ipc.UndoList)
		u.m[t.Process()] = l
	}
	return l
}

// peek returns the list of o's process, nil if it has none.
func (u *undoLists) peek(o *sentry.Task) *ipc.UndoList {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.m[o.Process()]
}

// exit applies what t's process has to undo.
func (u *undoLists) exit(t *sentry.Task) {
	u.mu.Lock()
	l := u.m[t.Process()]
	delete(u.m, t.Process())
	u.mu.Unlock()
	if l != nil {
		l.Exit(t)
	}
}

// semget(2)
func semget(t *sentry.Task, key, n, flags int32) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	id, err := ns.SemGet(t, key, n, flags)
	return uintptr(id), err
}

// semctl(2)
func semctl(t *sentry.Task, id, num, cmd int32, arg uint64) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	v, err := ns.SemCtl(t, id, num, cmd, arg)
	return uintptr(v), err
}

// semtimedop(2)
func semtimedop(t *sentry.Task, id int32, ops usermem.Addr, n uint64, timeout usermem.Addr) (uintptr, error) {
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
	return semopFor(t, id, ops, n, d)
}

// semop(2)
func semop(t *sentry.Task, id int32, ops usermem.Addr, n uint64) (uintptr, error) {
	return semopFor(t, id, ops, n, -1)
}

func semopFor(t *sentry.Task, id int32, addr usermem.Addr, n uint64, timeout time.Duration) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	if n < 1 || id < 0 {
		return 0, unix.EINVAL
	}
	if n > uint64(ns.Limits.SemOpm.Load()) {
		return 0, unix.E2BIG
	}
	ops, err := usermem.CopySliceIn[ipc.Sembuf](t.MM(), addr, int(n))
	if err != nil {
		return 0, err
	}
	tb, ok := t.Kernel().Syscalls.(*Table)
	if !ok {
		return 0, unix.ENOSYS
	}
	return 0, ns.SemOp(t, tb.undo.of(t), id, ops, timeout)
}

// msgget(2)
func msgget(t *sentry.Task, key, flags int32) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	id, err := ns.MsgGet(t, key, flags)
	return uintptr(id), err
}

// msgctl(2)
func msgctl(t *sentry.Task, id, cmd int32, arg uint64) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	v, err := ns.MsgCtl(t, id, cmd, arg)
	return uintptr(v), err
}

// msgsnd(2)
func msgsnd(t *sentry.Task, id int32, addr usermem.Addr, n uint64, flags int32) (uintptr, error) {
	var typ int64
	if err := usermem.CopyObjectIn(t.MM(), addr, &typ); err != nil {
		return 0, err
	}
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	if n > uint64(ns.Limits.MsgMax.Load()) || id < 0 || typ < 1 {
		return 0, unix.EINVAL
	}
	data := make([]byte, n)
	if _, err := t.MM().CopyIn(addr+8, data); err != nil {
		return 0, err
	}
	return 0, ns.MsgSnd(t, id, typ, data, flags)
}

// msgrcv(2)
func msgrcv(t *sentry.Task, id int32, addr usermem.Addr, n uint64, typ int64, flags int32) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	got, data, err := ns.MsgRcv(t, id, n, typ, flags)
	if err != nil {
		return 0, err
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(data)), uint64(got))
	if _, err := t.MM().CopyOut(addr, append(b, data...)); err != nil {
		return 0, err
	}
	return uintptr(len(data)), nil
}

// shmget(2)
func shmget(t *sentry.Task, key int32, size uint64, flags int32) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	id, err := ns.ShmGet(t, key, size, flags)
	return uintptr(id), err
}

// shmat(2)
func shmat(t *sentry.Task, id int32, addr usermem.Addr, flags int32) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	at, err := ns.ShmAt(t, t.MM(), id, addr, flags)
	return uintptr(at), err
}

// shmdt(2)
func shmdt(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	return 0, ns.ShmDt(t.MM(), addr)
}

// shmctl(2)
func shmctl(t *sentry.Task, id, cmd int32, arg uint64) (uintptr, error) {
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	v, err := ns.ShmCtl(t, id, cmd, arg)
	return uintptr(v), err
}
