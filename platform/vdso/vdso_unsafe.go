// Package vdso calls the host's vDSO in leaf calls (platform.LeafFunc), where no function of the Go runtime can: on the small stack that they have,
// as what the guest's thread does.
//
// What is called is code of the host's kernel in this process, which reads the processor's counter and pages that the kernel keeps. It may also find that it has to make a system call, for
// a clock that it does not know or with a counter that programs cannot read. A platform stops those where guest code runs, and this is done as if
// by guest code: it undoes the leaf call, and notes in Traps that it is not to be tried again.
package vdso

import (
	"sync/atomic"
	"unsafe"
)

// Traps has a bit for each of the first 32 clocks whose reading has been stopped as a system call. The platform sets it, in a signal handler.
var Traps atomic.Uint32

// Stack is how much of a leaf call's stack Clock may take. Linux's vDSO needs some hundred bytes, unless its compiler probes stacks by a page
// (https://go.dev/issue/20427).
const Stack = 5 << 10

// clock is read in vdso_amd64.s, which has arguments and results as Go has them in registers: what the compiler puts around assembly that
// is called by its name clears a vector register, which is the guest's.
var clock = func() func(id uint32) (sec, nsec int64, ok bool) {
	code := readCode()
	fn := unsafe.Pointer(&code)
	return *(*func(uint32) (int64, int64, bool))(unsafe.Pointer(&fn))
}()

func readCode() uintptr

// Clock reads a clock of the host. It is for leaf calls only. If it returns false the host is to be asked in another way.
//
//go:nosplit
//go:noinline
func Clock(id uint32) (sec, nsec int64, ok bool) {
	if id >= 32 || Traps.Load()>>id&1 != 0 {
		return 0, 0, false
	}
	return clock(id)
}
