package sentry

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Futexes. A futex is a word of guest memory, named by mm's FutexKey; who waits for it stands in a bucket of a
// hash table. Waiting is: lock the bucket, look at the word, get in line, unlock, sleep. Whoever changes
// the word does so before it asks for a wake-up, so nobody sleeps through it. A waiter that is taken out of
// line by somebody else (woken) has its bucket set to nil and its channel made ready, under the bucket's lock.
//
// Lock order: buckets, by their place in the table, then futexTable.pi, then locks of package mm.

const futexBuckets = 512

type futexTable struct {
	m1, m2  uint64 // for FutexKey.Hash
	buckets [futexBuckets]futexBucket
	// pi protects the lists of piStates that tasks own.
	pi sync.Mutex
}

type futexBucket struct {
	index int
	// waiters is how many stand in line or are about to, so that waking nobody needs no lock.
	waiters atomic.Int32
	mu      sync.Mutex
	head    *futexWaiter
	tail    *futexWaiter
	_       [64]byte
}

// futexWaiter is one place in line.
type futexWaiter struct {
	next, prev *futexWaiter
	bucket     atomic.Pointer[futexBucket] // changes under the lock of the bucket it points to
	key        mm.FutexKey
	bitset     uint32
	task       *Task
	bell       *waitq.Bell // several waiters of futex_waitv share one

	// For priority inheriting futexes.
	pi       *piState     // waits for the lock
	requeue  *mm.FutexKey // FUTEX_WAIT_REQUEUE_PI: what it may be moved to
	requeued bool         // it was
	acquired bool         // the lock is its own now
	died     bool         // ... because the owner died
}

// piState is a priority inheriting futex that somebody waits for. All fields but the first are
// protected by the bucket's lock; owner also by futexTable.pi.
type piState struct {
	key   mm.FutexKey
	owner *Task // nil if it died
}

func (ft *futexTable) init() {
	ft.m1, ft.m2 = rand.Uint64()|1, rand.Uint64()|1
	for i := range ft.buckets {
		ft.buckets[i].index = i
	}
}

func (ft *futexTable) bucket(k mm.FutexKey) *futexBucket {
	return &ft.buckets[k.Hash(ft.m1, ft.m2)%futexBuckets]
}

func (b *futexBucket) pushLocked(w *futexWaiter) {
	w.bucket.Store(b)
	w.next, w.prev = nil, b.tail
	if b.tail != nil {
		b.tail.next = w
	} else {
		b.head = w
	}
	b.tail = w
}

func (b *futexBucket) unlinkLocked(w *futexWaiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		b.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		b.tail = w.prev
	}
	w.next, w.prev = nil, nil
	w.bucket.Store(nil)
	b.waiters.Add(-1)
}

// wakeLocked takes w out of line and wakes it.
func (b *futexBucket) wakeLocked(w *futexWaiter) {
	b.unlinkLocked(w)
	w.bell.Ring()
}

// cancel takes w out of line, and returns false if somebody else has done so.
func (w *futexWaiter) cancel() bool {
	for {
		b := w.bucket.Load()
		if b == nil {
			return false
		}
		b.mu.Lock()
		if w.bucket.Load() == b {
			b.unlinkLocked(w)
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock()
	}
}

// lock2 locks two buckets.
func lock2(a, b *futexBucket) {
	switch {
	case a == b:
		a.mu.Lock()
	case a.index < b.index:
		a.mu.Lock()
		b.mu.Lock()
	default:
		b.mu.Lock()
		a.mu.Lock()
	}
}

func unlock2(a, b *futexBucket) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// taskFutex is what a task waits with, kept so that waiting allocates nothing.
type taskFutex struct {
	waiter futexWaiter
	// owned are the priority inheriting futexes of the task that others wait for; protected by futexTable.pi.
	owned []*piState
}

// FutexDeadline is the end of a wait: forever, or a time of a clock.
type FutexDeadline struct {
	Set  bool
	At   int64
	Real bool // CLOCK_REALTIME; CLOCK_MONOTONIC (of the task's time namespace) otherwise
}

// left is how long to sleep; -1 forever.
func (d *FutexDeadline) left(t *Task) time.Duration {
	if !d.Set {
		return -1
	}
	id := int32(unix.CLOCK_MONOTONIC)
	if d.Real {
		id = unix.CLOCK_REALTIME
	}
	return t.DeadlineWait(id, d.At)
}

func (t *Task) futexKey(addr usermem.Addr, shared bool) (mm.FutexKey, error) {
	if addr%4 != 0 {
		return mm.FutexKey{}, unix.EINVAL
	}
	return t.mm.FutexKey(addr, shared)
}

// enqueue puts w in line for addr if the word there is val; EAGAIN otherwise.
func (t *Task) futexEnqueue(w *futexWaiter, addr usermem.Addr, val uint32) error {
	b := t.k.futexes.bucket(w.key)
	b.waiters.Add(1) // before the word is looked at: see futexWake
	b.mu.Lock()
	v, err := t.mm.LoadUint32(addr)
	if err == nil && v != val {
		err = unix.EAGAIN
	}
	if err != nil {
		b.waiters.Add(-1)
		b.mu.Unlock()
		return err
	}
	b.pushLocked(w)
	b.mu.Unlock()
	return nil
}

// FutexWait is FUTEX_WAIT and FUTEX_WAIT_BITSET.
func (t *Task) FutexWait(addr usermem.Addr, shared bool, val, bitset uint32, d FutexDeadline) error {
	if bitset == 0 {
		return unix.EINVAL
	}
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return err
	}
	w := t.futexWaiter(key, bitset)
	if err := t.futexEnqueue(w, addr, val); err != nil {
		return err
	}
	err = t.BlockBell(w.bell, d.left(t))
	if err == nil {
		return nil
	}
	if !w.cancel() {
		<-w.bell.C
		return nil
	}
	if err == unix.ETIMEDOUT {
		return err
	}
	if d.Set {
		t.restart = func(t *Task) (uintptr, error) { return 0, t.FutexWait(addr, shared, val, bitset, d) }
		return vfs.ErrRestartBlock
	}
	return vfs.ErrRestartSys
}

// futexWaiter prepares the task's own waiter.
func (t *Task) futexWaiter(key mm.FutexKey, bitset uint32) *futexWaiter {
	w := &t.futex.waiter
	if w.bell == nil {
		w.bell = waitq.NewBell()
		w.task = t
	}
	w.bell.Ready()
	w.key, w.bitset = key, bitset
	w.pi, w.requeue, w.requeued, w.acquired, w.died = nil, nil, false, false, false
	return w
}

// FutexWake is FUTEX_WAKE and FUTEX_WAKE_BITSET. It returns how many were woken.
func (t *Task) FutexWake(addr usermem.Addr, shared bool, n int, bitset uint32) (int, error) {
	if bitset == 0 {
		return 0, unix.EINVAL
	}
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return 0, err
	}
	return t.k.futexes.wake(key, n, bitset)
}

func (ft *futexTable) wake(key mm.FutexKey, n int, bitset uint32) (int, error) {
	b := ft.bucket(key)
	if b.waiters.Load() == 0 {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wakeNLocked(key, n, bitset)
}

// wakeNLocked wakes up to n, at least one, as Linux does.
func (b *futexBucket) wakeNLocked(key mm.FutexKey, n int, bitset uint32) (woken int, err error) {
	for w := b.head; w != nil; {
		next := w.next
		if w.key == key {
			if w.pi != nil || w.requeue != nil {
				return woken, unix.EINVAL
			}
			if w.bitset&bitset != 0 {
				b.wakeLocked(w)
				if woken++; woken >= n {
					break
				}
			}
		}
		w = next
	}
	return woken, nil
}

// FutexRequeue is FUTEX_REQUEUE, and with a cmp value FUTEX_CMP_REQUEUE. It returns how many were woken, and
// how many were woken or moved.
func (t *Task) FutexRequeue(addr1 usermem.Addr, shared1 bool, addr2 usermem.Addr, shared2 bool, nwake, nmove int, cmp *uint32) (woken, all int, err error) {
	if nwake < 0 || nmove < 0 {
		return 0, 0, unix.EINVAL
	}
	key1, err := t.futexKey(addr1, shared1)
	if err != nil {
		return 0, 0, err
	}
	key2, err := t.futexKey(addr2, shared2)
	if err != nil {
		return 0, 0, err
	}
	b1, b2 := t.k.futexes.bucket(key1), t.k.futexes.bucket(key2)
	if cmp != nil {
		if _, err := t.mm.LoadUint32(addr1); err != nil { // make it present
			return 0, 0, err
		}
	}
	lock2(b1, b2)
	defer unlock2(b1, b2)
	if cmp != nil {
		v, err := t.mm.LoadUint32(addr1)
		if err != nil {
			return 0, 0, err
		}
		if v != *cmp {
			return 0, 0, unix.EAGAIN
		}
	}
	moved := 0
	for w := b1.head; w != nil && (woken < nwake || moved < nmove); {
		next := w.next
		if w.key == key1 {
			if w.pi != nil || w.requeue != nil {
				return woken, woken + moved, unix.EINVAL
			}
			if woken < nwake {
				b1.wakeLocked(w)
				woken++
			} else {
				b1.moveLocked(w, b2, key2)
				moved++
			}
		}
		w = next
	}
	return woken, woken + moved, nil
}

// moveLocked moves w to another futex.
func (b *futexBucket) moveLocked(w *futexWaiter, to *futexBucket, key mm.FutexKey) {
	if w.key == key {
		return
	}
	w.key = key
	if b == to {
		return
	}
	b.unlinkLocked(w)
	to.waiters.Add(1)
	to.pushLocked(w)
}

// FutexWakeOp is FUTEX_WAKE_OP.
func (t *Task) FutexWakeOp(addr1, addr2 usermem.Addr, shared bool, n1, n2 int, op uint32) (int, error) {
	key1, err := t.futexKey(addr1, shared)
	if err != nil {
		return 0, err
	}
	key2, err := t.futexKey(addr2, shared)
	if err != nil {
		return 0, err
	}
	const (
		opSet, opAdd, opOr, opAndN, opXor = 0, 1, 2, 3, 4

		opShift = 8
	)
	arg := uint32(int32(op<<8) >> 20)
	cmpArg := uint32(int32(op<<20) >> 20)
	kind, cmp := op>>28, op>>24&15
	if kind&opShift != 0 {
		arg = 1 << (arg & 31)
		kind &^= opShift
	}
	if kind > opXor {
		return 0, unix.ENOSYS
	}
	b1, b2 := t.k.futexes.bucket(key1), t.k.futexes.bucket(key2)
	if _, err := t.mm.AtomicOpUint32(addr2, func(v uint32) uint32 { return v }); err != nil {
		return 0, err
	}
	lock2(b1, b2)
	defer unlock2(b1, b2)
	old, err := t.mm.AtomicOpUint32(addr2, func(v uint32) uint32 {
		switch kind {
		case opSet:
			return arg
		case opAdd:
			return v + arg
		case opOr:
			return v | arg
		case opAndN:
			return v &^ arg
		}
		return v ^ arg
	})
	if err != nil {
		return 0, err
	}
	var yes bool
	a, c := int32(old), int32(cmpArg)
	switch cmp {
	case 0:
		yes = a == c
	case 1:
		yes = a != c
	case 2:
		yes = a < c
	case 3:
		yes = a <= c
	case 4:
		yes = a > c
	case 5:
		yes = a >= c
	default:
		return 0, unix.ENOSYS
	}
	woken, err := b1.wakeNLocked(key1, n1, ^uint32(0))
	if err != nil {
		return 0, err
	}
	if yes {
		n, err := b2.wakeNLocked(key2, n2, ^uint32(0))
		if err != nil {
			return 0, err
		}
		woken += n
	}
	return woken, nil
}

// FutexVec is one futex of futex_waitv(2).
type FutexVec struct {
	Val    uint32
	Addr   usermem.Addr
	Shared bool
}

// FutexWaitv is futex_waitv(2): it waits for any of v and returns the index of one that was woken.
func (t *Task) FutexWaitv(v []FutexVec, d FutexDeadline) (int, error) {
	ws := make([]futexWaiter, len(v))
	bell := waitq.NewBell()
	for i := range v {
		key, err := t.futexKey(v[i].Addr, v[i].Shared)
		if err != nil {
			return 0, err
		}
		ws[i].key, ws[i].bitset, ws[i].task, ws[i].bell = key, ^uint32(0), t, bell
	}
	// undo takes the first n out of line and returns the last that was woken, or -1.
	undo := func(n int) int {
		woken := -1
		for i := range n {
			if !ws[i].cancel() {
				woken = i
			}
		}
		return woken
	}
	for i := range v {
		if err := t.futexEnqueue(&ws[i], v[i].Addr, v[i].Val); err != nil {
			if woken := undo(i); woken >= 0 {
				return woken, nil
			}
			return 0, err
		}
	}
	err := t.BlockBell(bell, d.left(t))
	if woken := undo(len(ws)); woken >= 0 {
		return woken, nil
	}
	if err == nil {
		err = unix.EAGAIN // cannot happen
	}
	return 0, err
}
