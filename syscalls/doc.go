// Package syscalls is the system call table: one entry a number with its name,
// typed handler, argument kinds and level of support. From the table come
// dispatch, the log that looks like strace's, the compatibility page in docs and
// the names that seccomp and audit use.
//
// A handler is a typed Go function named after the call. It parses and checks
// its arguments, calls one function of the kernel object, and copies out.
// It holds no policy, and no lock when it returns.
//
//	// read(2)
//	func read(t *sentry.Task, fd int32, buf usermem.Addr, n uint64) (uintptr, error)
package syscalls
