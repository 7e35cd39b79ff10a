// Package vfork starts processes that make some host calls, the last of which executes a program, before anything else.
//
// Until then the process has the memory of its parent, as after vfork(2), which waits meanwhile. So nothing has to be copied, neither then nor
// page by page when the parent goes on. Package os/exec does that too, but has no place for calls of one's own.
//
// No state, no locks.
package vfork

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a host call.
type Call struct {
	Nr   uintptr
	Args [6]uintptr
	May  syscall.Errno // if not 0, an error that does not matter
}

// Error says which of the calls failed.
type Error struct {
	Index int
	Errno syscall.Errno
}

func (e *Error) Error() string { return fmt.Sprintf("call %d: %v", e.Index, e.Errno) }

// Unwrap is the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Start makes a process with flags of clone(2) that makes the calls. An error is an *Error, if they have begun, and there is no process then. What the
// calls' arguments point to the caller must keep.
func Start(flags uintptr, calls []Call) (pid int, err error) {
	if len(calls) == 0 {
		return 0, syscall.EINVAL
	}
	failed := &Error{Index: -1}
	syscall.ForkLock.Lock()
	id, e := start(flags, calls, failed)
	afterFork()
	syscall.ForkLock.Unlock()
	if e != 0 {
		return 0, syscall.Errno(e)
	}
	if failed.Index >= 0 {
		for {
			if _, err := unix.Wait4(int(id), nil, unix.WALL, nil); err != unix.EINTR {
				return 0, failed
			}
		}
	}
	return int(id), nil
}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// rawVfork is clone, with a return that needs nothing of the stack.
func rawVfork(flags uintptr) (pid, errno uintptr)

// start is the part of Start of which the child uses the stack: the parent returns from it at once. Safe: the child runs nothing that could grow the stack,
// allocate or take a lock, and its signals are blocked until no handler is left.
//
//go:noinline
//go:norace
//go:nocheckptr
func start(flags uintptr, calls []Call, failed *Error) (pid, errno uintptr) {
	var (
		i int
		c *Call
		e syscall.Errno
	)
	beforeFork()
	pid, errno = rawVfork(flags | unix.CLONE_VM | unix.CLONE_VFORK | uintptr(unix.SIGCHLD))
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	afterForkInChild()
	for i = 0; i < len(calls); i++ {
		c = (*Call)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(calls)), uintptr(i)*unsafe.Sizeof(*c)))
		_, _, e = syscall.RawSyscall6(c.Nr, c.Args[0], c.Args[1], c.Args[2], c.Args[3], c.Args[4], c.Args[5])
		if e != 0 && e != c.May {
			failed.Index, failed.Errno = i, e
			break
		}
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 253, 0, 0)
	}
}
