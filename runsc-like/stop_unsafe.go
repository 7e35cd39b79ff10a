package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction; all zero it is the default action.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// withDefaultAction calls f while sig does to the process what it does to those that handle it not:
// os/signal.Reset leaves the runtime's handler in place, which then throws the signal away.
func withDefaultAction(sig syscall.Signal, f func()) {
	var dfl, old sigaction
	set := func(act, old *sigaction) bool {
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)),
			uintptr(unsafe.Pointer(old)), unsafe.Sizeof(dfl.mask), 0, 0)
		return e == 0
	}
	if set(&dfl, &old) {
		defer set(&old, nil)
	}
	f()
}

// ignoredSignals is the set of signals that are ignored now: those that the caller left ignored, of the ones
// that the Go runtime does not take for itself at its start (it keeps SIGHUP and SIGINT ignored, and leaves
// 32 and 33 alone).
func ignoredSignals() uint64 {
	const sigIgn = 1
	var set uint64
	for sig := uintptr(1); sig <= 64; sig++ {
		var act sigaction
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&act)), unsafe.Sizeof(act.mask), 0, 0); e == 0 && act.handler == sigIgn {
			set |= 1 << (sig - 1)
		}
	}
	return set
}
