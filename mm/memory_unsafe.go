package mm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapArray is a zeroed array of n elements outside the Go heap, of which only
// the touched pages cost memory. T must have no pointers. It is freed by
// unmapArray only.
func mapArray[T any](n int) ([]T, error) {
	var t T
	size := (n*int(unsafe.Sizeof(t)) + PageSize - 1) &^ (PageSize - 1)
	if size == 0 {
		size = PageSize
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	// The mapping is page aligned, which is enough for any T.
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

// unmapArray gives an array of mapArray back.
func unmapArray[T any](a []T) {
	if len(a) == 0 {
		return
	}
	var t T
	size := (len(a)*int(unsafe.Sizeof(t)) + PageSize - 1) &^ (PageSize - 1)
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&a[0])), size))
}

// mapLinear maps a file so that its blocks can be large pages of the host: at an address as aligned as they are.
func mapLinear(fd int, size uintptr) ([]byte, error) {
	const align = blockSize
	room, err := unix.MmapPtr(-1, 0, nil, size+align, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	before := -uintptr(room) % align
	p, err := unix.MmapPtr(fd, 0, unsafe.Add(room, before), size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE|unix.MAP_FIXED)
	if err != nil {
		_ = unix.MunmapPtr(room, size+align)
		return nil, err
	}
	if before > 0 {
		_ = unix.MunmapPtr(room, before)
	}
	_ = unix.MunmapPtr(unsafe.Add(p, size), align-before)
	return unsafe.Slice((*byte)(p), size), nil
}

// unmapLinear undoes mapLinear.
func unmapLinear(lin []byte) error { return unix.MunmapPtr(unsafe.Pointer(&lin[0]), uintptr(len(lin))) }

// table is a page table of any level.
type table [512]uint64

// table shows frame f as a page table. Safe: a frame is a whole, aligned page of
// the linear mapping, which stays for the life of m.
func (m *Memory) table(f Frame) *table {
	return (*table)(unsafe.Pointer(&m.lin[uint64(f)<<PageShift]))
}

// word32 is the aligned word at byte off of frame f, for atomic access.
func (m *Memory) word32(f Frame, off uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&m.lin[uint64(f)<<PageShift|off&(PageSize-1)&^3]))
}

// word64 is the aligned word at byte off of frame f, for atomic access.
func (m *Memory) word64(f Frame, off uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&m.lin[uint64(f)<<PageShift|off&(PageSize-1)&^7]))
}
