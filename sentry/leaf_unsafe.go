package sentry

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/vdso"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Leaf calls: what a task's thread does without the sentry's loop, by functions as platform.LeafFunc must be; a test of package syscalls
// looks at their instructions. They are for what needs no more than the task's own state or an atomic operation, and leave all else to the whole call,
// which has them used from then on (Task.AnswerBy). The argument is the task, which is there as long as its context.
//
// Guest memory they use at its own addresses, if they are in the address space's place: a fault there, and all that the whole call would do
// about it, undoes the call. So what else they change, they change after it.

// AnswerBy is Answer with a function.
func (t *Task) AnswerBy(nr uint64, f platform.LeafFunc, gen uint64) {
	if t.mayAnswer() {
		t.answers.by.AnswerBy(nr, f, unsafe.Pointer(t))
		t.answered(gen)
	}
}

// NoAnswer takes back that the platform answers a call.
func (t *Task) NoAnswer(nr uint64) {
	if t.answers.by != nil {
		t.answers.by.NoAnswer(nr)
	}
}

//go:nosplit
func doneIf(done bool) platform.LeafResult {
	if done {
		return platform.LeafDone
	}
	return platform.LeafNot
}

// LeafYield is sched_yield(2) where every task that runs can have a processor.
//
//go:nosplit
//go:norace
func LeafYield(task unsafe.Pointer, _, _, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	return 0, doneIf(t.k.running.Load() <= t.k.hostCPUs && t.proc.rseqSlots.waiting.Load() == 0)
}

// LeafFutex is futex(2) with FUTEX_WAKE, of the process alone, where nobody waits.
//
//go:nosplit
//go:norace
func LeafFutex(task unsafe.Pointer, addr, op, _, _ uint64) (uint64, platform.LeafResult) {
	const wakePrivate = 1 | 128 // FUTEX_WAKE_PRIVATE
	t := (*Task)(task)
	if uint32(op) != wakePrivate {
		return 0, platform.LeafNot
	}
	ft := &t.k.futexes
	h, ok := t.mm.PrivateFutexHash(usermem.Addr(addr), ft.m1, ft.m2)
	if !ok {
		return 0, platform.LeafNot
	}
	// The barrier is between the guest's change of the word and the look at who waits.
	return 0, doneIf(ft.buckets[h%futexBuckets].waiters.Add(0) == 0)
}

// LeafLseek is lseek(2) in a file that only the task has.
//
//go:nosplit
//go:norace
func LeafLseek(task unsafe.Pointer, fd, off, whence, _ uint64) (uint64, platform.LeafResult) {
	n, ok := (*Task)(task).files.LeafSeek(int32(fd), int64(off), uint32(whence))
	return uint64(n), doneIf(ok)
}

// LeafUmask is umask(2).
//
//go:nosplit
//go:norace
func LeafUmask(task unsafe.Pointer, mask, _, _, _ uint64) (uint64, platform.LeafResult) {
	return uint64((*Task)(task).fs.SetUmask(uint32(mask))), platform.LeafDone
}

// leafMost is how many bytes a leaf call transfers at most: signals have to wait until it has returned.
const leafMost = 256

// LeafRead is read(2) of devices of which there is no end, and of an eventfd that has something.
//
//go:nosplit
//go:norace
func LeafRead(task unsafe.Pointer, fd, buf, n, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	kind, counter := t.files.LeafRead(int32(fd))
	if kind == vfs.LeafNone || !t.mm.Placed(buf, n) {
		return 0, platform.LeafNot
	}
	done := uint64(0)
	switch kind {
	case vfs.LeafZero:
		if n > leafMost {
			return 0, platform.LeafNot
		}
		done = n
		for ; n%8 != 0; n-- {
			storeGuest(buf+n-1, uint8(0))
		}
		for ; n > 0; n -= 8 {
			storeGuest(buf+n-8, uint64(0))
		}
	case vfs.LeafCounter:
		was, taken := counter.LeafTake()
		if n < 8 || taken == 0 {
			return 0, platform.LeafNot
		}
		storeGuest(buf, taken)
		if !counter.N.CompareAndSwap(was, was-taken) {
			return 0, platform.LeafNot
		}
		if t.countRead(8); !counter.Queue.Empty() {
			t.leafFD = int32(fd)
			t.work.Or(workLeaf)
			return 8, platform.LeafPending
		}
		return 8, platform.LeafDone
	}
	t.countRead(done)
	return done, platform.LeafDone
}

// LeafWrite is write(2) to devices that take everything.
//
//go:nosplit
//go:norace
func LeafWrite(task unsafe.Pointer, fd, buf, n, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if !t.files.LeafWrite(int32(fd)) || n > leafWriteMost || !t.mm.Placed(buf, n) {
		return 0, platform.LeafNot
	}
	t.countWrite(n)
	return n, platform.LeafDone
}

// leafWriteMost is below the most that one write takes (MAX_RW_COUNT).
const leafWriteMost = 1 << 30

// LeafSigprocmask is rt_sigprocmask(2) while no signal is pending.
//
// Who sends a signal makes it pending, behind a barrier, before it looks at masks: either it sees the new mask, or it is seen here.
//
//go:nosplit
//go:norace
func LeafSigprocmask(task unsafe.Pointer, how, set, old, size uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if size != uint64(unsafe.Sizeof(SigSet(0))) || old != 0 && !t.mm.Placed(old, 8) || set != 0 && !t.mm.Placed(set, 8) {
		return 0, platform.LeafNot
	}
	was := t.sig.blocked
	mask := was
	if set != 0 {
		s := SigSet(loadGuest(set))
		switch uint32(how) {
		case unix.SIG_BLOCK:
			mask |= s
		case unix.SIG_UNBLOCK:
			mask &^= s
		case unix.SIG_SETMASK:
			mask = s
		default:
			return 0, platform.LeafNot
		}
		mask &^= sigsOnlyKernel
	}
	if old != 0 {
		storeGuest(old, uint64(was))
	}
	if mask == was {
		return 0, platform.LeafDone
	}
	blocked := (*uint64)(&t.sig.blocked)
	atomic.SwapUint64(blocked, uint64(mask))
	if t.sig.pending.set|t.proc.shared.set != 0 {
		atomic.StoreUint64(blocked, uint64(was))
		return 0, platform.LeafNot
	}
	return 0, platform.LeafDone
}

// LeafBrk is brk(2) that changes no page.
//
//go:nosplit
//go:norace
func LeafBrk(task unsafe.Pointer, addr, _, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if t.k.limited.Load() {
		return 0, platform.LeafNot
	}
	end, ok := t.mm.LeafBrk(addr)
	return end, doneIf(ok)
}

// LeafGetCPU is getcpu(2).
//
//go:nosplit
//go:norace
func LeafGetCPU(task unsafe.Pointer, cpu, node, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if cpu != 0 && !t.mm.Placed(cpu, 4) || node != 0 && !t.mm.Placed(node, 4) {
		return 0, platform.LeafNot
	}
	if cpu != 0 {
		storeGuest(cpu, uint32(t.cpu.Load()))
	}
	if node != 0 {
		storeGuest(node, uint32(0))
	}
	return 0, platform.LeafDone
}

// Sets of clocks, a bit each, of those that are the same for all, but for what a time namespace adds to the offset ones (see Task.wallClock).
const (
	offsetClocks = 1<<unix.CLOCK_MONOTONIC | 1<<unix.CLOCK_MONOTONIC_RAW | 1<<unix.CLOCK_MONOTONIC_COARSE | 1<<unix.CLOCK_BOOTTIME | 1<<unix.CLOCK_BOOTTIME_ALARM
	coarseClocks = 1<<unix.CLOCK_REALTIME_COARSE | 1<<unix.CLOCK_MONOTONIC_COARSE
	wallClocks   = offsetClocks | coarseClocks | 1<<unix.CLOCK_REALTIME | 1<<unix.CLOCK_REALTIME_ALARM | 1<<clockTAI
)

// clockIn tells whether a clock is in a set.
//
//go:nosplit
func clockIn(id uint64, set uint32) bool { return uint32(id) < 32 && set>>uint32(id)&1 != 0 }

// LeafClockGetTime is clock_gettime(2) of wall clocks of the host's own time namespace.
//
//go:nosplit
//go:norace
func LeafClockGetTime(task unsafe.Pointer, id, addr, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if !clockIn(id, wallClocks) || clockIn(id, offsetClocks) && t.ns.Time != t.k.rootNS.Time || !t.mm.Placed(addr, 16) {
		return 0, platform.LeafNot
	}
	host := uint32(id)
	switch host {
	case unix.CLOCK_REALTIME_ALARM:
		host = unix.CLOCK_REALTIME
	case unix.CLOCK_BOOTTIME_ALARM:
		host = unix.CLOCK_BOOTTIME
	}
	sec, nsec, ok := vdso.Clock(host)
	if !ok {
		return 0, platform.LeafNot
	}
	storeGuest(addr, uint64(sec))
	storeGuest(addr+8, uint64(nsec))
	return 0, platform.LeafDone
}

// LeafClockGetRes is clock_getres(2) of wall clocks.
//
//go:nosplit
//go:norace
func LeafClockGetRes(task unsafe.Pointer, id, addr, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if !clockIn(id, wallClocks) || addr != 0 && !t.mm.Placed(addr, 16) {
		return 0, platform.LeafNot
	}
	if addr == 0 {
		return 0, platform.LeafDone
	}
	res := int64(1)
	if clockIn(id, coarseClocks) {
		res = coarseRes
	}
	storeGuest(addr, uint64(0))
	storeGuest(addr+8, uint64(res))
	return 0, platform.LeafDone
}

// LeafGetTimeOfDay is gettimeofday(2).
//
//go:nosplit
//go:norace
func LeafGetTimeOfDay(task unsafe.Pointer, tv, tz, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if tv != 0 && !t.mm.Placed(tv, 16) || tz != 0 && !t.mm.Placed(tz, 8) {
		return 0, platform.LeafNot
	}
	if tv != 0 {
		sec, nsec, ok := vdso.Clock(unix.CLOCK_REALTIME)
		if !ok {
			return 0, platform.LeafNot
		}
		storeGuest(tv, uint64(sec))
		storeGuest(tv+8, uint64(nsec/1000))
	}
	if tz != 0 {
		storeGuest(tz, uint64(0))
	}
	return 0, platform.LeafDone
}

// LeafTime is time(2).
//
//go:nosplit
//go:norace
func LeafTime(task unsafe.Pointer, addr, _, _, _ uint64) (uint64, platform.LeafResult) {
	t := (*Task)(task)
	if addr != 0 && !t.mm.Placed(addr, 8) {
		return 0, platform.LeafNot
	}
	sec, _, ok := vdso.Clock(unix.CLOCK_REALTIME)
	if !ok {
		return 0, platform.LeafNot
	}
	if addr != 0 {
		storeGuest(addr, uint64(sec))
	}
	return uint64(sec), platform.LeafDone
}

// afterLeaf does what a leaf call has left to do: who waits for room in a counter is told.
func (t *Task) afterLeaf() {
	t.work.And(^workLeaf)
	if _, c := t.files.LeafRead(t.leafFD); c != nil {
		c.Queue.Notify(waitq.Writable)
	}
}

// LeafReads and LeafWrites tell whether LeafRead and LeafWrite are for a descriptor.
func (t *Task) LeafReads(fd int32) bool {
	kind, _ := t.files.LeafRead(fd)
	return kind != vfs.LeafNone
}

func (t *Task) LeafWrites(fd int32) bool { return t.files.LeafWrite(fd) }

// storeGuest and loadGuest access guest memory in a leaf call.
//
//go:nosplit
//go:nocheckptr
func storeGuest[T uint8 | uint32 | uint64](addr uint64, v T) {
	*(*T)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) = v
}

//go:nosplit
//go:nocheckptr
func loadGuest(addr uint64) uint64 {
	return *(*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&addr)))
}
