package syscalls

import (
	"runtime"
	"sync"
	"weak"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/eventfd"
	"gosv.dev/vfs/waitq"
)

// Asynchronous I/O (io_submit and its siblings; not io_uring). As on Linux for all but direct I/O
// on some file systems, a request is done when io_submit has taken it: its completion waits
// in the context. Polls (IOCB_CMD_POLL) are really asynchronous.
//
// A context is named by an address, that of a page mapped in the guest, as on Linux; libaio
// looks there for a ring that it could read itself, and finds one with no magic number.

const (
	iocbPread  = 0
	iocbPwrite = 1
	iocbFsync  = 2
	iocbFdsync = 3
	iocbPoll   = 5
	iocbNoop   = 6
	iocbPreadv = 7
	iocbPwritv = 8

	iocbFlagResfd = 1

	aioMaxNr   = 65536           // fs.aio-max-nr
	aioMaxRing = 0x10000000 / 32 // what a ring of events may have at most; Linux makes it for twice what is asked
	iocbSize   = 64
	aioKeyOffs = 8
)

// iocb is struct iocb.
type iocb struct {
	Data      uint64
	Key       uint32
	RWFlags   uint32
	Opcode    uint16
	ReqPrio   int16
	FD        uint32
	Buf       usermem.Addr
	NBytes    uint64
	Offset    int64
	Reserved2 uint64
	Flags     uint32
	ResFD     uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	Data, Obj uint64
	Res, Res2 int64
}

// aioContexts are the contexts of the address spaces of a kernel.
type aioContexts struct {
	mu sync.Mutex
	m  map[aioKey]*aioContext
	n  uint64 // events of all contexts
}

type aioKey struct {
	as weak.Pointer[mm.AddressSpace]
	id usermem.Addr
}

// aioContext is one context. Completions are at most max.
type aioContext struct {
	queue waitq.Queue

	mu     sync.Mutex
	max    int
	done   []ioEvent
	polls  map[usermem.Addr]*aioPoll // by the address of the iocb
	closed bool
}

// aioPoll is a poll under way.
type aioPoll struct {
	file   *vfs.File
	events waitq.Events
	entry  waitq.Entry
	data   uint64
	obj    usermem.Addr
	notify *vfs.File // the eventfd, or nil
}

func aioTable(t *sentry.Task) (*aioContexts, error) {
	tb, ok := t.Kernel().Syscalls.(*Table)
	if !ok {
		return nil, unix.ENOSYS
	}
	return &tb.aio, nil
}

// find is the context that id names in t's memory.
func (a *aioContexts) find(t *sentry.Task, id usermem.Addr) (*aioContext, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.m[aioKey{weak.Make(t.MM()), id}]
	if c == nil {
		return nil, unix.EINVAL
	}
	return c, nil
}

// io_setup(2)
func ioSetup(t *sentry.Task, n uint32, addr usermem.Addr) (uintptr, error) {
	var id usermem.Addr
	if err := usermem.CopyObjectIn(t.MM(), addr, &id); err != nil {
		return 0, err
	}
	if id != 0 || n == 0 {
		return 0, unix.EINVAL
	}
	a, err := aioTable(t)
	if err != nil {
		return 0, err
	}
	if n*2 > aioMaxRing {
		return 0, unix.EINVAL
	}
	if n > aioMaxNr {
		return 0, unix.EAGAIN
	}
	a.mu.Lock()
	over := a.n+uint64(n) > aioMaxNr
	if !over {
		a.n += uint64(n)
	}
	a.mu.Unlock()
	if over {
		return 0, unix.EAGAIN
	}
	id, err = t.MM().MMap(mm.MMapOpts{Length: arch.PageSize, Prot: unix.PROT_READ | unix.PROT_WRITE,
		Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, Name: "/[aio] (deleted)"})
	if err == nil {
		if err = usermem.CopyObjectOut(t.MM(), addr, &id); err != nil {
			_ = t.MM().MUnmap(id, arch.PageSize) // it was mapped just now
		}
	}
	if err != nil {
		a.give(n)
		return 0, err
	}
	c := &aioContext{max: int(n), polls: make(map[usermem.Addr]*aioPoll)}
	key := aioKey{weak.Make(t.MM()), id}
	a.mu.Lock()
	if a.m == nil {
		a.m = make(map[aioKey]*aioContext)
	}
	a.m[key] = c
	a.mu.Unlock()
	// A context that is not destroyed ends with its address space.
	runtime.AddCleanup(t.MM(), func(k aioKey) { a.remove(k) }, key)
	return 0, nil
}

func (a *aioContexts) give(n uint32) {
	a.mu.Lock()
	a.n -= uint64(n)
	a.mu.Unlock()
}

// remove ends a context; false if there is none.
func (a *aioContexts) remove(k aioKey) bool {
	a.mu.Lock()
	c := a.m[k]
	if c == nil {
		a.mu.Unlock()
		return false
	}
	delete(a.m, k)
	a.n -= uint64(c.max)
	a.mu.Unlock()
	c.mu.Lock()
	c.closed = true
	polls := c.polls
	c.polls = nil
	c.mu.Unlock()
	for _, p := range polls {
		p.end()
	}
	c.queue.Notify(waitq.Readable)
	return true
}

// exit ends the contexts of an address space whose last process exits, so that polls let go of files.
func (a *aioContexts) exit(as *mm.AddressSpace) {
	a.mu.Lock()
	var keys []aioKey
	if len(a.m) > 0 {
		w := weak.Make(as)
		for k := range a.m {
			if k.as == w {
				keys = append(keys, k)
			}
		}
	}
	a.mu.Unlock()
	for _, k := range keys {
		a.remove(k)
	}
}

// io_destroy(2)
func ioDestroy(t *sentry.Task, id usermem.Addr) (uintptr, error) {
	a, err := aioTable(t)
	if err != nil {
		return 0, err
	}
	if !a.remove(aioKey{weak.Make(t.MM()), id}) {
		return 0, unix.EINVAL
	}
	return 0, t.MM().MUnmap(id, arch.PageSize)
}

// io_submit(2)
func ioSubmit(t *sentry.Task, id usermem.Addr, n int64, list usermem.Addr) (uintptr, error) {
	if n < 0 {
		return 0, unix.EINVAL
	}
	a, err := aioTable(t)
	if err != nil {
		return 0, err
	}
	c, err := a.find(t, id)
	if err != nil {
		return 0, err
	}
	done := int64(0)
	for ; done < min(n, int64(c.max)); done++ {
		var at usermem.Addr
		if err = usermem.CopyObjectIn(t.MM(), list+usermem.Addr(8*done), &at); err != nil {
			break
		}
		if err = c.submit(t, at); err != nil {
			break
		}
	}
	if done > 0 {
		return uintptr(done), nil
	}
	return 0, err
}

// submit takes one request.
func (c *aioContext) submit(t *sentry.Task, at usermem.Addr) error {
	var b iocb
	if err := usermem.CopyObjectIn(t.MM(), at, &b); err != nil {
		return err
	}
	if b.Reserved2 != 0 || int64(b.NBytes) < 0 || b.Flags&^(iocbFlagResfd|2) != 0 {
		return unix.EINVAL
	}
	c.mu.Lock()
	full := len(c.done)+len(c.polls) >= c.max
	c.mu.Unlock()
	if full {
		return unix.EAGAIN
	}
	f, err := openFile(t, int32(b.FD))
	if err != nil {
		return err
	}
	defer f.DecRef()
	var notify *vfs.File
	if b.Flags&iocbFlagResfd != 0 {
		if notify, err = openFile(t, int32(b.ResFD)); err != nil {
			return err
		}
		if _, ok := notify.Ops.(*eventfd.Event); !ok {
			notify.DecRef()
			return unix.EINVAL
		}
	}
	drop := func() {
		if notify != nil {
			notify.DecRef()
		}
	}
	// The key says to io_cancel that the iocb has been submitted.
	var key uint32
	if err := usermem.CopyObjectOut(t.MM(), at+aioKeyOffs, &key); err != nil {
		drop()
		return err
	}
	var res int64
	switch b.Opcode {
	case iocbPoll:
		return c.poll(f, &b, at, notify)
	case iocbFsync, iocbFdsync:
		if b.Buf != 0 || b.Offset != 0 || b.NBytes != 0 || b.RWFlags != 0 {
			drop()
			return unix.EINVAL
		}
		err = f.Sync(t, 0, maxOff, b.Opcode == iocbFdsync)
	case iocbPread, iocbPwrite, iocbPreadv, iocbPwritv:
		write := b.Opcode == iocbPwrite || b.Opcode == iocbPwritv
		if write && !f.Writable() || !write && !f.Readable() {
			drop()
			return unix.EBADF
		}
		var v usermem.IO
		var fl vfs.IOFlags
		if b.Opcode == iocbPreadv || b.Opcode == iocbPwritv {
			v, err = guestVec(t, b.Buf, b.NBytes)
		} else {
			v, err = guestIO(t, b.Buf, b.NBytes)
		}
		if err == nil {
			fl, err = rwfFlags(f, b.RWFlags, write)
		}
		if err != nil {
			drop()
			return err
		}
		switch stream := f.Ops.Stream(); {
		case write && stream:
			res, err = f.Write(t, &v, fl)
		case write:
			res, err = f.PWrite(t, &v, b.Offset, fl)
		case stream:
			res, err = f.Read(t, &v, fl)
		default:
			res, err = f.PRead(t, &v, b.Offset, fl)
		}
	default:
		drop()
		return unix.EINVAL
	}
	if err != nil {
		e, ok := err.(unix.Errno)
		if !ok {
			e = unix.EIO
		}
		if e >= 512 {
			e = unix.EINTR // it is not restarted
		}
		res = -int64(e)
	}
	c.complete(ioEvent{Data: b.Data, Obj: uint64(at), Res: res}, notify)
	return nil
}

// complete makes an event known. It takes over notify's reference.
func (c *aioContext) complete(ev ioEvent, notify *vfs.File) {
	c.mu.Lock()
	c.done = append(c.done, ev)
	c.mu.Unlock()
	c.queue.Notify(waitq.Readable)
	if notify != nil {
		notify.Ops.(*eventfd.Event).Signal(1)
		notify.DecRef()
	}
}

// poll begins IOCB_CMD_POLL. It takes over notify's reference.
func (c *aioContext) poll(f *vfs.File, b *iocb, at usermem.Addr, notify *vfs.File) error {
	if uint64(uint16(b.Buf)) != uint64(b.Buf) || b.Offset != 0 || b.NBytes != 0 || b.RWFlags != 0 {
		if notify != nil {
			notify.DecRef()
		}
		return unix.EINVAL
	}
	f.IncRef()
	p := &aioPoll{file: f, events: waitq.Events(b.Buf) | waitq.Always, data: b.Data, obj: at, notify: notify}
	p.entry.Notify = func(waitq.Events) bool {
		go c.tryPoll(p) // the file may not be asked under its queue's lock
		return true
	}
	c.mu.Lock()
	if c.closed || c.polls[at] != nil {
		c.mu.Unlock()
		f.DecRef()
		if notify != nil {
			notify.DecRef()
		}
		return unix.EINVAL
	}
	c.polls[at] = p
	c.mu.Unlock()
	f.EventRegister(&p.entry, p.events)
	c.tryPoll(p)
	return nil
}

// tryPoll completes a poll whose file is ready.
func (c *aioContext) tryPoll(p *aioPoll) {
	c.mu.Lock()
	if c.polls[p.obj] != p {
		c.mu.Unlock()
		return
	}
	ev := p.file.Readiness(p.events) & p.events
	if ev == 0 {
		c.mu.Unlock()
		return
	}
	delete(c.polls, p.obj)
	c.mu.Unlock()
	notify := p.notify
	p.notify = nil
	p.end()
	c.complete(ioEvent{Data: p.data, Obj: uint64(p.obj), Res: int64(ev)}, notify)
}

// end lets go of the file; the poll is in no list any more.
func (p *aioPoll) end() {
	p.file.EventUnregister(&p.entry)
	p.file.DecRef()
	if p.notify != nil {
		p.notify.DecRef()
	}
}

// io_cancel(2): only polls can be cancelled; everything else is done already.
func ioCancel(t *sentry.Task, id, at, result usermem.Addr) (uintptr, error) {
	var b iocb
	if err := usermem.CopyObjectIn(t.MM(), at, &b); err != nil {
		return 0, err
	}
	if b.Key != 0 {
		return 0, unix.EINVAL
	}
	a, err := aioTable(t)
	if err != nil {
		return 0, err
	}
	c, err := a.find(t, id)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	p := c.polls[at]
	delete(c.polls, at)
	c.mu.Unlock()
	if p == nil {
		return 0, unix.EINVAL
	}
	notify := p.notify
	p.notify = nil
	p.end()
	c.complete(ioEvent{Data: p.data, Obj: uint64(at), Res: -int64(unix.ECANCELED)}, notify)
	return 0, unix.EINPROGRESS // the event tells, as since Linux 4.19
}

// getEvents waits for at least minimum events.
func (c *aioContext) getEvents(t *sentry.Task, minimum, n int64, addr usermem.Addr, a *timeoutArg) (uintptr, error) {
	if minimum < 0 || n < minimum {
		return 0, unix.EINVAL
	}
	w, ch := waitq.NewChan()
	c.queue.EventRegister(w, waitq.Readable)
	defer c.queue.EventUnregister(w)
	got := int64(0)
	for {
		c.mu.Lock()
		take := c.done[:min(int64(len(c.done)), n-got)]
		events := append([]ioEvent(nil), take...)
		c.done = c.done[len(take):]
		closed := c.closed
		c.mu.Unlock()
		if len(events) > 0 {
			if err := usermem.CopySliceOut(t.MM(), addr+usermem.Addr(32*got), events); err != nil {
				if got > 0 {
					return uintptr(got), nil
				}
				return 0, err
			}
			got += int64(len(events))
		}
		if got >= minimum || a.now {
			return uintptr(got), nil
		}
		if closed {
			return uintptr(got), unix.EINVAL
		}
		switch err := t.Block(ch, until(a.deadline)); err {
		case nil:
		case unix.ETIMEDOUT:
			return uintptr(got), nil
		default:
			if got > 0 {
				return uintptr(got), nil
			}
			return 0, unix.EINTR
		}
	}
}

// io_getevents(2)
func ioGetevents(t *sentry.Task, id usermem.Addr, minimum, n int64, addr, timeout usermem.Addr) (uintptr, error) {
	a, err := readTimeout(t, timeout, false)
	if err != nil {
		return 0, err
	}
	tb, err := aioTable(t)
	if err != nil {
		return 0, err
	}
	c, err := tb.find(t, id)
	if err != nil {
		return 0, err
	}
	return c.getEvents(t, minimum, n, addr, &a)
}

// io_pgetevents(2)
func ioPgetevents(t *sentry.Task, id usermem.Addr, minimum, n int64, addr, timeout, maskArg usermem.Addr) (uintptr, error) {
	var m struct {
		Addr usermem.Addr
		Size uint64
	}
	if maskArg != 0 {
		if err := usermem.CopyObjectIn(t.MM(), maskArg, &m); err != nil {
			return 0, err
		}
	}
	if err := temporaryMask(t, m.Addr, m.Size); err != nil {
		return 0, err
	}
	r, err := ioGetevents(t, id, minimum, n, addr, timeout)
	return r, t.MaskUnlessInterrupted(err)
}
