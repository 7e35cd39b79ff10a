package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fchmodat2 changes the mode of what an O_PATH descriptor is open on; ENOSYS before
// Linux 6.6. The pointer is to a constant that outlives the call.
func fchmodat2(fd int, mode uint32) error {
	const sysFchmodat2 = 452
	empty := [1]byte{}
	_, _, errno := unix.Syscall6(sysFchmodat2, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])), uintptr(mode), unix.AT_EMPTY_PATH, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
