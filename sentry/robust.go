package sentry

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// Robust futexes: locks that a thread lists in its own memory, so that the kernel can mark them when the
// thread dies. The list is guest memory: it may be anything, circular too.

const (
	robustLimit    = 2048
	robustHeadSize = 24
)

// SetRobustList is set_robust_list(2).
func (t *Task) SetRobustList(head uint64, size uint64) error {
	if size != robustHeadSize {
		return unix.EINVAL
	}
	atomic.StoreUint64(&t.robustList, head)
	return nil
}

// RobustList is get_robust_list(2): the head for the task with id tid, or the caller with 0.
func (t *Task) RobustList(tid int32) (uint64, error) {
	if tid == 0 {
		return atomic.LoadUint64(&t.robustList), nil
	}
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	o := t.PIDNS().findTask(tid)
	if o == nil {
		return 0, unix.ESRCH
	}
	if o == t {
		return atomic.LoadUint64(&t.robustList), nil
	}
	if !t.PtraceMayAccess(o, PtraceRead|PtraceRealCreds) {
		return 0, unix.EPERM
	}
	return atomic.LoadUint64(&o.robustList), nil
}

// futexExit is what a thread's exit or exec does about futexes: it marks the robust ones, hands over
// those that inherit priorities, and clears the word that a join waits for.
func (t *Task) futexExit() {
	if t.mm == nil {
		return
	}
	if t.robustList != 0 {
		t.walkRobustList(usermem.Addr(t.robustList))
		atomic.StoreUint64(&t.robustList, 0)
	}
	t.exitPI()
	if addr := t.clearChildTID; addr != 0 {
		t.clearChildTID = 0
		if t.mm.Users() > 1 {
			zero := int32(0)
			if usermem.CopyObjectOut(t.mm, usermem.Addr(addr), &zero) == nil {
				_, _ = t.FutexWake(usermem.Addr(addr), true, 1, ^uint32(0))
			}
		}
	}
}

func (t *Task) walkRobustList(head usermem.Addr) {
	var h struct {
		Next    uint64
		Offset  int64
		Pending uint64
	}
	if usermem.CopyObjectIn(t.mm, head, &h) != nil {
		return
	}
	tid := t.futexTID()
	entry := h.Next
	for n := 0; entry&^1 != uint64(head) && n < robustLimit; n++ {
		// The next entry is read first: once this one is marked, others may change it.
		next, err := t.mm.LoadUint64(usermem.Addr(entry &^ 1))
		if entry&^1 != h.Pending&^1 {
			if !t.robustDeath(entry, h.Offset, tid, false) {
				return
			}
		}
		if err != nil {
			return
		}
		entry = next
	}
	if h.Pending != 0 {
		t.robustDeath(h.Pending, h.Offset, tid, true)
	}
}

// robustDeath marks one futex of the list. The lowest bit of an entry says that it inherits priorities.
func (t *Task) robustDeath(entry uint64, offset int64, tid uint32, pending bool) bool {
	pi := entry&1 != 0
	addr := usermem.Addr(entry&^1 + uint64(offset))
	if addr%4 != 0 {
		return false
	}
	for {
		v, err := t.mm.LoadUint32(addr)
		if err != nil {
			return false
		}
		owner := v & futexTIDMask
		if pending && !pi && owner == 0 {
			// It died between releasing the lock and waking the next.
			_, _ = t.FutexWake(addr, true, 1, ^uint32(0))
			return true
		}
		if owner != tid {
			return true
		}
		ok, err := t.casFutex(addr, v, v&futexWaiters|futexOwnerDied)
		if err != nil {
			return false
		}
		if !ok {
			continue
		}
		if !pi && v&futexWaiters != 0 {
			_, _ = t.FutexWake(addr, true, 1, ^uint32(0))
		}
		return true
	}
}
