package sentry

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry/bpf"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// SECCOMP_RET_USER_NOTIF: a system call of one process is decided by another, which holds the file that
// installing the filter returned. The caller sleeps meanwhile.
//
//	new       waits to be received
//	sent      received; the answer is awaited
//	replied   the caller goes on

const (
	notifNew = iota
	notifSent
	notifReplied

	ioctlNotifRecv     = 0xc0502100
	ioctlNotifSend     = 0xc0182101
	ioctlNotifIDValid  = 0x40082102
	ioctlNotifIDValid0 = 0x80082102 // as it was defined at first
	ioctlNotifAddFD    = 0x40182103
	ioctlNotifSetFlags = 0x40082104

	notifContinue   = 1
	addfdSetFD      = 1
	addfdSend       = 2
	notifSyncWakeUp = 1
)

type seccompNotif struct {
	id    uint64
	task  *Task
	data  bpf.Data
	state int
	ready chan struct{}

	// The answer.
	val   int64
	err   int32
	flags uint32
}

// seccompListener is the file of a listener.
type seccompListener struct {
	vfs.DefaultFileOps
	k     *Kernel
	queue waitq.Queue

	mu     sync.Mutex
	notifs []*seccompNotif
	closed bool
}

// SeccompNotif is struct seccomp_notif.
type SeccompNotif struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Data  bpf.Data
}

func (t *Task) newSeccompListener(f *seccompFilter) (fd uintptr, install func(), err error) {
	l := &seccompListener{k: t.k}
	file := vfs.NewAnonFile("anon_inode:seccomp notify", l, unix.O_RDWR, t.Cred())
	n, err := t.files.NewFD(0, file, true, t.Limit(unix.RLIMIT_NOFILE))
	if err != nil {
		file.DecRef()
		return 0, nil, err
	}
	f.listener = l
	return uintptr(n), func() {}, nil
}

func (t *Task) dropSeccompListener(f *seccompFilter, fd uintptr) {
	_ = t.files.Close(t, int32(fd))
	f.listener = nil
}

// seccompNotify asks the listener of f what to do; true: the call is done.
func (t *Task) seccompNotify(f *seccompFilter, d *bpf.Data) (skip bool) {
	t.Regs.Rax = errnoReturn(unix.ENOSYS)
	l := f.listener
	if l == nil {
		return true
	}
	n := &seccompNotif{id: t.k.seccompID.Add(1), task: t, data: *d, ready: make(chan struct{})}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return true
	}
	l.notifs = append(l.notifs, n)
	l.mu.Unlock()
	l.queue.Notify(waitq.Readable)

	for {
		l.mu.Lock()
		hard := f.waitKill && n.state == notifSent
		l.mu.Unlock()
		var err error
		if hard {
			err = t.blockKillable(n.ready, -1)
		} else {
			err = t.Block(n.ready, -1)
		}
		l.mu.Lock()
		if err != nil && n.state != notifReplied {
			if !hard && f.waitKill && n.state == notifSent && !t.Fatal() {
				l.mu.Unlock()
				continue
			}
			l.notifs = remove(l.notifs, n)
			l.mu.Unlock()
			t.Regs.Rax = uint64(1<<64 - 512) // ERESTARTSYS
			t.work.Or(workSignal)
			return true
		}
		l.notifs = remove(l.notifs, n)
		l.mu.Unlock()
		break
	}
	if n.flags&notifContinue != 0 {
		return false
	}
	t.Regs.Rax = uint64(n.val)
	if n.err != 0 {
		t.Regs.Rax = uint64(int64(n.err))
	}
	return true
}

func (l *seccompListener) find(id uint64) *seccompNotif {
	for _, n := range l.notifs {
		if n.id == id {
			return n
		}
	}
	return nil
}

// Ioctl implements vfs.FileOps.
func (l *seccompListener) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	t, ok := ctx.(*Task)
	if !ok {
		return 0, unix.ENOTTY
	}
	addr := usermem.Addr(arg)
	switch cmd {
	case ioctlNotifRecv:
		return 0, l.recv(t, addr)
	case ioctlNotifSend:
		return 0, l.send(t, addr)
	case ioctlNotifIDValid, ioctlNotifIDValid0:
		var id uint64
		if err := usermem.CopyObjectIn(t.mm, addr, &id); err != nil {
			return 0, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := l.find(id); n == nil || n.state != notifSent {
			return 0, unix.ENOENT
		}
		return 0, nil
	case ioctlNotifAddFD:
		return l.addFD(t, addr)
	case ioctlNotifSetFlags:
		if arg&^notifSyncWakeUp != 0 {
			return 0, unix.EINVAL
		}
		return 0, nil // how the wake-up is scheduled is the Go runtime's affair
	}
	return 0, unix.EINVAL
}

func (l *seccompListener) recv(t *Task, addr usermem.Addr) error {
	var out SeccompNotif
	if err := usermem.CopyObjectIn(t.mm, addr, &out); err != nil {
		return err
	}
	if out != (SeccompNotif{}) {
		return unix.EINVAL
	}
	e, ch := waitq.NewChan()
	l.queue.EventRegister(e, waitq.Readable|waitq.Hup)
	defer l.queue.EventUnregister(e)
	for {
		l.mu.Lock()
		var n *seccompNotif
		for _, x := range l.notifs {
			if x.state == notifNew {
				n = x
				break
			}
		}
		if n != nil {
			n.state = notifSent
			out.ID, out.Data = n.id, n.data
			out.PID = uint32(n.task.PID().In(t.PIDNS()))
		}
		l.mu.Unlock()
		if n == nil {
			if err := t.Block(ch, -1); err != nil {
				return err
			}
			continue
		}
		if err := usermem.CopyObjectOut(t.mm, addr, &out); err != nil {
			l.mu.Lock()
			n.state = notifNew
			l.mu.Unlock()
			l.queue.Notify(waitq.Readable)
			return err
		}
		n.task.kick() // it may want to wait differently now
		l.queue.Notify(waitq.Writable)
		return nil
	}
}

func (l *seccompListener) send(t *Task, addr usermem.Addr) error {
	var resp struct {
		ID    uint64
		Val   int64
		Err   int32
		Flags uint32
	}
	if err := usermem.CopyObjectIn(t.mm, addr, &resp); err != nil {
		return err
	}
	if resp.Flags&^notifContinue != 0 || resp.Flags&notifContinue != 0 && (resp.Err != 0 || resp.Val != 0) {
		return unix.EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.find(resp.ID)
	if n == nil {
		return unix.ENOENT
	}
	if n.state != notifSent {
		return unix.EINPROGRESS
	}
	n.val, n.err, n.flags = resp.Val, resp.Err, resp.Flags
	l.replyLocked(n)
	return nil
}

func (l *seccompListener) replyLocked(n *seccompNotif) {
	n.state = notifReplied
	close(n.ready)
}

// addFD puts a file of the supervisor's into the caller's descriptor table.
func (l *seccompListener) addFD(t *Task, addr usermem.Addr) (uint64, error) {
	var a struct {
		ID                            uint64
		Flags, SrcFD, NewFD, NewFlags uint32
	}
	if err := usermem.CopyObjectIn(t.mm, addr, &a); err != nil {
		return 0, err
	}
	if a.NewFlags&^unix.O_CLOEXEC != 0 || a.Flags&^(addfdSetFD|addfdSend) != 0 || a.NewFD != 0 && a.Flags&addfdSetFD == 0 {
		return 0, unix.EINVAL
	}
	f, err := t.files.Get(int32(a.SrcFD))
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.find(a.ID)
	switch {
	case n == nil:
		err = unix.ENOENT
	case n.state != notifSent:
		err = unix.EINPROGRESS
	}
	if err != nil {
		f.DecRef()
		return 0, err
	}
	files := n.task.GetFiles()
	if files == nil {
		f.DecRef()
		return 0, unix.ESRCH
	}
	defer files.DecRef(t)
	fd, limit, cloexec := int32(a.NewFD), n.task.Limit(unix.RLIMIT_NOFILE), a.NewFlags&unix.O_CLOEXEC != 0
	if a.Flags&addfdSetFD != 0 {
		err = files.Install(t, fd, f, cloexec, limit)
	} else {
		fd, err = files.NewFD(0, f, cloexec, limit)
	}
	if err != nil {
		f.DecRef()
		return 0, err
	}
	if a.Flags&addfdSend != 0 {
		n.val, n.err, n.flags = int64(fd), 0, 0
		l.replyLocked(n)
	}
	return uint64(fd), nil
}

// Readiness implements vfs.FileOps.
func (l *seccompListener) Readiness(mask waitq.Events) waitq.Events {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ev waitq.Events
	for _, n := range l.notifs {
		switch n.state {
		case notifNew:
			ev |= waitq.Readable
		case notifSent:
			ev |= waitq.Writable
		}
	}
	return ev & mask
}

// EventRegister implements vfs.FileOps.
func (l *seccompListener) EventRegister(e *waitq.Entry, mask waitq.Events) {
	l.queue.EventRegister(e, mask)
}

// EventUnregister implements vfs.FileOps.
func (l *seccompListener) EventUnregister(e *waitq.Entry) { l.queue.EventUnregister(e) }

// Stream implements vfs.FileOps.
func (l *seccompListener) Stream() bool { return true }

// Release implements vfs.FileOps: nobody will answer any more.
func (l *seccompListener) Release(*vfs.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, n := range l.notifs {
		if n.state != notifReplied {
			n.err = -int32(unix.ENOSYS)
			l.replyLocked(n)
		}
	}
}
