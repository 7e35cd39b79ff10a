package sentry

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// Restartable sequences. A program writes down that it is in a sequence that must not be interleaved with
// other threads on the same processor; if it was, it is sent to an abort handler. The processors here are
// slots of the process, as many as guests see: a registered task owns one while it runs guest code, and
// nobody else of its process does. A task keeps its slot over system calls until another needs it; then it
// finds workResume set, aborts its sequence if it is in one, and gets another slot. When
// all slots are in use by running tasks, one has to leave after a time slice.

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
	// abort: somebody wants the sequence under way to end (membarrier).
	abort atomic.Bool
	// resumes counts how often the task has been on its way to guest code with workResume set.
	resumes atomic.Uint64
}

// rseqSlots are the processors of a process.
type rseqSlots struct {
	mu    sync.Mutex
	owner [maxRseqCPUs]*Task
	turn  int // the slot to be emptied next
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
	if i := t.rseq.slot; i >= 0 && s.owner[i] == t {
		s.owner[i] = nil
	}
	t.rseq.slot = -1
	s.mu.Unlock()
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
	since := nanotime()
	for {
		s.mu.Lock()
		if i := t.rseq.slot; i >= 0 && s.owner[i] == t && t.mayUse(i) {
			s.mu.Unlock()
			return true, fresh
		}
		if i := t.rseq.slot; i >= 0 && s.owner[i] == t {
			s.owner[i] = nil
		}
		t.rseq.slot = -1
		fresh = true
		n := min(t.k.cpus, maxRseqCPUs)
		for i := range n {
			if s.owner[i] == nil && t.mayUse(i) {
				s.owner[i], t.rseq.slot = t, i
				s.mu.Unlock()
				return true, true
			}
		}
		expired := nanotime()-since > int64(rseqSlice)
		for range n {
			s.turn = (s.turn + 1) % n
			i := s.turn
			o := s.owner[i]
			if !t.mayUse(i) {
				continue
			}
			// The order matters: o looks at its work after it has set inGuest.
			o.work.Or(workResume)
			if !o.inGuest.Load() {
				o.rseq.slot = -1
				s.owner[i], t.rseq.slot = t, i
				s.mu.Unlock()
				return true, true
			}
			if expired {
				o.kick()
				since = nanotime()
				break
			}
		}
		s.mu.Unlock()
		if t.Block(nil, rseqSlice/8) != unix.ETIMEDOUT {
			return false, true
		}
	}
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
		if o.inGuest.Load() {
			o.work.Or(workResume)
			o.kick()
		}
	}
	for i, o := range l {
		if o == t {
			continue
		}
		for n := 0; o.inGuest.Load() && o.rseq.resumes.Load() == seen[i]; n++ {
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
