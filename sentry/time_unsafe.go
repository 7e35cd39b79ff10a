package sentry

import _ "unsafe" // for go:linkname

// nanotime is the host's CLOCK_MONOTONIC, read through its vDSO without a system call. Package time
// gives differences of this clock only, and guests see the clock itself. It is one of the functions
// that the Go runtime keeps open to linkname.
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64
