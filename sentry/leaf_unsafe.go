package sentry

import (
	"unsafe"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// Leaf calls: what a task's thread does without the sentry's loop, by functions as platform.LeafFunc must be; a test of package syscalls
// looks at their instructions. They are for what needs no more than the task's own state or an atomic operation, and leave all else to the whole call,
// which has them used from then on (Task.AnswerBy). The argument is the task, which is there as long as its context.

// AnswerBy is Answer with a function.
func (t *Task) AnswerBy(nr uint64, f platform.LeafFunc, gen uint64) {
	if t.mayAnswer() {
		t.answers.by.AnswerBy(nr, f, unsafe.Pointer(t))
		t.answered(gen)
	}
}

// LeafYield is sched_yield(2) where every task that runs can have a processor.
//
//go:nosplit
//go:norace
func LeafYield(task unsafe.Pointer, _, _, _ uint64) (uint64, bool) {
	t := (*Task)(task)
	return 0, t.k.running.Load() <= t.k.hostCPUs && t.proc.rseqSlots.waiting.Load() == 0
}

// LeafFutex is futex(2) with FUTEX_WAKE, of the process alone, where nobody waits.
//
//go:nosplit
//go:norace
func LeafFutex(task unsafe.Pointer, addr, op, _ uint64) (uint64, bool) {
	const wakePrivate = 1 | 128 // FUTEX_WAKE_PRIVATE
	t := (*Task)(task)
	if uint32(op) != wakePrivate {
		return 0, false
	}
	ft := &t.k.futexes
	h, ok := t.mm.PrivateFutexHash(usermem.Addr(addr), ft.m1, ft.m2)
	if !ok {
		return 0, false
	}
	// The barrier is between the guest's change of the word and the look at who waits.
	return 0, ft.buckets[h%futexBuckets].waiters.Add(0) == 0
}

// LeafLseek is lseek(2) in a file that only the task has.
//
//go:nosplit
//go:norace
func LeafLseek(task unsafe.Pointer, fd, off, whence uint64) (uint64, bool) {
	n, ok := (*Task)(task).files.LeafSeek(int32(fd), int64(off), uint32(whence))
	return uint64(n), ok
}

// LeafUmask is umask(2).
//
//go:nosplit
//go:norace
func LeafUmask(task unsafe.Pointer, mask, _, _ uint64) (uint64, bool) {
	return uint64((*Task)(task).fs.SetUmask(uint32(mask))), true
}
