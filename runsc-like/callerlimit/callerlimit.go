// Package callerlimit reads the limit of open files that the caller of this program has, before the Go runtime
// raises it: package syscall does so when it is initialised. This package imports nothing, and packages that
// are ready are initialised in the order of their import paths (Go specification, "Program
// initialization"), so it comes first.
//
// No state but one variable, no locks.
package callerlimit

// NoFile is the caller's RLIMIT_NOFILE, the soft and the hard limit; zero if the host did not tell.
var NoFile = noFile()

const rlimitNoFile = 7

func noFile() (l [2]uint64) {
	prlimit(rlimitNoFile, &l)
	return l
}

// prlimit asks for a limit of the calling process.
//
//go:noescape
func prlimit(resource int, old *[2]uint64) (errno int)
