// Package prefault has the host make pages of the heap ready that are about to be used, in one call instead of a fault for each page. On a virtual
// machine a fault can cost several times what the page does, and a process that starts has hundreds.
//
// It does so first when it is initialised, which is early: it imports little, and packages that are ready are initialised in the order of their import
// paths.
//
// Its functions are called by one goroutine at a time.
package prefault

import (
	"syscall"
	"unsafe"
)

var _ = atInit()

func atInit() (none struct{}) {
	Heap(512 << 10)
	return none
}

// sink keeps what Heap allocates in the heap.
var sink *[8192]byte

// Heap makes ready what the heap has of the n bytes that will be allocated next; it does not grow for that. They should be used soon: until then
// they are memory wasted. Safe: what is in memory stays as it is, and the host refuses what is not mapped.
func Heap(n uintptr) {
	// Objects of this size have spans of their own, and spans are taken from the lowest address up.
	sink = new([8192]byte)
	at := uintptr(unsafe.Pointer(sink))
	sink = nil
	const populateWrite = 23 // MADV_POPULATE_WRITE, since Linux 5.14
	_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, at, n, populateWrite)
}
