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
