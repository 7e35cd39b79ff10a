package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
)

// pidfd_open(2)
func pidfdOpen(t *sentry.Task, pid int32, flags uint32) (uintptr, error) {
	fd, err := t.PidfdOpen(pid, flags)
	return uintptr(fd), err
}

// pidfd_getfd(2)
func pidfdGetfd(t *sentry.Task, pidfd, fd int32, flags uint32) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	f, err := t.Files().Get(pidfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	n, err := t.PidfdGetFD(f, fd)
	return uintptr(n), err
}

// process_mrelease(2): memory of a dying process is given back by that process itself, soon.
func processMrelease(t *sentry.Task, pidfd int32, flags uint32) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	f, err := t.Files().Get(pidfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	pid, _, err := sentry.PIDOfFile(f)
	if err != nil {
		return 0, err
	}
	return 0, t.ProcessMRelease(pid)
}
