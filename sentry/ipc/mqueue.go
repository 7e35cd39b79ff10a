package ipc

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

const (
	mqPrioMax  = 32768
	mqHardMsgs = 65536
	mqHardSize = 16 << 20
)

// MQAttr is struct mq_attr.
type MQAttr struct {
	Flags, MaxMsg, MsgSize, CurMsgs int64
	_                               [4]int64
}

// MQNotification is who wants to know that a message has come to an empty queue.
type MQNotification struct {
	Owner  int32 // process that registered, in the initial pid namespace
	Signo  int32 // as the queue's status file shows it
	Method int32 // SIGEV_SIGNAL ...
	// Deliver tells; pid and uid are the sender's, as ids of the initial namespaces. It
	// is called once, without locks.
	Deliver func(pid int32, uid uint32)
	// Removed is called when the registration ends without a message; may be nil.
	Removed func()
}

type mqMessage struct {
	prio uint32
	data []byte
}

// cost is the kernel memory that a message takes.
func (m *mqMessage) cost() int64 { return int64(len(m.data)) + 64 }

// mqueue is a POSIX message queue.
type mqueue struct {
	waitq.Queue
	vfs.DefaultInodeOps
	fs      *mqFS
	charged int64  // what its creator pays for
	uid     uint32 // the creator

	maxMsg, msgSize int // immutable

	mu        sync.Mutex
	msgs      []mqMessage // the next to be received last: by priority, then the newest first
	bytes     int
	receivers int // who waits in MQReceive
	notify    *MQNotification
}

// MQFile is an open POSIX message queue.
type MQFile struct {
	vfs.DefaultFileOps
	q *mqueue
}

// MQOf is the message queue that f is; EBADF if it is none.
func MQOf(f *vfs.File) (*MQFile, error) {
	if m, ok := f.Ops.(*MQFile); ok {
		return m, nil
	}
	return nil, unix.EBADF
}

// Readiness implements vfs.FileOps.
func (m *MQFile) Readiness(mask waitq.Events) waitq.Events {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	var ev waitq.Events
	if len(m.q.msgs) > 0 {
		ev |= waitq.Readable
	}
	if len(m.q.msgs) < m.q.maxMsg {
		ev |= waitq.Writable
	}
	return ev & mask
}

// EventRegister implements vfs.FileOps.
func (m *MQFile) EventRegister(e *waitq.Entry, mask waitq.Events) { m.q.EventRegister(e, mask) }

// EventUnregister implements vfs.FileOps.
func (m *MQFile) EventUnregister(e *waitq.Entry) { m.q.EventUnregister(e) }

// Read implements vfs.FileOps: the status as text.
func (m *MQFile) Read(ctx vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	m.q.mu.Lock()
	var method, signo, pid int32
	if n := m.q.notify; n != nil {
		method, pid = n.Method, localPID(ctx, n.Owner)
		if n.Method == 0 { // SIGEV_SIGNAL
			signo = n.Signo
		}
	}
	text := fmt.Sprintf("QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", m.q.bytes, method, signo, pid)
	m.q.mu.Unlock()
	if off >= int64(len(text)) {
		return 0, nil
	}
	b := []byte(text[off:])
	if uint64(len(b)) > dst.Len() {
		b = b[:dst.Len()]
	}
	n, err := dst.Write(b)
	if err != nil && n == 0 {
		return 0, unix.EFAULT
	}
	return int64(n), nil
}

// Seek implements vfs.FileOps.
func (m *MQFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	return vfs.SeekDir(pos, off, whence)
}

// Flush implements vfs.FileOps: a process that closes the queue wants no notification any more.
func (m *MQFile) Flush(ctx vfs.Context, _ *vfs.File) error {
	m.q.unregister(ctx.TGID())
	return nil
}

func (q *mqueue) unregister(owner int32) {
	q.mu.Lock()
	n := q.notify
	if n == nil || n.Owner != owner {
		q.mu.Unlock()
		return
	}
	q.notify = nil
	q.mu.Unlock()
	if n.Removed != nil {
		n.Removed()
	}
}

// wait calls try, which locks, until it returns something else than EAGAIN, or until the
// deadline if it is not zero.
func (q *mqueue) wait(ctx vfs.Context, f *vfs.File, events waitq.Events, deadline time.Time, try func() error) error {
	err := try()
	if err != unix.EAGAIN || f.Nonblocking() {
		return err
	}
	w := waitq.GetWaiter()
	defer w.Put()
	q.EventRegister(&w.Entry, events)
	defer q.EventUnregister(&w.Entry)
	for {
		if err := try(); err != unix.EAGAIN {
			return err
		}
		left := time.Duration(-1)
		if !deadline.IsZero() {
			if left = time.Until(deadline); left <= 0 {
				return unix.ETIMEDOUT
			}
		}
		if err := w.Wait(ctx, left); err != nil {
			return err
		}
	}
}

// Send is mq_timedsend(2). A zero deadline means none.
func (m *MQFile) Send(ctx vfs.Context, f *vfs.File, data []byte, prio uint32, deadline time.Time) error {
	if !f.Writable() {
		return unix.EBADF
	}
	if prio >= mqPrioMax {
		return unix.EINVAL
	}
	q := m.q
	if len(data) > q.msgSize {
		return unix.EMSGSIZE
	}
	msg := mqMessage{prio, data}
	mem := q.fs.ns.mem
	if err := mem.ChargeKernel(msg.cost()); err != nil {
		return err
	}
	var tell *MQNotification
	err := q.wait(ctx, f, waitq.Writable, deadline, func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.msgs) >= q.maxMsg {
			return unix.EAGAIN
		}
		if len(q.msgs) == 0 && q.receivers == 0 && q.notify != nil {
			tell = q.notify
			q.notify = nil
		}
		// Behind all that go before it: those of the same priority came earlier.
		i := sort.Search(len(q.msgs), func(i int) bool { return q.msgs[i].prio >= prio })
		q.msgs = slices.Insert(q.msgs, i, msg)
		q.bytes += len(data)
		return nil
	})
	if err != nil {
		mem.UnchargeKernel(msg.cost())
		return err
	}
	q.Notify(waitq.Readable)
	if tell != nil {
		tell.Deliver(ctx.TGID(), ctx.Cred().UID)
	}
	return nil
}

// Receive is mq_timedreceive(2) with room for size bytes. A zero deadline means none.
func (m *MQFile) Receive(ctx vfs.Context, f *vfs.File, size uint64, deadline time.Time) (data []byte, prio uint32, err error) {
	if !f.Readable() {
		return nil, 0, unix.EBADF
	}
	q := m.q
	if size < uint64(q.msgSize) {
		return nil, 0, unix.EMSGSIZE
	}
	waiting := false
	err = q.wait(ctx, f, waitq.Readable, deadline, func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		n := len(q.msgs)
		if n == 0 {
			if !waiting && !f.Nonblocking() {
				waiting = true
				q.receivers++
			}
			return unix.EAGAIN
		}
		data, prio = q.msgs[n-1].data, q.msgs[n-1].prio
		q.fs.ns.mem.UnchargeKernel(q.msgs[n-1].cost())
		q.msgs[n-1] = mqMessage{}
		q.msgs = q.msgs[:n-1]
		q.bytes -= len(data)
		return nil
	})
	if waiting {
		q.mu.Lock()
		q.receivers--
		q.mu.Unlock()
	}
	if err != nil {
		return nil, 0, err
	}
	q.Notify(waitq.Writable)
	return data, prio, nil
}

// Notify is mq_notify(2): n is registered, or the caller's registration is taken back if n is nil.
func (m *MQFile) Notify(ctx vfs.Context, n *MQNotification) error {
	if n == nil {
		m.q.unregister(ctx.TGID())
		return nil
	}
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if m.q.notify != nil {
		return unix.EBUSY
	}
	m.q.notify = n
	return nil
}

// GetSetAttr is mq_getsetattr(2): it returns the attributes, and if flags is not nil
// sets O_NONBLOCK from it.
func (m *MQFile) GetSetAttr(ctx vfs.Context, f *vfs.File, flags *int64) (MQAttr, error) {
	if flags != nil && *flags&^unix.O_NONBLOCK != 0 {
		return MQAttr{}, unix.EINVAL
	}
	m.q.mu.Lock()
	a := MQAttr{
		Flags: int64(f.Flags() & unix.O_NONBLOCK), MaxMsg: int64(m.q.maxMsg),
		MsgSize: int64(m.q.msgSize), CurMsgs: int64(len(m.q.msgs)),
	}
	m.q.mu.Unlock()
	if flags != nil {
		if err := f.SetFlags(ctx, f.Flags()&^unix.O_NONBLOCK|uint32(*flags)); err != nil {
			return a, err
		}
	}
	return a, nil
}
