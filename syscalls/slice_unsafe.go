package syscalls

import (
	"unsafe"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// copySliceInto fills s, of plain structures of the ABI, from guest memory. Safe: the bytes are
// those of s itself, for the time of the call.
func copySliceInto[T any](t *sentry.Task, addr usermem.Addr, s []T) error {
	if len(s) == 0 {
		return nil
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(s[0]))
	_, err := t.MM().CopyIn(addr, b)
	return err
}
