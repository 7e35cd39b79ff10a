package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// groupOrphaned tells whether nobody would continue the calling process if it were stopped: going up, the first
// ancestor that is not in its process group is in another session (setpgid(2), credentials(7)).
func groupOrphaned() bool {
	pgrp := unix.Getpgrp()
	session, err := unix.Getsid(0)
	if err != nil {
		return true
	}
	for pid := os.Getppid(); pid > 0; {
		// PID (comm) state ppid pgrp session
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return true
		}
		s := string(b)
		var state string
		var ppid, group, sid int
		if _, err := fmt.Sscan(s[strings.LastIndexByte(s, ')')+1:], &state, &ppid, &group, &sid); err != nil || sid != session {
			return true
		}
		if group != pgrp {
			return false
		}
		pid = ppid
	}
	return true
}
