package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// copyPath copies in a path name; ENAMETOOLONG beyond PATH_MAX with its NUL.
func copyPath(t *sentry.Task, addr usermem.Addr) (string, error) {
	return usermem.CopyInString(t.MM(), addr, unix.PathMax-1)
}

// start is where a relative path begins: a descriptor's file, or the working directory.
// It holds the file until done.
type start struct{ file *vfs.File }

// startAt finds the start of path. The descriptor counts only for relative paths.
func startAt(t *sentry.Task, dirfd int32, path string) (start, error) {
	if dirfd == unix.AT_FDCWD || path != "" && path[0] == '/' {
		return start{}, nil
	}
	f, err := t.Files().Get(dirfd)
	return start{f}, err
}

func (s start) path() vfs.Path {
	if s.file == nil {
		return vfs.Path{} // the caller's working directory
	}
	return s.file.Path
}

func (s start) done() {
	if s.file != nil {
		s.file.DecRef()
	}
}

// copyPathAt is copyPath and startAt in one.
func copyPathAt(t *sentry.Task, dirfd int32, addr usermem.Addr) (string, start, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return "", start{}, err
	}
	s, err := startAt(t, dirfd, path)
	return path, s, err
}

// atFlags translates AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH and AT_NO_AUTOMOUNT for calls that follow
// links by default. Others must be in also.
func atFlags(flags, also int32) (vfs.LookupFlags, error) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT|also) != 0 {
		return 0, unix.EINVAL
	}
	var l vfs.LookupFlags
	if flags&unix.AT_SYMLINK_NOFOLLOW == 0 {
		l |= vfs.LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		l |= vfs.LookupEmpty
	}
	if flags&unix.AT_NO_AUTOMOUNT != 0 {
		l |= vfs.LookupNoAutomount
	}
	return l, nil
}

// newFD gives f the lowest free descriptor and takes over its reference, also on failure.
func newFD(t *sentry.Task, f *vfs.File, cloexec bool) (uintptr, error) {
	fd, err := t.Files().NewFD(0, f, cloexec, t.Limit(unix.RLIMIT_NOFILE))
	if err != nil {
		f.DecRef()
		return 0, err
	}
	return uintptr(fd), nil
}

func doOpen(t *sentry.Task, dirfd int32, addr usermem.Addr, how unix.OpenHow) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	at := path
	if how.Resolve&unix.RESOLVE_IN_ROOT != 0 {
		at = "." // the descriptor is the root of absolute paths, too
	}
	s, err := startAt(t, dirfd, at)
	if err != nil {
		return 0, err
	}
	f, err := vfs.Open(t, s.path(), path, how)
	s.done()
	if err != nil {
		return 0, err
	}
	return newFD(t, f, how.Flags&unix.O_CLOEXEC != 0)
}

// oldHow is the meaning of open and openat: unknown flags are ignored, a mode too where nothing is made.
func oldHow(flags, mode uint32) unix.OpenHow {
	const known = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND |
		unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC | unix.O_ASYNC | unix.O_DIRECT | unix.O_LARGEFILE | unix.O_DIRECTORY |
		unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE
	how := unix.OpenHow{Flags: uint64(flags & known)}
	if flags&unix.O_PATH != 0 {
		how.Flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	}
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	if how.Flags&(unix.O_CREAT|tmpfile) != 0 {
		how.Mode = uint64(mode & 07777)
	}
	return how
}

// open(2)
func open(t *sentry.Task, path usermem.Addr, flags, mode uint32) (uintptr, error) {
	return doOpen(t, unix.AT_FDCWD, path, oldHow(flags, mode))
}

// openat(2)
func openat(t *sentry.Task, dirfd int32, path usermem.Addr, flags, mode uint32) (uintptr, error) {
	return doOpen(t, dirfd, path, oldHow(flags, mode))
}

// creat(2)
func creat(t *sentry.Task, path usermem.Addr, mode uint32) (uintptr, error) {
	return doOpen(t, unix.AT_FDCWD, path, oldHow(unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, mode))
}

// openat2(2)
func openat2(t *sentry.Task, dirfd int32, path, howAddr usermem.Addr, size uint64) (uintptr, error) {
	var how unix.OpenHow
	if err := copyStructIn(t, howAddr, size, 24, usermem.AsBytes(&how)); err != nil {
		return 0, err
	}
	if err := vfs.OpenHow(how); err != nil {
		return 0, err
	}
	return doOpen(t, dirfd, path, how)
}

// copyStructIn reads a structure that may grow over time (Linux: copy_struct_from_user): a guest
// that knows more than we do must have zeros there (E2BIG), one that knows less gets zeros.
func copyStructIn(t *sentry.Task, addr usermem.Addr, size, minSize uint64, b []byte) error {
	if size < minSize {
		return unix.EINVAL
	}
	if size > 4096 {
		return unix.E2BIG
	}
	known := min(size, uint64(len(b)))
	if _, err := t.MM().CopyIn(addr, b[:known]); err != nil {
		return err
	}
	if size > known {
		rest := make([]byte, size-known)
		if _, err := t.MM().CopyIn(addr+usermem.Addr(known), rest); err != nil {
			return err
		}
		for _, c := range rest {
			if c != 0 {
				return unix.E2BIG
			}
		}
	}
	return nil
}

// close(2)
func sysClose(t *sentry.Task, fd int32) (uintptr, error) {
	err := t.Files().Close(t, fd)
	switch err {
	case vfs.ErrRestartSys, vfs.ErrRestartNoIntr, vfs.ErrRestartNoHand, vfs.ErrRestartBlock:
		err = unix.EINTR // the descriptor is gone: the call cannot be restarted
	}
	return 0, err
}

// close_range(2)
func closeRange(t *sentry.Task, first, last, flags uint32) (uintptr, error) {
	if flags&^(unix.CLOSE_RANGE_UNSHARE|unix.CLOSE_RANGE_CLOEXEC) != 0 || first > last {
		return 0, unix.EINVAL
	}
	if flags&unix.CLOSE_RANGE_UNSHARE != 0 {
		if err := t.UnshareFiles(); err != nil {
			return 0, err
		}
	}
	return 0, t.Files().CloseRange(t, first, last, flags&unix.CLOSE_RANGE_CLOEXEC != 0)
}

// dup(2)
func dup(t *sentry.Task, fd int32) (uintptr, error) {
	n, err := t.Files().Dup(t, fd, 0, false, t.Limit(unix.RLIMIT_NOFILE))
	return uintptr(n), err
}

// dup2(2)
func dup2(t *sentry.Task, old, fd int32) (uintptr, error) {
	if old == fd {
		f, err := t.Files().Get(old)
		if err != nil {
			return 0, err
		}
		f.DecRef()
		return uintptr(fd), nil
	}
	n, err := t.Files().Dup3(t, old, fd, false, t.Limit(unix.RLIMIT_NOFILE))
	return uintptr(n), err
}

// dup3(2)
func dup3(t *sentry.Task, old, fd int32, flags uint32) (uintptr, error) {
	if flags&^unix.O_CLOEXEC != 0 || old == fd {
		return 0, unix.EINVAL
	}
	n, err := t.Files().Dup3(t, old, fd, flags != 0, t.Limit(unix.RLIMIT_NOFILE))
	return uintptr(n), err
}
