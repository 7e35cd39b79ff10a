package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/inotify"
)

// inotify_init1(2)
func inotifyInit1(t *sentry.Task, flags uint32) (uintptr, error) {
	if flags&^(unix.IN_CLOEXEC|unix.IN_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	f, err := inotify.New(t.Cred(), int(t.Kernel().VFS.InotifyEventsMax.Load()), flags&unix.IN_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.IN_CLOEXEC != 0)
}

// inotify_init(2)
func inotifyInit(t *sentry.Task) (uintptr, error) { return inotifyInit1(t, 0) }

// inotify_add_watch(2)
func inotifyAddWatch(t *sentry.Task, fd int32, addr usermem.Addr, mask uint32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	wd, err := inotify.AddWatch(t, f, vfs.Path{}, path, mask)
	return uintptr(wd), err
}

// inotify_rm_watch(2)
func inotifyRmWatch(t *sentry.Task, fd, wd int32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, inotify.RmWatch(f, wd)
}
