// Package eventfd is eventfd(2): a counter that is waited for.
//
// There are no locks but the queue's.
package eventfd

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// max is the largest value that a write may make; only Signal reaches beyond it.
const max = math.MaxUint64 - 1

// Event is the object behind an eventfd.
type Event struct {
	vfs.DefaultFileOps
	counter vfs.Counter
}

// New returns an event with the given count. flags are EFD_SEMAPHORE or 0; the
// other EFD_ flags are the descriptor's and the file's.
func New(initial uint32, flags uint32) (*Event, error) {
	if flags&^(unix.EFD_SEMAPHORE|unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) != 0 {
		return nil, unix.EINVAL
	}
	e := &Event{}
	e.counter.Semaphore = flags&unix.EFD_SEMAPHORE != 0
	e.counter.N.Store(uint64(initial))
	return e, nil
}

// NewFile returns a file on a new event, as eventfd2(2) does. The caller has its reference.
func NewFile(ctx vfs.Context, initial uint32, flags uint32) (*vfs.File, error) {
	e, err := New(initial, flags)
	if err != nil {
		return nil, err
	}
	return vfs.NewAnonFile("anon_inode:[eventfd]", e, unix.O_RDWR|flags&unix.EFD_NONBLOCK, ctx.Cred()), nil
}

// Signal adds n for the kernel's own purposes (asynchronous I/O completions). It
// never blocks: an overflow sticks at the largest value, which poll shows as an error.
func (e *Event) Signal(n uint64) {
	var now uint64
	for {
		was := e.counter.N.Load()
		now = was + min(n, math.MaxUint64-was)
		if e.counter.N.CompareAndSwap(was, now) {
			break
		}
	}
	ev := waitq.Readable
	if now == math.MaxUint64 {
		ev |= waitq.Err
	}
	e.counter.Queue.Notify(ev)
}

// Info is the count and whether it is a semaphore, for /proc/PID/fdinfo.
func (e *Event) Info() (count uint64, semaphore bool) { return e.counter.N.Load(), e.counter.Semaphore }

// LeafIO implements vfs.LeafFile.
func (e *Event) LeafIO() (vfs.LeafIO, *vfs.Counter) { return vfs.LeafCounter, &e.counter }

// Readiness implements vfs.FileOps.
func (e *Event) Readiness(mask waitq.Events) waitq.Events {
	n := e.counter.N.Load()
	var ev waitq.Events
	if n > 0 {
		ev |= waitq.Readable
	}
	if n == math.MaxUint64 {
		ev |= waitq.Err
	}
	if n < max {
		ev |= waitq.Writable
	}
	return ev & (mask | waitq.Always)
}

// EventRegister implements vfs.FileOps.
func (e *Event) EventRegister(w *waitq.Entry, mask waitq.Events) {
	e.counter.Queue.EventRegister(w, mask)
}

// EventUnregister implements vfs.FileOps.
func (e *Event) EventUnregister(w *waitq.Entry) { e.counter.Queue.EventUnregister(w) }

// Read implements vfs.FileOps.
func (e *Event) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	if dst.Len() < 8 {
		return 0, unix.EINVAL
	}
	n := e.counter.Take()
	if n == 0 {
		return 0, unix.EAGAIN
	}
	e.counter.Queue.Notify(waitq.Writable)
	// As in Linux the count is taken even if it cannot be copied out.
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	if _, err := dst.Write(b[:]); err != nil {
		return 0, unix.EFAULT
	}
	return 8, nil
}

// Write implements vfs.FileOps.
func (e *Event) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	if src.Len() < 8 {
		return 0, 0, unix.EINVAL
	}
	var b [8]byte
	// A copy of the IO: EAGAIN must leave the caller's where it was.
	v := *src
	if _, err := v.Read(b[:]); err != nil {
		return 0, 0, unix.EFAULT
	}
	n := binary.NativeEndian.Uint64(b[:])
	if n == math.MaxUint64 {
		return 0, 0, unix.EINVAL
	}
	for {
		was := e.counter.N.Load()
		if was == math.MaxUint64 || n > max-was {
			return 0, 0, unix.EAGAIN
		}
		if e.counter.N.CompareAndSwap(was, was+n) {
			break
		}
	}
	*src = v
	e.counter.Queue.Notify(waitq.Readable)
	return 8, 0, nil
}

// Sync implements vfs.FileOps.
func (e *Event) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return unix.EINVAL }

// Stream implements vfs.FileOps.
func (e *Event) Stream() bool { return true }

// Seek implements vfs.FileOps: it does nothing, as in Linux.
func (*Event) Seek(_ vfs.Context, _ *vfs.File, pos, _ int64, _ int) (int64, error) { return pos, nil }
