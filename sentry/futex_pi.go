package sentry

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
)

// Priority inheriting futexes: locks whose word holds the owner's thread id. The kernel is asked only when
// somebody has to wait, and then hands the lock from owner to owner. Nothing is inherited, since
// priorities have no effect here; what programs can see is the protocol.

const (
	futexWaiters   = 0x80000000
	futexOwnerDied = 0x40000000
	futexTIDMask   = 0x3fffffff
)

func (t *Task) futexTID() uint32 { return uint32(t.PID().In(t.PIDNS())) }

// casFutex changes the word at addr from old to new; false if it is not old.
func (t *Task) casFutex(addr usermem.Addr, old, new uint32) (bool, error) {
	v, err := t.mm.CompareAndSwapUint32(addr, old, new)
	return v == old, err
}

// piOfLocked is the state of a lock that somebody waits for, nil if nobody does.
func (b *futexBucket) piOfLocked(key mm.FutexKey) *piState {
	for w := b.head; w != nil; w = w.next {
		if w.pi != nil && w.key == key {
			return w.pi
		}
	}
	return nil
}

// nextPILocked is the first who waits for the lock; more tells whether there are others.
func (b *futexBucket) nextPILocked(pi *piState) (first *futexWaiter, more bool) {
	for w := b.head; w != nil; w = w.next {
		if w.pi == pi {
			if first != nil {
				return first, true
			}
			first = w
		}
	}
	return first, false
}

// setOwner makes t, or nobody, the owner of a lock that others wait for.
func (ft *futexTable) setOwner(pi *piState, t *Task) {
	ft.pi.Lock()
	if pi.owner != nil {
		pi.owner.futex.owned = remove(pi.owner.futex.owned, pi)
	}
	pi.owner = t
	if t != nil {
		t.futex.owned = append(t.futex.owned, pi)
	}
	ft.pi.Unlock()
}

// tryLockPI tries to take the lock for task o, whose memory is t's. It returns true if it did; otherwise the
// word has the waiters bit and pi is the state to wait with. The bucket is locked.
func (t *Task) tryLockPILocked(b *futexBucket, addr usermem.Addr, key mm.FutexKey, o *Task, waiters, try bool) (ok bool, pi *piState, err error) {
	tid := o.futexTID()
	for {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return false, nil, err
		}
		if v&futexTIDMask == tid {
			return false, nil, unix.EDEADLK
		}
		pi = b.piOfLocked(key)
		if v&futexTIDMask == 0 && (pi == nil || pi.owner == nil) {
			n := v&futexOwnerDied | tid
			if waiters || pi != nil {
				n |= futexWaiters
			}
			done, err := t.casFutex(addr, v, n)
			if err != nil {
				return false, nil, err
			}
			if !done {
				continue
			}
			if pi != nil {
				t.k.futexes.setOwner(pi, o)
			}
			return true, nil, nil
		}
		if try {
			return false, nil, unix.EAGAIN
		}
		var owner *Task
		if pi == nil {
			t.k.tasks.RLock()
			owner = t.PIDNS().findTask(int32(v & futexTIDMask))
			t.k.tasks.RUnlock()
			if owner == nil {
				// It may have died a moment ago and left the word to be looked at again.
				if n, err := t.mm.LoadUint32(addr); err == nil && n != v {
					continue
				}
				return false, nil, unix.ESRCH
			}
		} else if pi.owner != nil && v&futexTIDMask != pi.owner.futexTID() {
			return false, nil, unix.EINVAL
		}
		if v&futexWaiters == 0 {
			done, err := t.casFutex(addr, v, v|futexWaiters)
			if err != nil {
				return false, nil, err
			}
			if !done {
				continue
			}
		}
		if pi == nil {
			pi = &piState{key: key}
			t.k.futexes.setOwner(pi, owner)
			if owner.exiting.Load() {
				// Its list of locks may have been walked already.
				t.k.futexes.setOwner(pi, nil)
			}
		}
		return false, pi, nil
	}
}

// FutexLockPI is FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and, with try, FUTEX_TRYLOCK_PI.
func (t *Task) FutexLockPI(addr usermem.Addr, shared, try bool, d FutexDeadline) error {
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return err
	}
	if _, err := t.mm.AtomicOpUint32(addr, func(v uint32) uint32 { return v }); err != nil {
		return err // it must be writable; and it is present now
	}
	b := t.k.futexes.bucket(key)
	w := t.futexWaiter(key, ^uint32(0))
	for {
		b.mu.Lock()
		ok, pi, err := t.tryLockPILocked(b, addr, key, t, false, try)
		if ok || err != nil {
			b.mu.Unlock()
			return err
		}
		if pi.owner == nil {
			// The owner is dying; its word is to follow.
			t.k.futexes.setOwner(pi, nil)
			b.mu.Unlock()
			if err := t.Block(nil, 1e6); err != nil && err != unix.ETIMEDOUT {
				return vfs.ErrRestartNoIntr
			}
			if d.Set && d.left(t) == 0 {
				return unix.ETIMEDOUT
			}
			continue
		}
		w.pi = pi
		b.waiters.Add(1)
		b.pushLocked(w)
		b.mu.Unlock()
		err = t.BlockBell(w.bell, d.left(t))
		return t.finishPI(w, addr, err)
	}
}

// finishPI ends a wait for a lock: err is how the sleep ended.
func (t *Task) finishPI(w *futexWaiter, addr usermem.Addr, err error) error {
	if err != nil {
		if b := w.bucket.Load(); b != nil && t.leavePI(w) {
			if err == unix.ETIMEDOUT {
				return err
			}
			return vfs.ErrRestartNoIntr
		}
		<-w.bell.C
	}
	if w.died {
		// The word still names the dead one.
		tid := t.futexTID()
		for {
			v, err := t.mm.LoadUint32(addr)
			if err != nil {
				return err
			}
			if ok, err := t.casFutex(addr, v, v&futexWaiters|futexOwnerDied|tid); err != nil {
				return err
			} else if ok {
				break
			}
		}
	}
	return nil
}

// leavePI takes w out of line for a lock; false if it has got the lock meanwhile.
func (t *Task) leavePI(w *futexWaiter) bool {
	for {
		b := w.bucket.Load()
		if b == nil {
			return false
		}
		b.mu.Lock()
		if w.bucket.Load() != b {
			b.mu.Unlock()
			continue
		}
		pi := w.pi
		b.unlinkLocked(w)
		if pi != nil {
			if first, _ := b.nextPILocked(pi); first == nil {
				t.k.futexes.setOwner(pi, nil)
			}
		}
		b.mu.Unlock()
		return true
	}
}

// FutexUnlockPI is FUTEX_UNLOCK_PI.
func (t *Task) FutexUnlockPI(addr usermem.Addr, shared bool) error {
	tid := t.futexTID()
	v, err := t.mm.LoadUint32(addr)
	if err != nil {
		return err
	}
	if v&futexTIDMask != tid {
		return unix.EPERM
	}
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return err
	}
	b := t.k.futexes.bucket(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	pi := b.piOfLocked(key)
	for {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return err
		}
		if v&futexTIDMask != tid {
			return unix.EPERM
		}
		n := uint32(0)
		var next *futexWaiter
		if pi != nil {
			if pi.owner != t {
				return unix.EINVAL
			}
			next, _ = b.nextPILocked(pi)
			n = next.task.futexTID() | futexWaiters
		}
		ok, err := t.casFutex(addr, v, n)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if next != nil {
			t.k.futexes.handOverLocked(b, pi, next, false)
		}
		return nil
	}
}

// handOverLocked makes next the owner of the lock and wakes it.
func (ft *futexTable) handOverLocked(b *futexBucket, pi *piState, next *futexWaiter, died bool) {
	next.acquired, next.died = true, died
	next.pi = nil
	task := next.task
	b.wakeLocked(next)
	if first, _ := b.nextPILocked(pi); first != nil {
		ft.setOwner(pi, task)
	} else {
		ft.setOwner(pi, nil)
	}
}

// FutexWaitRequeuePI is FUTEX_WAIT_REQUEUE_PI: it waits at addr to be moved to the lock at addr2 and get it.
func (t *Task) FutexWaitRequeuePI(addr usermem.Addr, shared bool, val, bitset uint32, d FutexDeadline, addr2 usermem.Addr) error {
	if addr == addr2 || bitset == 0 {
		return unix.EINVAL
	}
	key2, err := t.futexKey(addr2, shared)
	if err != nil {
		return err
	}
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return err
	}
	if key == key2 {
		return unix.EINVAL
	}
	w := t.futexWaiter(key, bitset)
	w.requeue = &key2
	if err := t.futexEnqueue(w, addr, val); err != nil {
		return err
	}
	err = t.BlockBell(w.bell, d.left(t))
	if err == nil {
		return t.finishPI(w, addr2, nil)
	}
	if !t.leavePI(w) {
		<-w.bell.C
		return t.finishPI(w, addr2, nil)
	}
	switch {
	case err == unix.ETIMEDOUT:
		return err
	case w.requeued:
		return unix.EAGAIN
	}
	return vfs.ErrRestartNoIntr
}

// FutexCmpRequeuePI is FUTEX_CMP_REQUEUE_PI: the first waiter at addr gets the lock at addr2 if it is free, the
// others wait for it. It returns how many were woken or moved.
func (t *Task) FutexCmpRequeuePI(addr usermem.Addr, shared bool, addr2 usermem.Addr, nwake, nmove int, cmp uint32) (int, error) {
	if nwake != 1 || nmove < 0 || addr == addr2 {
		return 0, unix.EINVAL
	}
	key, err := t.futexKey(addr, shared)
	if err != nil {
		return 0, err
	}
	key2, err := t.futexKey(addr2, shared)
	if err != nil {
		return 0, err
	}
	if key == key2 {
		return 0, unix.EINVAL
	}
	if _, err := t.mm.AtomicOpUint32(addr2, func(v uint32) uint32 { return v }); err != nil {
		return 0, err
	}
	b1, b2 := t.k.futexes.bucket(key), t.k.futexes.bucket(key2)
	lock2(b1, b2)
	defer unlock2(b1, b2)
	v, err := t.mm.LoadUint32(addr)
	if err != nil {
		return 0, err
	}
	if v != cmp {
		return 0, unix.EAGAIN
	}
	n := 0
	for w := b1.head; w != nil && n < nwake+nmove; {
		next := w.next
		if w.key != key {
			w = next
			continue
		}
		if w.requeue == nil || *w.requeue != key2 || w.pi != nil {
			return n, unix.EINVAL
		}
		ok, pi, err := t.tryLockPILocked(b2, addr2, key2, w.task, n+1 < nwake+nmove && b1.moreLocked(w), false)
		switch {
		case err != nil:
			if n > 0 {
				return n, nil
			}
			return 0, err
		case ok:
			w.acquired = true
			w.requeue = nil
			b1.wakeLocked(w)
		case pi.owner == nil:
			if n > 0 {
				return n, nil
			}
			return 0, unix.EAGAIN
		default:
			b1.unlinkLocked(w)
			w.key, w.pi, w.requeued, w.requeue = key2, pi, true, nil
			b2.waiters.Add(1)
			b2.pushLocked(w)
		}
		n++
		w = next
	}
	return n, nil
}

// moreLocked tells whether somebody else waits where w does.
func (b *futexBucket) moreLocked(w *futexWaiter) bool {
	for o := w.next; o != nil; o = o.next {
		if o.key == w.key {
			return true
		}
	}
	return false
}

// exitPI hands the locks that t, which exits, still owns to those who wait for them.
func (t *Task) exitPI() {
	ft := &t.k.futexes
	for {
		ft.pi.Lock()
		if len(t.futex.owned) == 0 {
			ft.pi.Unlock()
			return
		}
		pi := t.futex.owned[0]
		ft.pi.Unlock()
		b := ft.bucket(pi.key)
		b.mu.Lock()
		if pi.owner == t {
			if next, _ := b.nextPILocked(pi); next != nil {
				ft.handOverLocked(b, pi, next, true)
			} else {
				ft.setOwner(pi, nil)
			}
		}
		b.mu.Unlock()
	}
}
