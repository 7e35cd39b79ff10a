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

// parker is what one goroutine sleeps on. The zero parker is ready.
type parker struct {
	state atomic.Uint32 // parkIdle, parkToken or parkAsleep
	cpu   atomic.Uint32 // where the last waker ran
}

// A few sleepers keep their P, which is much cheaper for a short sleep; from a long one the scheduler's monitor
// takes it. If more did so, all Ps could be with sleepers while others wait for the monitor.
var (
	keepers    atomic.Int32
	maxKeepers = int32(runtime.GOMAXPROCS(0) / 2)
)

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
	var ts unix.Timespec
	var tsp *unix.Timespec
	if timeout >= 0 {
		ts = unix.NsecToTimespec(int64(timeout))
		tsp = &ts
	}
	if keepers.Add(1) <= maxKeepers {
		syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.state)), futexWaitPrivate, parkAsleep, uintptr(unsafe.Pointer(tsp)), 0, 0)
	} else {
		futexSleep(&p.state, parkAsleep, tsp)
	}
	keepers.Add(-1)
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
