package cred

import "golang.org/x/sys/unix"

// KillPriv is the mode of a file after its content or owner changed: without setuid, and
// without setgid where that means execution rather than mandatory locking.
func KillPriv(mode uint32) uint32 {
	if mode&unix.S_IFMT == unix.S_IFDIR {
		return mode
	}
	mode &^= unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		mode &^= unix.S_ISGID
	}
	return mode
}
