package ptrace

// Sleeping without the Go scheduler. A goroutine that is locked to a host thread costs two wake-ups of
// host threads when Go wakes it: some thread has to find it, and to hand its P to the one that it is locked to. Here
// the thread sleeps in futex(2) itself, and the waker wakes exactly it.
//
// What makes it safe: the word is in a heap object that both sides keep alive, and between
// entersyscallblock and exitsyscall nothing runs but the host call.

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entersyscallblock gives the P away at once; exitsyscall gets one again.
//
//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// getcpu is the host processor that the caller runs on.
func getcpu() uint32

// parker is what one goroutine sleeps on.
type parker struct {
	all   *sleepers
	state atomic.Uint32 // parkIdle, parkToken or parkAsleep
	cpu   atomic.Uint32 // where the last waker ran
}

// sleepers is what the parkers of a platform share. A few sleepers keep their P, which is much cheaper for
// a short sleep, for keepFor at most. If more did so, all Ps could be with sleepers while others that
// have something to do wait for the scheduler's monitor.
type sleepers struct {
	keepers    atomic.Int32
	maxKeepers int32
}

func newSleepers() *sleepers { return &sleepers{maxKeepers: int32(runtime.GOMAXPROCS(0) / 2)} }

// keepFor is less than the monitor allows.
const keepFor = 2 * time.Millisecond

const (
	parkIdle = iota
	parkToken
	parkAsleep
)

// park sleeps until unpark, or for a time if it is not negative. It returns whether unpark was called.
func (p *parker) park(timeout time.Duration) bool {
	if p.state.CompareAndSwap(parkToken, parkIdle) {
		return true
	}
	if !p.state.CompareAndSwap(parkIdle, parkAsleep) {
		p.state.Store(parkIdle)
		return true
	}
	if p.all.keepers.Add(1) <= p.all.maxKeepers {
		brief := timeout
		if brief < 0 || brief > keepFor {
			brief = keepFor
		}
		ts := unix.NsecToTimespec(int64(brief))
		syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.state)), futexWaitPrivate, parkAsleep, uintptr(unsafe.Pointer(&ts)), 0, 0)
		if timeout >= 0 {
			timeout -= brief
		}
	}
	p.all.keepers.Add(-1)
	if p.state.Load() == parkAsleep && timeout != 0 {
		if timeout < 0 {
			futexSleep(&p.state, parkAsleep, nil)
		} else {
			ts := unix.NsecToTimespec(int64(timeout))
			futexSleep(&p.state, parkAsleep, &ts)
		}
	}
	return p.state.Swap(parkIdle) == parkToken
}

// unpark ends the current or the next park.
func (p *parker) unpark() {
	if p.state.Load() == parkToken {
		return
	}
	p.cpu.Store(getcpu())
	if p.state.Swap(parkToken) == parkAsleep {
		syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.state)), futexWakePrivate, 1, 0, 0, 0)
	}
}

const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

// futexSleep sleeps while *word is val. It has no stack to grow into: everything is on the frame of the caller.
//
//go:norace
//go:nosplit
func futexSleep(word *atomic.Uint32, val uint32, ts *unix.Timespec) {
	entersyscallblock()
	syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitPrivate, uintptr(val), uintptr(unsafe.Pointer(ts)), 0, 0)
	exitsyscall()
}
