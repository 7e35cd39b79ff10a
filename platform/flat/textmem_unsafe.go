package flat

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// textMemory is the memory of rewritten pages and trampolines: a memfd that the sentry maps writable and guests see executable.
type textMemory struct {
	fd  uintptr
	mem []byte

	mu   sync.Mutex
	free []uint64
	top  uint64
}

// textMax is how much there can be. Only what is used takes memory.
const textMax = 1 << 30

func newTextMemory() (*textMemory, error) {
	fd, err := unix.MemfdCreate("gosv-text", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, textMax); err != nil {
		return nil, fmt.Errorf("memory for rewritten text: %w", err)
	}
	mem, err := unix.Mmap(fd, 0, textMax, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("memory for rewritten text: %w", err)
	}
	return &textMemory{fd: uintptr(fd), mem: mem}, nil
}

// take is a page, by its offset. Its contents are anything.
func (t *textMemory) take() (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		off := t.free[n-1]
		t.free = t.free[:n-1]
		return off, nil
	}
	if t.top == textMax {
		return 0, fmt.Errorf("rewritten text: %w", unix.ENOMEM)
	}
	t.top += pageSize
	return t.top - pageSize, nil
}

// give takes a page back that no guest sees any more.
func (t *textMemory) give(off uint64) {
	t.mu.Lock()
	t.free = append(t.free, off)
	t.mu.Unlock()
}

func (t *textMemory) bytes(off uint64) []byte { return t.mem[off:][:pageSize] }

func (t *textMemory) close() error {
	err := unix.Munmap(t.mem)
	if e := unix.Close(int(t.fd)); err == nil {
		err = e
	}
	return err
}

// guestBytes is guest memory where this process shows it. The caller holds the address space's lock and knows that it is
// shown readable.
func guestBytes(addr uint64, n int) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}
