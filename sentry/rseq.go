package sentry

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/waitq"
)

// Restartable sequences. A program writes down that it is in a sequence that must not be interleaved with
// other threads on the same processor; if it was, it is sent to an abort handler. The processors here are
// slots of the process, as many as guests see: a registered task owns one while it runs guest code, and
// nobody else of its process does. The C library registers every thread, so that for most programs the slots are
// what the scheduler of a kernel is: who gets one when there are more threads that want to run.
//
// A task keeps its slot over system calls, and over sleeps while nobody waits for one. Those who find none queue,
// and are given slots in order: from tasks that sleep, at once; from tasks that have had theirs for a time slice,
// whom the first of the queue makes leave guest code if need be. Who has lost its slot finds workResume
// set, aborts its sequence if it is in one, and gets another slot.

const (
	rseqSize       = 32 // of the original struct rseq; longer ones are taken
	rseqMinSize    = 28
	rseqUnregister = 1
	rseqUninit     = ^uint32(0)

	rseqSlice   = 3 * time.Millisecond
	maxRseqCPUs = 256
)

// rseqState is a task's registration. The goroutine's, but for slot and abort.
type rseqState struct {
	addr      uint64
	size      uint32
	signature uint32
	// slot is the processor that the task owns, -1 for none; protected by rseqSlots.mu. It means
	// nothing while addr is 0.
	slot int
	// since is when the task's time slice began (Kernel.mono): when it got its slot or woke up.
	since atomic.Int64
	// bell is rung when the task, which queues, has been given a slot or has become the first. Nil
	// until it queues for the first time.
	bell *waitq.Bell
	// abort: somebody wants the sequence under way to end (membarrier).
	abort atomic.Bool
	// resumes counts how often the task has been on its way to guest code with workResume set.
	resumes atomic.Uint64
}

// rseqSlots are the processors of a process.
type rseqSlots struct {
	waiting atomic.Int32 // len(queue)

	mu    sync.Mutex
	slots []rseqSlot
	queue []*Task // those that wait for a slot
}

type rseqSlot struct {
	owner *Task
	asked bool // owner has been made to leave guest code, to give the slot up
	given bool // owner, which waited for it, has not woken up yet
}

// Rseq is rseq(2).
func (t *Task) Rseq(addr uint64, size, flags, sig uint32) error {
	r := &t.rseq
	if flags&rseqUnregister != 0 {
		switch {
		case flags != rseqUnregister || r.addr == 0 || r.addr != addr || r.size != size:
			return unix.EINVAL
		case r.signature != sig:
			return unix.EPERM
		}
		var b [28]byte
		binary.LittleEndian.PutUint32(b[4:], rseqUninit)
		if _, err := t.mm.CopyOut(usermem.Addr(addr), b[:8]); err != nil {
			return err
		}
		if _, err := t.mm.CopyOut(usermem.Addr(addr+20), b[20:]); err != nil {
			return err
		}
		t.rseqReset()
		return nil
	}
	if flags != 0 {
		return unix.EINVAL
	}
	if r.addr != 0 {
		switch {
		case r.addr != addr || r.size != size:
			return unix.EINVAL
		case r.signature != sig:
			return unix.EPERM
		}
		return unix.EBUSY
	}
	if addr%rseqSize != 0 || size != rseqSize && size < rseqMinSize {
		return unix.EINVAL
	}
	var cs uint64
	if err := usermem.CopyObjectIn(t.mm, usermem.Addr(addr+8), &cs); err != nil {
		return unix.EFAULT
	}
	r.addr, r.size, r.signature, r.slot = addr, size, sig, -1
	t.work.Or(workResume)
	return nil
}

// rseqReset forgets the registration: unregister, exec, exit.
func (t *Task) rseqReset() {
	if t.rseq.addr == 0 {
		return
	}
	t.rseqGiveUp()
	t.rseq.addr = 0
}

// cloneRseq gives the new task c what it has of its parent's registration: all with memory of its own,
// nothing in the same memory.
func (t *Task) cloneRseq(c *Task, flags uint64) {
	if flags&unix.CLONE_VM == 0 && t.rseq.addr != 0 {
		c.rseq.addr, c.rseq.size, c.rseq.signature = t.rseq.addr, t.rseq.size, t.rseq.signature
		c.rseq.slot = -1
		c.work.Or(workResume)
	}
}

// execRseq forgets the registration.
func (t *Task) execRseq() { t.rseqReset() }

func (t *Task) rseqGiveUp() {
	s := &t.proc.rseqSlots
	s.mu.Lock()
	if i := t.rseq.slot; i >= 0 {
		s.leave(i)
	}
	s.mu.Unlock()
}

// rseqSleep gives the slot to somebody who waits for one. It is called when the task goes to sleep, after it has set its
// state.
func (t *Task) rseqSleep() {
	s := &t.proc.rseqSlots
	if t.rseq.addr == 0 || s.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	// Not one that it is given while it begins to wait for it.
	if i := t.rseq.slot; i >= 0 && !s.slots[i].given {
		t.work.Or(workResume)
		s.leave(i)
	}
	s.mu.Unlock()
}

// Yield lets other threads of the process go first, if some wait to run (sched_yield).
func (t *Task) Yield() {
	if t.rseq.addr != 0 && t.proc.rseqSlots.waiting.Load() != 0 {
		t.rseqSleep()
		return
	}
	if t.parks() {
		// Its goroutine has a host thread of its own: for the Go scheduler to run another it would have to change threads twice.
		unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		return
	}
	runtime.Gosched()
}

// leave takes slot i from its owner, for the queue. mu is held.
func (s *rseqSlots) leave(i int) {
	s.slots[i].owner.rseq.slot = -1
	s.slots[i] = rseqSlot{}
	s.pass(i)
}

// handleResume does what a task has to before it goes on with guest code (workResume).
func (t *Task) handleResume() {
	t.work.And(^workResume)
	t.rseq.resumes.Add(1)
	t.proc.timers.unpark()
	if t.rseq.addr == 0 {
		return
	}
	abort := t.rseq.abort.Swap(false)
	got, fresh := t.rseqAcquire()
	if !got {
		t.work.Or(workResume) // a signal comes first
		if abort {
			t.rseq.abort.Store(true)
		}
		return
	}
	if fresh || abort {
		if !t.rseqFixup() || fresh && !t.rseqUpdate() {
			t.forceSegv(int32(unix.SIGSEGV))
		}
	}
}

// rseqAcquire gets the task a slot; fresh if it had none. False if a signal came first.
func (t *Task) rseqAcquire() (got, fresh bool) {
	s := &t.proc.rseqSlots
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]rseqSlot, max(1, min(t.k.cpus, maxRseqCPUs)))
	}
	if i := t.rseq.slot; i >= 0 {
		now := t.k.mono()
		mayKeep := t.mayUse(i)
		if mayKeep && now < t.rseq.since.Load()+int64(rseqSlice) {
			s.slots[i].asked = false
			return true, false
		}
		s.slots[i] = rseqSlot{}
		if !s.pass(i) && mayKeep {
			s.slots[i].owner = t
			t.rseq.since.Store(now)
			return true, false
		}
		t.rseq.slot = -1
	}
	for i := range s.slots {
		if s.slots[i].owner == nil && t.mayUse(i) {
			s.give(i, t)
			return true, true
		}
	}
	if t.rseq.bell == nil {
		t.rseq.bell = waitq.NewBell()
	}
	t.rseq.bell.Ready() // of last time
	s.queue = append(s.queue, t)
	s.waiting.Store(int32(len(s.queue)))
	for {
		timeout := time.Duration(-1)
		if t.rseq.slot < 0 && s.queue[0] == t {
			timeout = s.collect(t.k.mono())
		}
		if i := t.rseq.slot; i >= 0 {
			s.slots[i].given = false
			return true, true
		}
		s.mu.Unlock()
		err := t.BlockBell(t.rseq.bell, timeout)
		s.mu.Lock()
		if t.rseq.slot < 0 && err != nil && err != unix.ETIMEDOUT {
			s.unqueue(slices.Index(s.queue, t))
			return false, true
		}
	}
}

// give makes t the owner of a slot that is free. mu is held.
func (s *rseqSlots) give(i int, t *Task) {
	s.slots[i] = rseqSlot{owner: t}
	t.rseq.slot = i
	t.rseq.since.Store(t.k.mono())
}

// pass gives a slot that is free to the first in the queue who may use it, and tells whether there was one. mu is held.
func (s *rseqSlots) pass(i int) bool {
	q := s.next(i)
	if q < 0 {
		return false
	}
	t := s.queue[q]
	s.give(i, t)
	s.slots[i].given = true
	s.unqueue(q)
	t.rseq.bell.Ring()
	return true
}

// next is the place in the queue of the first who may use slot i, or -1. mu is held.
func (s *rseqSlots) next(i int) int {
	return slices.IndexFunc(s.queue, func(t *Task) bool { return t.mayUse(i) })
}

// unqueue takes a task out of the queue; a new first one has to look after the slots. mu is held.
func (s *rseqSlots) unqueue(q int) {
	s.queue = slices.Delete(s.queue, q, q+1)
	s.waiting.Store(int32(len(s.queue)))
	if q == 0 && len(s.queue) > 0 {
		s.queue[0].rseq.bell.Ring()
	}
}

// collect is what the first of the queue does: it takes slots from those who sleep or are in the sentry with their
// time slice over, makes as many leave guest code as are waiting, the longest there first, and returns when
// to look again. mu is held.
func (s *rseqSlots) collect(now int64) time.Duration {
	next := now + int64(rseqSlice)
	asked := 0
	for i := range s.slots {
		o := s.slots[i].owner
		if s.slots[i].given {
			continue // its slice begins when it wakes up
		}
		if o != nil {
			end := o.rseq.since.Load() + int64(rseqSlice)
			if s.slots[i].asked {
				asked++
			}
			if end > now {
				next = min(next, end)
			}
			if end > now && o.state.Load() == taskRunning || s.next(i) < 0 {
				continue
			}
			// The order matters: o looks at its work after it has set inGuest.
			o.work.Or(workResume)
			if o.inGuest.Load() != 0 {
				continue
			}
			if s.slots[i].asked {
				asked--
			}
			o.rseq.slot = -1
			s.slots[i] = rseqSlot{}
		}
		s.pass(i)
	}
	for ; asked < len(s.queue); asked++ {
		longest := -1
		for i := range s.slots {
			o := s.slots[i].owner
			if o == nil || s.slots[i].asked || s.slots[i].given || o.rseq.since.Load()+int64(rseqSlice) > now || s.next(i) < 0 {
				continue
			}
			if longest < 0 || o.rseq.since.Load() < s.slots[longest].owner.rseq.since.Load() {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		s.slots[longest].asked = true
		s.slots[longest].owner.kick()
	}
	return time.Duration(next - now)
}

// mayUse tells whether affinity lets the task use processor i.
func (t *Task) mayUse(i int) bool {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	return t.affinity.Has(i)
}

// rseqUpdate writes the processor into the task's struct rseq.
func (t *Task) rseqUpdate() bool {
	s := &t.proc.rseqSlots
	s.mu.Lock()
	cpu := uint32(max(t.rseq.slot, 0))
	s.mu.Unlock()
	le := binary.LittleEndian
	var head [8]byte
	le.PutUint32(head[0:], cpu)
	le.PutUint32(head[4:], cpu)
	var tail [8]byte // node_id is 0
	le.PutUint32(tail[4:], cpu)
	if _, err := t.mm.CopyOut(usermem.Addr(t.rseq.addr), head[:]); err != nil {
		return false
	}
	_, err := t.mm.CopyOut(usermem.Addr(t.rseq.addr+20), tail[:])
	return err == nil
}

// rseqFixup sends the task to its abort handler if it is in a sequence. False if what the program says
// about it is wrong.
func (t *Task) rseqFixup() bool {
	csAddr := usermem.Addr(t.rseq.addr + 8)
	ptr, err := t.mm.LoadUint64(csAddr)
	if err != nil {
		return false
	}
	if ptr == 0 {
		return true
	}
	var cs struct {
		Version, Flags           uint32
		Start, PostCommit, Abort uint64
	}
	if usermem.CopyObjectIn(t.mm, usermem.Addr(ptr), &cs) != nil {
		return false
	}
	zero := uint64(0)
	if t.Regs.Rip-cs.Start >= cs.PostCommit {
		// Not in it any more.
		return usermem.CopyObjectOut(t.mm, csAddr, &zero) == nil
	}
	var sig uint32
	if cs.Version > 0 || cs.Flags != 0 || cs.Abort-cs.Start < cs.PostCommit ||
		usermem.CopyObjectIn(t.mm, usermem.Addr(cs.Abort-4), &sig) != nil || sig != t.rseq.signature {
		return false
	}
	if usermem.CopyObjectOut(t.mm, csAddr, &zero) != nil {
		return false
	}
	t.Regs.Rip = cs.Abort
	return true
}

// rseqSignal aborts the sequence under way before a handler runs.
func (t *Task) rseqSignal() {
	if t.rseq.addr != 0 && !t.rseqFixup() {
		t.forceSegv(int32(unix.SIGSEGV))
	}
}

// RseqCPU is the processor that the task's struct rseq names; false if it has none.
func (t *Task) RseqCPU() (int, bool) {
	if t.rseq.addr == 0 {
		return 0, false
	}
	s := &t.proc.rseqSlots
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.rseq.slot, t.rseq.slot >= 0
}

// Commands of membarrier(2).
const (
	membarrierGlobal            = 1 << 0
	membarrierGlobalExpedited   = 1 << 1
	membarrierRegGlobal         = 1 << 2
	membarrierPrivate           = 1 << 3
	membarrierRegPrivate        = 1 << 4
	membarrierPrivateSyncCore   = 1 << 5
	membarrierRegSyncCore       = 1 << 6
	membarrierPrivateRseq       = 1 << 7
	membarrierRegRseq           = 1 << 8
	membarrierGetRegistrations  = 1 << 9
	membarrierFlagCPU           = 1
	membarrierAll               = 1<<10 - 1
	membarrierRegistrationsMask = membarrierRegGlobal | membarrierRegPrivate | membarrierRegSyncCore | membarrierRegRseq
)

// membarrierState is what a process has registered for.
type membarrierState struct{ registered atomic.Uint32 }

// Membarrier is membarrier(2).
func (t *Task) Membarrier(cmd int32, flags uint32, cpu int32) (uintptr, error) {
	if flags != 0 && (cmd != membarrierPrivateRseq || flags != membarrierFlagCPU) {
		return 0, unix.EINVAL
	}
	reg := &t.proc.barrier.registered
	switch cmd {
	case 0:
		return membarrierAll, nil
	case membarrierGlobal, membarrierGlobalExpedited:
		t.k.tasks.RLock()
		var all []*Task
		for _, pid := range t.k.rootPIDNS.pids {
			if pid.task != nil {
				all = append(all, pid.task)
			}
		}
		t.k.tasks.RUnlock()
		t.barrier(all, false)
		return 0, nil
	case membarrierRegGlobal, membarrierRegPrivate, membarrierRegSyncCore, membarrierRegRseq:
		reg.Or(uint32(cmd))
		return 0, nil
	case membarrierPrivate, membarrierPrivateSyncCore, membarrierPrivateRseq:
		if reg.Load()&uint32(cmd<<1) == 0 {
			return 0, unix.EPERM
		}
		if flags == membarrierFlagCPU && (cpu < 0 || int(cpu) >= t.k.cpus) {
			return 0, nil
		}
		t.barrier(t.proc.Threads(), cmd == membarrierPrivateRseq)
		return 0, nil
	case membarrierGetRegistrations:
		return uintptr(reg.Load()), nil
	}
	return 0, unix.EINVAL
}

// barrier makes every task of l that runs guest code leave it once: that orders its accesses before and
// after. Whoever is in the sentry is ordered by going back to the guest.
func (t *Task) barrier(l []*Task, abort bool) {
	seen := make([]uint64, len(l))
	for i, o := range l {
		seen[i] = o.rseq.resumes.Load()
		if o == t {
			continue
		}
		if abort {
			o.rseq.abort.Store(true)
			o.work.Or(workResume)
		}
		if o.inGuest.Load() != 0 {
			o.work.Or(workResume)
			o.kick()
		}
	}
	for i, o := range l {
		if o == t {
			continue
		}
		for n := 0; o.inGuest.Load() != 0 && o.rseq.resumes.Load() == seen[i]; n++ {
			if n < 100 {
				runtime.Gosched()
			} else {
				time.Sleep(20 * time.Microsecond)
			}
			if t.Fatal() {
				return
			}
		}
	}
}
