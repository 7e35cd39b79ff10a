package sandbox

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capsetNone empties the permitted, effective and inheritable sets of every thread. Safe: the
// kernel only reads the two structures, which the call keeps alive.
func capsetNone() error {
	hdr := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)), 0)
	runtime.KeepAlive(hdr)
	runtime.KeepAlive(data)
	if e != 0 {
		return e
	}
	return nil
}

// installFilter loads a BPF program for all threads at once (SECCOMP_FILTER_FLAG_TSYNC). Safe: the
// kernel copies the program during the call.
func installFilter(prog []unix.SockFilter) error {
	fprog := &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	const setModeFilter, tsync = 1, 1
	r, _, e := syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, tsync, uintptr(unsafe.Pointer(fprog)))
	runtime.KeepAlive(fprog)
	runtime.KeepAlive(prog)
	if e != 0 {
		return e
	}
	if r != 0 {
		return unix.ESRCH // a thread with another filter, which cannot be: none was installed before
	}
	return nil
}
