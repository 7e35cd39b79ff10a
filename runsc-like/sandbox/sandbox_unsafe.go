package sandbox

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/vfork"
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

// startCalls are the calls that a new process in a user namespace of its own makes to execute this program: with the capabilities that are needed, so that it
// can have no others, and with files from descriptor firstFile on, whose own numbers are higher. Safe: the pointers are to what keep has.
func startCalls(files []int, argv, envp []string) (calls []vfork.Call, keep []any, err error) {
	call := func(nr uintptr, args ...uintptr) *vfork.Call {
		calls = append(calls, vfork.Call{Nr: nr})
		c := &calls[len(calls)-1]
		copy(c.Args[:], args)
		return c
	}
	// It has all capabilities, as always in a new user namespace. Those that are to outlive execve must be inheritable and ambient.
	hdr := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	data[0] = unix.CapUserData{Effective: needed | 1<<unix.CAP_SETPCAP, Permitted: needed | 1<<unix.CAP_SETPCAP, Inheritable: needed}
	call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(data)))
	for c := range uintptr(64) {
		if needed&(1<<c) != 0 {
			call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c)
		}
		call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c).May = unix.EINVAL // the host has none of that number
	}
	for i, fd := range files {
		call(unix.SYS_DUP3, uintptr(fd), uintptr(firstFile+i))
	}
	call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	path, err := unix.BytePtrFromString("/proc/self/exe")
	if err != nil {
		return nil, nil, err
	}
	argp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return nil, nil, err
	}
	envpp, err := syscall.SlicePtrFromStrings(envp)
	if err != nil {
		return nil, nil, err
	}
	call(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argp[0])), uintptr(unsafe.Pointer(&envpp[0])))
	return calls, []any{hdr, data, path, argp, envpp}, nil
}
