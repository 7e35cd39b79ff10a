package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
)

// Namespaces.

// unshare(2)
func unshare(t *sentry.Task, flags uint64) (uintptr, error) { return 0, t.Unshare(flags) }

// setns(2)
func setns(t *sentry.Task, fd int32, kind uint32) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.IsPathOnly() {
		return 0, unix.EBADF
	}
	return 0, t.SetNS(f, uint64(kind))
}
