package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

const (
	xattrNameMax = 255
	xattrSizeMax = 65536
	xattrListMax = 65536
)

// xattrName copies in the name of an attribute.
func xattrName(t *sentry.Task, addr usermem.Addr) (string, error) {
	name, err := usermem.CopyInString(t.MM(), addr, xattrNameMax)
	if err == unix.ENAMETOOLONG || err == nil && name == "" {
		err = unix.ERANGE
	}
	return name, err
}

// withPath calls op with the file that a path names.
func withPath(t *sentry.Task, addr usermem.Addr, follow bool, op func(vfs.Path) (uintptr, error)) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	var l vfs.LookupFlags
	if follow {
		l = vfs.LookupFollow
	}
	p, err := vfs.Lookup(t, vfs.Path{}, path, l)
	if err != nil {
		return 0, err
	}
	defer p.DecRef()
	return op(p)
}

// withFD calls op with the file that a descriptor is open for.
func withFD(t *sentry.Task, fd int32, op func(vfs.Path) (uintptr, error)) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return op(f.Path)
}

// xattrSet returns the operation of the three setxattr calls, with its arguments copied in.
func xattrSet(t *sentry.Task, nameAddr, value usermem.Addr, size uint64, flags int32) (func(vfs.Path) (uintptr, error), error) {
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return nil, unix.EINVAL
	}
	name, err := xattrName(t, nameAddr)
	if err != nil {
		return nil, err
	}
	if size > xattrSizeMax {
		return nil, unix.E2BIG
	}
	b := make([]byte, size)
	if _, err := t.MM().CopyIn(value, b); err != nil {
		return nil, err
	}
	return func(p vfs.Path) (uintptr, error) { return 0, p.SetXattr(t, name, b, int(flags)) }, nil
}

func xattrGet(t *sentry.Task, nameAddr, value usermem.Addr, size uint64) (func(vfs.Path) (uintptr, error), error) {
	name, err := xattrName(t, nameAddr)
	if err != nil {
		return nil, err
	}
	return func(p vfs.Path) (uintptr, error) {
		b, err := p.GetXattr(t, name)
		if err != nil {
			return 0, err
		}
		if size == 0 {
			return uintptr(len(b)), nil
		}
		if uint64(len(b)) > size {
			return 0, unix.ERANGE
		}
		_, err = t.MM().CopyOut(value, b)
		return uintptr(len(b)), err
	}, nil
}

func xattrList(t *sentry.Task, list usermem.Addr, size uint64) func(vfs.Path) (uintptr, error) {
	return func(p vfs.Path) (uintptr, error) {
		names, err := p.ListXattr(t)
		if err != nil {
			return 0, err
		}
		var b []byte
		for _, n := range names {
			b = append(append(b, n...), 0)
		}
		if len(b) > xattrListMax {
			return 0, unix.E2BIG
		}
		if size == 0 {
			return uintptr(len(b)), nil
		}
		if uint64(len(b)) > size {
			return 0, unix.ERANGE
		}
		_, err = t.MM().CopyOut(list, b)
		return uintptr(len(b)), err
	}
}

func xattrRemove(t *sentry.Task, nameAddr usermem.Addr) (func(vfs.Path) (uintptr, error), error) {
	name, err := xattrName(t, nameAddr)
	if err != nil {
		return nil, err
	}
	return func(p vfs.Path) (uintptr, error) { return 0, p.RemoveXattr(t, name) }, nil
}

// setxattr(2)
func setxattr(t *sentry.Task, path, name, value usermem.Addr, size uint64, flags int32) (uintptr, error) {
	op, err := xattrSet(t, name, value, size, flags)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, true, op)
}

// lsetxattr(2)
func lsetxattr(t *sentry.Task, path, name, value usermem.Addr, size uint64, flags int32) (uintptr, error) {
	op, err := xattrSet(t, name, value, size, flags)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, false, op)
}

// fsetxattr(2)
func fsetxattr(t *sentry.Task, fd int32, name, value usermem.Addr, size uint64, flags int32) (uintptr, error) {
	op, err := xattrSet(t, name, value, size, flags)
	if err != nil {
		return 0, err
	}
	return withFD(t, fd, op)
}

// getxattr(2)
func getxattr(t *sentry.Task, path, name, value usermem.Addr, size uint64) (uintptr, error) {
	op, err := xattrGet(t, name, value, size)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, true, op)
}

// lgetxattr(2)
func lgetxattr(t *sentry.Task, path, name, value usermem.Addr, size uint64) (uintptr, error) {
	op, err := xattrGet(t, name, value, size)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, false, op)
}

// fgetxattr(2)
func fgetxattr(t *sentry.Task, fd int32, name, value usermem.Addr, size uint64) (uintptr, error) {
	op, err := xattrGet(t, name, value, size)
	if err != nil {
		return 0, err
	}
	return withFD(t, fd, op)
}

// listxattr(2)
func listxattr(t *sentry.Task, path, list usermem.Addr, size uint64) (uintptr, error) {
	return withPath(t, path, true, xattrList(t, list, size))
}

// llistxattr(2)
func llistxattr(t *sentry.Task, path, list usermem.Addr, size uint64) (uintptr, error) {
	return withPath(t, path, false, xattrList(t, list, size))
}

// flistxattr(2)
func flistxattr(t *sentry.Task, fd int32, list usermem.Addr, size uint64) (uintptr, error) {
	return withFD(t, fd, xattrList(t, list, size))
}

// removexattr(2)
func removexattr(t *sentry.Task, path, name usermem.Addr) (uintptr, error) {
	op, err := xattrRemove(t, name)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, true, op)
}

// lremovexattr(2)
func lremovexattr(t *sentry.Task, path, name usermem.Addr) (uintptr, error) {
	op, err := xattrRemove(t, name)
	if err != nil {
		return 0, err
	}
	return withPath(t, path, false, op)
}

// fremovexattr(2)
func fremovexattr(t *sentry.Task, fd int32, name usermem.Addr) (uintptr, error) {
	op, err := xattrRemove(t, name)
	if err != nil {
		return 0, err
	}
	return withFD(t, fd, op)
}
