// Package epoll is epoll(7): files that collect the readiness of other files.
//
// An Epoll has an interest list (items, by file and descriptor) and a ready list. Each
// item has an entry in its file's wait queue; when that is notified, the item goes to the
// ready list and the epoll's own queue is notified. Wait looks only at the ready list, so it
// costs what there is to report, and asks each file again whether it is really ready: level-
// triggered items stay in the list until they are not.
//
// Items hold no reference on their files: a file that is released takes its items along
// (vfs.ReleaseHook), and that waits for mu; so under mu every item's file can be asked.
// Who drops file references must therefore not hold locks that Readiness of a file takes.
//
// LOCK ORDER
//
//	nestMu (all epolls: who watches whom)
//	  Epoll.mu, the watching one before the watched one
//	    locks of the watched file, its wait queue
//	      Epoll.readyMu
//	        (not held:) the epoll's own wait queue
package epoll

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

const (
	privateBits   = unix.EPOLLWAKEUP | unix.EPOLLONESHOT | unix.EPOLLET | unix.EPOLLEXCLUSIVE
	exclusiveBits = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLWAKEUP |
		unix.EPOLLET | unix.EPOLLEXCLUSIVE

	// maxChain is how many epolls may watch each other in a row.
	maxChain = 5
)

// Event is struct epoll_event.
type Event struct {
	Events uint32
	Data   uint64
}

// EventSize is the size of a packed struct epoll_event.
const EventSize = 12

// Put writes e to the first EventSize bytes of b.
func (e Event) Put(b []byte) {
	binary.LittleEndian.PutUint32(b, e.Events)
	binary.LittleEndian.PutUint64(b[4:], e.Data)
}

// GetEvent reads an event from the first EventSize bytes of b.
func GetEvent(b []byte) Event {
	return Event{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])}
}

// Poller may be implemented by FileOps to say whether the file can be watched; without it
// regular files and directories cannot, and all others can.
type Poller interface{ CanPoll() bool }

// Epoll is the operations of an epoll file.
type Epoll struct {
	vfs.DefaultFileOps
	q   waitq.Queue
	reg *vfs.Registry // whose limits hold; nil: there are none
	uid cred.KUID     // who made it, and is charged for the items

	// mu is held over changes of the interest list and while Wait looks at files.
	mu    sync.Mutex
	items map[*vfs.File][]*item
	count int
	added uint64 // counts additions

	readyMu    sync.Mutex
	head, tail *item
	nready     int

	// parents are the epolls that watch this one, under nestMu.
	parents map[*Epoll]int
}

// nestMu protects the graph of epolls that watch epolls.
var nestMu sync.Mutex

type item struct {
	ep    *Epoll
	file  *vfs.File
	fd    int32
	seq   uint64 // which addition it was
	entry waitq.Entry

	// Changed under both mu and readyMu.
	events uint32
	data   uint64

	// Under readyMu.
	ready      bool
	next, prev *item
}

// New makes an epoll file; flags may contain nothing but what belongs to the descriptor. reg has the
// limits; nil: there are none.
func New(reg *vfs.Registry, c *cred.Cred) *vfs.File {
	ep := &Epoll{reg: reg, uid: c.UID, items: make(map[*vfs.File][]*item)}
	return vfs.NewAnonFile("anon_inode:[eventpoll]", ep, unix.O_RDWR, c)
}

func of(f *vfs.File) *Epoll {
	ep, _ := f.Ops.(*Epoll)
	return ep
}

// Is tells whether f is an epoll file.
func Is(f *vfs.File) bool { return of(f) != nil }

func canPoll(f *vfs.File) bool {
	if p, ok := f.Ops.(Poller); ok {
		return p.CanPoll()
	}
	i := f.Inode()
	return !i.IsRegular() && !i.IsDir()
}

// Ctl is epoll_ctl(2) on the epoll file f, for the descriptor fd which is target.
func Ctl(f *vfs.File, op int, fd int32, target *vfs.File, ev Event) error {
	if f.IsPathOnly() || target.IsPathOnly() {
		return unix.EBADF
	}
	if !canPoll(target) {
		return unix.EPERM
	}
	ep := of(f)
	if ep == nil || f == target {
		return unix.EINVAL
	}
	child := of(target)
	if op != unix.EPOLL_CTL_DEL && ev.Events&unix.EPOLLEXCLUSIVE != 0 {
		if op == unix.EPOLL_CTL_MOD || child != nil || ev.Events&^exclusiveBits != 0 {
			return unix.EINVAL
		}
	}
	switch op {
	case unix.EPOLL_CTL_ADD:
		if child != nil {
			nestMu.Lock()
			defer nestMu.Unlock()
			if child.watches(ep, 0) || child.height()+ep.depth() > maxChain {
				return unix.ELOOP
			}
		}
		return ep.add(fd, target, child, ev)
	case unix.EPOLL_CTL_DEL:
		if child != nil {
			nestMu.Lock()
			defer nestMu.Unlock()
		}
		return ep.del(fd, target, child)
	case unix.EPOLL_CTL_MOD:
		return ep.mod(fd, target, ev)
	}
	return unix.EINVAL
}

// watches tells whether ep watches other, through any number of epolls; with nestMu held.
func (ep *Epoll) watches(other *Epoll, level int) bool {
	if ep == other {
		return true
	}
	if level > maxChain {
		return true
	}
	for p := range other.parents {
		if ep.watches(p, level+1) {
			return true
		}
	}
	return false
}

// depth is the number of epolls in the longest chain that ends with watching ep, ep included.
func (ep *Epoll) depth() int {
	d := 0
	for p := range ep.parents {
		d = max(d, p.depth())
	}
	return d + 1
}

// height is the number of epolls in the longest chain that ep watches, ep included.
func (ep *Epoll) height() int {
	ep.mu.Lock()
	var kids []*Epoll
	for f := range ep.items {
		if k := of(f); k != nil {
			kids = append(kids, k)
		}
	}
	ep.mu.Unlock()
	h := 0
	for _, k := range kids {
		h = max(h, k.height())
	}
	return h + 1
}

func (ep *Epoll) find(fd int32, f *vfs.File) *item {
	for _, it := range ep.items[f] {
		if it.fd == fd {
			return it
		}
	}
	return nil
}

// Target is the file of the n-th item, from 0 in the order of their addition, that was added under the
// number fd, with a reference for the caller; nil if there are fewer.
func Target(f *vfs.File, fd int32, n uint32) *vfs.File {
	ep := of(f)
	ep.mu.Lock()
	defer ep.mu.Unlock()
	var found []*item
	for _, its := range ep.items {
		for _, it := range its {
			if it.fd == fd {
				found = append(found, it)
			}
		}
	}
	if uint64(n) >= uint64(len(found)) {
		return nil
	}
	slices.SortFunc(found, func(a, b *item) int { return cmp.Compare(a.seq, b.seq) })
	target := found[n].file
	if !target.TryIncRef() {
		return nil
	}
	return target
}

func (ep *Epoll) add(fd int32, target *vfs.File, child *Epoll, ev Event) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.find(fd, target) != nil {
		return unix.EEXIST
	}
	if ep.reg != nil && ep.reg.Users.Add(ep.uid, cred.UserEpollWatches, 1) > ep.reg.EpollWatchesMax.Load() {
		ep.reg.Users.Add(ep.uid, cred.UserEpollWatches, -1)
		return unix.ENOSPC
	}
	it := &item{ep: ep, file: target, fd: fd, events: ev.Events | unix.EPOLLERR | unix.EPOLLHUP, data: ev.Data}
	ep.added++
	it.seq = ep.added
	it.entry.Notify = it.notify
	it.entry.Exclusive = ev.Events&unix.EPOLLEXCLUSIVE != 0
	if len(ep.items[target]) == 0 {
		target.AddReleaseHook(ep)
	}
	ep.items[target] = append(ep.items[target], it)
	ep.count++
	if child != nil {
		if child.parents == nil {
			child.parents = make(map[*Epoll]int)
		}
		child.parents[ep]++
	}
	// The entry's mask is all events: what is of interest may change without registering again.
	target.EventRegister(&it.entry, waitq.All)
	ep.check(it)
	return nil
}

// check puts an item whose file is ready already on the ready list.
func (ep *Epoll) check(it *item) {
	mask := waitq.Events(it.events &^ privateBits)
	if it.file.Readiness(mask)&mask != 0 {
		it.notify(0)
	}
}

func (ep *Epoll) del(fd int32, target *vfs.File, child *Epoll) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	it := ep.find(fd, target)
	if it == nil {
		return unix.ENOENT
	}
	list := ep.items[target]
	for k := range list {
		if list[k] == it {
			list = append(list[:k], list[k+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(ep.items, target)
		target.RemoveReleaseHook(ep)
	} else {
		ep.items[target] = list
	}
	ep.remove(it)
	if child != nil {
		child.forget(ep)
	}
	return nil
}

func (ep *Epoll) forget(parent *Epoll) {
	if ep.parents[parent]--; ep.parents[parent] <= 0 {
		delete(ep.parents, parent)
	}
}

// remove ends an item that is in the interest list no more; with mu held.
func (ep *Epoll) remove(it *item) {
	it.file.EventUnregister(&it.entry)
	ep.count--
	if ep.reg != nil {
		ep.reg.Users.Add(ep.uid, cred.UserEpollWatches, -1)
	}
	ep.readyMu.Lock()
	it.events = 0
	ep.unlink(it)
	ep.readyMu.Unlock()
}

func (ep *Epoll) mod(fd int32, target *vfs.File, ev Event) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	it := ep.find(fd, target)
	if it == nil {
		return unix.ENOENT
	}
	if it.events&unix.EPOLLEXCLUSIVE != 0 {
		return unix.EINVAL
	}
	ep.readyMu.Lock()
	it.events, it.data = ev.Events|unix.EPOLLERR|unix.EPOLLHUP, ev.Data
	ep.readyMu.Unlock()
	ep.check(it)
	return nil
}

// notify is called from the wait queue of the item's file (events 0: by check). It returns
// whether somebody was woken, which decides for whom an exclusive event is.
func (it *item) notify(events waitq.Events) bool {
	ep := it.ep
	ep.readyMu.Lock()
	want := waitq.Events(it.events &^ privateBits)
	if want == 0 || events != 0 && events&want == 0 {
		ep.readyMu.Unlock()
		return false
	}
	ep.link(it)
	ep.readyMu.Unlock()
	took := !ep.q.Empty()
	ep.q.Notify(waitq.Readable)
	return took
}

// link puts an item at the end of the ready list, unlink takes it out; with readyMu held.
func (ep *Epoll) link(it *item) {
	if it.ready {
		return
	}
	it.ready = true
	it.prev, it.next = ep.tail, nil
	if ep.tail != nil {
		ep.tail.next = it
	} else {
		ep.head = it
	}
	ep.tail = it
	ep.nready++
}

func (ep *Epoll) unlink(it *item) {
	if !it.ready {
		return
	}
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		ep.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		ep.tail = it.prev
	}
	it.next, it.prev, it.ready = nil, nil, false
	ep.nready--
}

// Wait is epoll_wait(2): emit gets up to maxEvents events; its error, which leaves the event
// for later, ends the call. A timeout < 0 is none. A signal gives EINTR.
func Wait(ctx vfs.Context, f *vfs.File, maxEvents int, timeout time.Duration, emit func(Event) error) (int, error) {
	ep := of(f)
	if ep == nil {
		return 0, unix.EINVAL
	}
	if maxEvents <= 0 || maxEvents > 1<<31/EventSize {
		return 0, unix.EINVAL
	}
	n, err := ep.collect(maxEvents, emit)
	if n > 0 || err != nil || timeout == 0 {
		ep.passOn()
		return n, err
	}
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	w := waitq.GetWaiter()
	w.Exclusive = true
	ep.q.EventRegister(&w.Entry, waitq.Readable)
	for {
		if n, err = ep.collect(maxEvents, emit); n > 0 || err != nil {
			break
		}
		if timeout > 0 {
			timeout = max(time.Until(deadline), 1)
		}
		if err = w.Wait(ctx, timeout); err != nil {
			break
		}
	}
	ep.q.EventUnregister(&w.Entry)
	w.Put()
	if err == unix.ETIMEDOUT {
		n, err = ep.collect(maxEvents, emit)
	} else if err == vfs.ErrRestartSys {
		err = unix.EINTR
	}
	// What is left, and an event that was meant for us when we stopped waiting, is for another
	// waiter. Not before our own entry is out of the queue: it would take the wake-up.
	ep.passOn()
	return n, err
}

// passOn wakes a waiter if there is something to report.
func (ep *Epoll) passOn() {
	if ep.q.Empty() {
		return
	}
	ep.readyMu.Lock()
	any := ep.head != nil
	ep.readyMu.Unlock()
	if any {
		ep.q.Notify(waitq.Readable)
	}
}

// collect reports what is ready. The caller calls passOn when it waits no more.
func (ep *Epoll) collect(maxEvents int, emit func(Event) error) (int, error) {
	ep.readyMu.Lock()
	left := ep.nready
	ep.readyMu.Unlock()
	if left == 0 {
		return 0, nil
	}
	ep.mu.Lock()
	n := 0
	var err error
	for ; left > 0 && n < maxEvents; left-- {
		ep.readyMu.Lock()
		it := ep.head
		if it == nil {
			ep.readyMu.Unlock()
			break
		}
		ep.unlink(it)
		ep.readyMu.Unlock()
		mask := waitq.Events(it.events &^ privateBits)
		got := it.file.Readiness(mask) & mask
		if got == 0 {
			continue
		}
		if err = emit(Event{uint32(got), it.data}); err != nil {
			ep.readyMu.Lock()
			ep.link(it)
			ep.readyMu.Unlock()
			break
		}
		n++
		if it.events&(unix.EPOLLONESHOT|unix.EPOLLET) != unix.EPOLLET {
			ep.readyMu.Lock()
			if it.events&unix.EPOLLONESHOT != 0 {
				it.events &= privateBits
				ep.unlink(it)
			} else {
				ep.link(it)
			}
			ep.readyMu.Unlock()
		}
	}
	ep.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// Readiness implements waitq.Waitable: readable while some file is ready.
func (ep *Epoll) Readiness(mask waitq.Events) waitq.Events {
	mask &= waitq.Readable
	if mask == 0 {
		return 0
	}
	ep.readyMu.Lock()
	left := ep.nready
	ep.readyMu.Unlock()
	if left == 0 {
		return 0
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for ; left > 0; left-- {
		ep.readyMu.Lock()
		it := ep.head
		if it == nil {
			ep.readyMu.Unlock()
			return 0
		}
		ep.unlink(it)
		ep.readyMu.Unlock()
		want := waitq.Events(it.events &^ privateBits)
		if want != 0 && it.file.Readiness(want)&want != 0 {
			ep.readyMu.Lock()
			ep.link(it)
			ep.readyMu.Unlock()
			return mask
		}
	}
	return 0
}

// EventRegister implements waitq.Waitable.
func (ep *Epoll) EventRegister(e *waitq.Entry, mask waitq.Events) { ep.q.EventRegister(e, mask) }

// EventUnregister implements waitq.Waitable.
func (ep *Epoll) EventUnregister(e *waitq.Entry) { ep.q.EventUnregister(e) }

// FileReleased implements vfs.ReleaseHook: a watched file goes.
func (ep *Epoll) FileReleased(f *vfs.File) {
	child := of(f)
	if child != nil {
		nestMu.Lock()
		defer nestMu.Unlock()
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, it := range ep.items[f] {
		ep.remove(it)
		if child != nil {
			child.forget(ep)
		}
	}
	delete(ep.items, f)
}

// Release implements vfs.FileOps.
func (ep *Epoll) Release(*vfs.File) {
	nestMu.Lock()
	defer nestMu.Unlock()
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for f, list := range ep.items {
		for _, it := range list {
			ep.remove(it)
			if child := of(f); child != nil {
				child.forget(ep)
			}
		}
		f.RemoveReleaseHook(ep)
	}
	clear(ep.items)
}

// Stream implements vfs.FileOps.
func (ep *Epoll) Stream() bool { return true }

// Seek implements vfs.FileOps: it does nothing, as in Linux.
func (*Epoll) Seek(_ vfs.Context, _ *vfs.File, pos, _ int64, _ int) (int64, error) { return pos, nil }

// FDInfo is what /proc/PID/fdinfo shows of an epoll file.
func (ep *Epoll) FDInfo() string {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	var b strings.Builder
	for f, list := range ep.items {
		for _, it := range list {
			var dev uint64
			if sb := f.Inode().SB; sb != nil {
				dev = sb.Dev
			}
			fmt.Fprintf(&b, "tfd: %8d events: %8x data: %16x  pos:%d ino:%x sdev:%x\n",
				it.fd, it.events, it.data, f.Pos(), f.Inode().Ino, dev)
		}
	}
	return b.String()
}
