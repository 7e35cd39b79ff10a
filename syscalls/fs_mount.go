package syscalls

import (
	"bytes"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// mountString copies in a string argument of mount(2), which may be missing.
func mountString(t *sentry.Task, addr usermem.Addr) (string, error) {
	if addr == 0 {
		return "", nil
	}
	s, err := usermem.CopyInString(t.MM(), addr, unix.PathMax-1)
	if err == unix.ENAMETOOLONG {
		err = unix.EINVAL
	}
	return s, err
}

// mountData copies in the options, at most a page; what follows them need not be readable.
func mountData(t *sentry.Task, addr usermem.Addr) (string, error) {
	if addr == 0 {
		return "", nil
	}
	b := make([]byte, arch.PageSize)
	n, err := t.MM().CopyIn(addr, b)
	if n == 0 {
		return "", err
	}
	b = b[:n]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b), nil
}

// mount(2)
func mount(t *sentry.Task, sourceAddr, target, typeAddr usermem.Addr, flags uint64, dataAddr usermem.Addr) (uintptr, error) {
	fstype, err := mountString(t, typeAddr)
	if err != nil {
		return 0, err
	}
	source, err := mountString(t, sourceAddr)
	if err != nil {
		return 0, err
	}
	data, err := mountData(t, dataAddr)
	if err != nil {
		return 0, err
	}
	path, err := copyPath(t, target)
	if err != nil {
		return 0, err
	}
	return 0, vfs.DoMount(t, t.MountNS(), source, vfs.Path{}, path, fstype, flags, data)
}

// umount2(2)
func umount2(t *sentry.Task, target usermem.Addr, flags int32) (uintptr, error) {
	path, err := copyPath(t, target)
	if err != nil {
		return 0, err
	}
	return 0, vfs.DoUmount(t, t.MountNS(), vfs.Path{}, path, int(flags))
}

// pivot_root(2)
func pivotRoot(t *sentry.Task, newAddr, oldAddr usermem.Addr) (uintptr, error) {
	ns := t.MountNS()
	if !t.Cred().HasIn(ns.UserNS, unix.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	return withDir(t, newAddr, func(n vfs.Path) (uintptr, error) {
		return withDir(t, oldAddr, func(o vfs.Path) (uintptr, error) {
			return 0, ns.PivotRoot(t, n, o)
		})
	})
}

// withDir calls op with the directory that a path names.
func withDir(t *sentry.Task, addr usermem.Addr, op func(vfs.Path) (uintptr, error)) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	p, err := vfs.Lookup(t, vfs.Path{}, path, vfs.LookupFollow|vfs.LookupDirectory)
	if err != nil {
		return 0, err
	}
	defer p.DecRef()
	return op(p)
}
