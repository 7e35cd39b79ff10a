package usermem

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// AsBytes is the memory of *v. T must be a plain structure of the Linux ABI:
// fixed-size fields, no Go pointers. The slice is valid as long as v is.
func AsBytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// CopyObjectIn reads a plain structure of the Linux ABI from addr into *v.
// EFAULT leaves *v partly written.
func CopyObjectIn[T any](m Memory, addr Addr, v *T) error {
	_, err := m.CopyIn(addr, AsBytes(v))
	return err
}

// CopyObjectOut writes a plain structure of the Linux ABI to addr.
func CopyObjectOut[T any](m Memory, addr Addr, v *T) error {
	_, err := m.CopyOut(addr, AsBytes(v))
	return err
}

// CopySliceIn reads n structures at addr.
func CopySliceIn[T any](m Memory, addr Addr, n int) ([]T, error) {
	if n == 0 {
		return nil, nil
	}
	if n < 0 {
		return nil, unix.EINVAL
	}
	s := make([]T, n)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(n)*unsafe.Sizeof(s[0]))
	_, err := m.CopyIn(addr, b)
	return s, err
}

// CopySliceOut writes structures at addr.
func CopySliceOut[T any](m Memory, addr Addr, s []T) error {
	if len(s) == 0 {
		return nil
	}
	_, err := m.CopyOut(addr, unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), uintptr(len(s))*unsafe.Sizeof(s[0])))
	return err
}
