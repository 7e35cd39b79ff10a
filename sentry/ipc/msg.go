package ipc

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

const (
	msgNoError = 010000
	msgExcept  = 020000
	msgCopy    = 040000

	msgStat    = 11
	msgInfo    = 12
	msgStatAny = 13
)

type msgDS struct {
	Perm                 permDS
	Stime, Rtime, Ctime  int64
	Cbytes, Qnum, Qbytes uint64
	Lspid, Lrpid         int32
	_, _                 uint64
}

type msgInfoDS struct {
	Pool, Map, Max, Mnb, Mni, Ssz, Tql int32
	Seg                                uint16
	_                                  uint16
}

type message struct {
	typ  int64
	data []byte
}

// cost is the kernel memory that a message takes.
func (m *message) cost() int64 { return int64(len(m.data)) + 64 }

// msgQueue is a message queue. Its waitq.Queue is notified of messages (Readable) and
// room (Writable).
type msgQueue struct {
	waitq.Queue

	mu                  sync.Mutex
	perm                perm
	removed             bool
	msgs                []*message
	cbytes, qbytes      int64
	stime, rtime, ctime int64
	lspid, lrpid        int32
}

func (q *msgQueue) ipcPerm() *perm { return &q.perm }

func (ns *Namespace) queue(id int32) (*msgQueue, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.queues.byID(id)
}

// MsgGet is msgget(2).
func (ns *Namespace) MsgGet(ctx vfs.Context, key, flags int32) (int32, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return get(ctx, ns, &ns.queues, key, flags, func(*msgQueue) error { return nil }, func() (*msgQueue, error) {
		if int64(ns.queues.n) >= ns.Limits.MsgMni.Load() {
			return nil, unix.ENOSPC
		}
		return &msgQueue{perm: newPerm(ctx, key, flags), qbytes: ns.Limits.MsgMnb.Load(), ctime: now()}, nil
	})
}

func (ns *Namespace) removeQueue(q *msgQueue) {
	ns.mu.Lock()
	ok := ns.queues.remove(q)
	ns.mu.Unlock()
	if !ok {
		return
	}
	q.mu.Lock()
	q.removed = true
	for _, m := range q.msgs {
		ns.mem.UnchargeKernel(m.cost())
	}
	q.msgs = nil
	q.mu.Unlock()
	q.Notify(waitq.Readable | waitq.Writable | waitq.Hup)
}

// wait calls try, which holds q.mu, until it returns something else than EAGAIN.
func (q *msgQueue) wait(ctx vfs.Context, events waitq.Events, try func() error) error {
	locked := func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.removed {
			return unix.EIDRM
		}
		return try()
	}
	err := locked()
	if err != unix.EAGAIN {
		return err
	}
	w := waitq.GetWaiter()
	defer w.Put()
	q.EventRegister(&w.Entry, events)
	defer q.EventUnregister(&w.Entry)
	for {
		if err := locked(); err != unix.EAGAIN {
			return err
		}
		if err := w.Wait(ctx, -1); err != nil {
			return unix.EINTR // neither call is ever restarted
		}
	}
}

// MsgSnd is msgsnd(2).
func (ns *Namespace) MsgSnd(ctx vfs.Context, id int32, typ int64, data []byte, flags int32) error {
	if typ < 1 || int64(len(data)) > ns.Limits.MsgMax.Load() {
		return unix.EINVAL
	}
	q, err := ns.queue(id)
	if err != nil {
		return err
	}
	m := &message{typ, data}
	if err := ns.mem.ChargeKernel(m.cost()); err != nil {
		return err
	}
	full := false
	err = q.wait(ctx, waitq.Writable, func() error {
		if err := ns.check(ctx, &q.perm, 0222); err != nil {
			return err
		}
		n := int64(len(data))
		if q.cbytes+n > q.qbytes || int64(len(q.msgs))+1 > q.qbytes {
			if flags&ipcNowait != 0 {
				full = true
				return nil
			}
			return unix.EAGAIN
		}
		q.msgs = append(q.msgs, m)
		q.cbytes += n
		q.stime, q.lspid = now(), ctx.TGID()
		return nil
	})
	if full {
		err = unix.EAGAIN
	}
	if err != nil {
		ns.mem.UnchargeKernel(m.cost())
		return err
	}
	q.Notify(waitq.Readable)
	return nil
}

// find is the place of the message that typ and flags ask for, or -1. q.mu is held.
func (q *msgQueue) find(typ int64, flags int32) int {
	best := -1
	for i, m := range q.msgs {
		switch {
		case flags&msgCopy != 0:
			if int64(i) == typ {
				return i
			}
		case typ == 0:
			return i
		case typ > 0:
			if (m.typ == typ) != (flags&msgExcept != 0) {
				return i
			}
		case m.typ <= -typ || typ == -1<<63:
			if best < 0 || m.typ < q.msgs[best].typ {
				best = i
			}
		}
	}
	return best
}

// MsgRcv is msgrcv(2) with room for size bytes.
func (ns *Namespace) MsgRcv(ctx vfs.Context, id int32, size uint64, typ int64, flags int32) (mtype int64, data []byte, err error) {
	if id < 0 || int64(size) < 0 {
		return 0, nil, unix.EINVAL
	}
	if flags&msgCopy != 0 && (flags&msgExcept != 0 || flags&ipcNowait == 0) {
		return 0, nil, unix.EINVAL
	}
	q, err := ns.queue(id)
	if err != nil {
		return 0, nil, err
	}
	var m *message
	err = q.wait(ctx, waitq.Readable, func() error {
		if err := ns.check(ctx, &q.perm, 0444); err != nil {
			return err
		}
		i := q.find(typ, flags)
		if i < 0 {
			if flags&ipcNowait != 0 {
				return unix.ENOMSG
			}
			return unix.EAGAIN
		}
		m = q.msgs[i]
		if uint64(len(m.data)) > size && flags&msgNoError == 0 {
			return unix.E2BIG
		}
		if flags&msgCopy != 0 {
			return nil
		}
		q.msgs = slices.Delete(q.msgs, i, i+1)
		q.cbytes -= int64(len(m.data))
		q.rtime, q.lrpid = now(), ctx.TGID()
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	if flags&msgCopy == 0 {
		ns.mem.UnchargeKernel(m.cost())
	}
	q.Notify(waitq.Writable)
	data = m.data
	if uint64(len(data)) > size {
		data = data[:size]
	}
	return m.typ, data, nil
}

// MsgCtl is msgctl(2).
func (ns *Namespace) MsgCtl(ctx vfs.Context, id, cmd int32, arg uint64) (int64, error) {
	cmd &^= ipc64
	addr := usermem.Addr(arg)
	mem := ctx.Memory()
	switch cmd {
	case ipcInfo, msgInfo:
		l := &ns.Limits
		d := msgInfoDS{
			Max: int32(l.MsgMax.Load()), Mnb: int32(l.MsgMnb.Load()), Mni: int32(l.MsgMni.Load()), Ssz: 16, Seg: 0xffff,
			Pool: int32(l.MsgMni.Load() * l.MsgMnb.Load() / 1024), Map: int32(l.MsgMnb.Load()), Tql: int32(l.MsgMnb.Load()),
		}
		ns.mu.Lock()
		if cmd == msgInfo {
			d.Pool, d.Map, d.Tql = int32(ns.queues.n), 0, 0
			ns.queues.each(func(q *msgQueue) {
				q.mu.Lock()
				d.Map += int32(len(q.msgs))
				d.Tql += int32(q.cbytes)
				q.mu.Unlock()
			})
		}
		max := ns.queues.maxUsed()
		ns.mu.Unlock()
		return int64(max), usermem.CopyObjectOut(mem, addr, &d)
	case ipcStat, msgStat, msgStatAny:
		return ns.msgStat(ctx, id, cmd, addr)
	case ipcRmid:
		q, err := ns.queue(id)
		if err != nil {
			return 0, err
		}
		q.mu.Lock()
		err = ns.checkOwner(ctx, &q.perm)
		q.mu.Unlock()
		if err == nil {
			ns.removeQueue(q)
		}
		return 0, err
	case ipcSet:
		var d msgDS
		if err := usermem.CopyObjectIn(mem, addr, &d); err != nil {
			return 0, err
		}
		q, err := ns.queue(id)
		if err != nil {
			return 0, err
		}
		q.mu.Lock()
		if err = ns.checkOwner(ctx, &q.perm); err == nil {
			if d.Qbytes > uint64(ns.Limits.MsgMnb.Load()) && !ctx.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
				err = unix.EPERM
			} else if err = q.perm.set(ctx, &d.Perm); err == nil {
				q.qbytes = int64(min(d.Qbytes, 1<<40))
				q.ctime = now()
			}
		}
		q.mu.Unlock()
		if err == nil {
			q.Notify(waitq.Readable | waitq.Writable)
		}
		return 0, err
	}
	return 0, unix.EINVAL
}

func (ns *Namespace) msgStat(ctx vfs.Context, id, cmd int32, addr usermem.Addr) (int64, error) {
	ns.mu.Lock()
	var q *msgQueue
	var err error
	if cmd == ipcStat {
		q, err = ns.queues.byID(id)
	} else {
		q, err = ns.queues.byIndex(id)
	}
	if err != nil {
		ns.mu.Unlock()
		return 0, err
	}
	q.mu.Lock()
	if cmd != msgStatAny {
		err = ns.check(ctx, &q.perm, 0444)
	}
	d := q.ds(ctx)
	q.mu.Unlock()
	ns.mu.Unlock()
	if err != nil {
		return 0, err
	}
	ret := int64(0)
	if cmd != ipcStat {
		ret = int64(q.perm.id)
	}
	return ret, usermem.CopyObjectOut(ctx.Memory(), addr, &d)
}

func (q *msgQueue) ds(ctx vfs.Context) msgDS {
	return msgDS{
		Perm: q.perm.ds(ctx), Stime: q.stime, Rtime: q.rtime, Ctime: q.ctime,
		Cbytes: uint64(q.cbytes), Qnum: uint64(len(q.msgs)), Qbytes: uint64(q.qbytes),
		Lspid: localPID(ctx, q.lspid), Lrpid: localPID(ctx, q.lrpid),
	}
}

// ProcMsg is the text of /proc/sysvipc/msg.
func (ns *Namespace) ProcMsg(ctx vfs.Context) []byte {
	var b bytes.Buffer
	b.WriteString("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n")
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.queues.each(func(q *msgQueue) {
		q.mu.Lock()
		d := q.ds(ctx)
		q.mu.Unlock()
		fmt.Fprintf(&b, "%10d %10d  %4o  %10d %10d %5d %5d %5d %5d %5d %5d %10d %10d %10d\n", d.Perm.Key, q.perm.id, d.Perm.Mode,
			d.Cbytes, d.Qnum, d.Lspid, d.Lrpid, d.Perm.UID, d.Perm.GID, d.Perm.CUID, d.Perm.CGID, d.Stime, d.Rtime, d.Ctime)
	})
	return b.Bytes()
}
