package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// The newer mount calls, of which package vfs does the work.

const (
	fsKeyMax      = 255     // longest key and value of fsconfig
	fsBinaryMax   = 1 << 20 // largest binary value
	maxListMounts = 1000000
	lsmtReverse   = 1 // LISTMOUNT_REVERSE
)

// fsopen(2)
func fsopen(t *sentry.Task, typeAddr usermem.Addr, flags uint32) (uintptr, error) {
	name, err := mountString(t, typeAddr)
	if err != nil {
		return 0, err
	}
	f, err := vfs.FSOpen(t, t.MountNS(), name, flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.FSOPEN_CLOEXEC != 0)
}

// fspick(2)
func fspick(t *sentry.Task, dirfd int32, addr usermem.Addr, flags uint32) (uintptr, error) {
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	f, err := vfs.FSPick(t, t.MountNS(), s.path(), path, flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.FSPICK_CLOEXEC != 0)
}

// fsconfig(2)
func fsconfig(t *sentry.Task, fd int32, cmd uint32, keyAddr, valueAddr usermem.Addr, aux int32) (uintptr, error) {
	if fd < 0 {
		return 0, unix.EINVAL
	}
	ok := false
	switch cmd {
	case unix.FSCONFIG_SET_FLAG:
		ok = keyAddr != 0 && valueAddr == 0 && aux == 0
	case unix.FSCONFIG_SET_STRING:
		ok = keyAddr != 0 && valueAddr != 0 && aux == 0
	case unix.FSCONFIG_SET_BINARY:
		ok = keyAddr != 0 && valueAddr != 0 && aux > 0 && aux <= fsBinaryMax
	case unix.FSCONFIG_SET_PATH, unix.FSCONFIG_SET_PATH_EMPTY:
		ok = keyAddr != 0 && valueAddr != 0 && (aux == cwdFD || aux >= 0)
	case unix.FSCONFIG_SET_FD:
		ok = keyAddr != 0 && valueAddr == 0 && aux >= 0
	case unix.FSCONFIG_CMD_CREATE, unix.FSCONFIG_CMD_RECONFIGURE, 8: // FSCONFIG_CMD_CREATE_EXCL
		ok = keyAddr == 0 && valueAddr == 0 && aux == 0
	default:
		return 0, unix.EOPNOTSUPP
	}
	if !ok {
		return 0, unix.EINVAL
	}
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	short := func(addr usermem.Addr) (string, error) {
		if addr == 0 {
			return "", nil
		}
		s, err := usermem.CopyInString(t.MM(), addr, fsKeyMax)
		if err == unix.ENAMETOOLONG {
			err = unix.EINVAL
		}
		return s, err
	}
	key, err := short(keyAddr)
	if err != nil {
		return 0, err
	}
	value := ""
	switch cmd {
	case unix.FSCONFIG_SET_STRING:
		value, err = short(valueAddr)
	case unix.FSCONFIG_SET_BINARY:
		_, err = t.MM().CopyIn(valueAddr, make([]byte, aux))
	case unix.FSCONFIG_SET_PATH, unix.FSCONFIG_SET_PATH_EMPTY:
		value, err = copyPath(t, valueAddr)
		if err == nil && value == "" && cmd == unix.FSCONFIG_SET_PATH {
			err = unix.ENOENT
		}
	case unix.FSCONFIG_SET_FD:
		var v *vfs.File
		if v, err = t.Files().Get(aux); err == nil {
			v.DecRef()
		}
	}
	if err != nil {
		return 0, err
	}
	return 0, vfs.FSConfig(t, f, cmd, key, value)
}

// fsmount(2)
func fsmount(t *sentry.Task, fd int32, flags, attrs uint32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	m, err := vfs.FSMount(t, t.MountNS(), f, flags, uint64(attrs))
	if err != nil {
		return 0, err
	}
	return newFD(t, m, flags&unix.FSMOUNT_CLOEXEC != 0)
}

// open_tree(2)
func openTree(t *sentry.Task, dirfd int32, addr usermem.Addr, flags uint32) (uintptr, error) {
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	f, err := vfs.OpenTree(t, t.MountNS(), s.path(), path, flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.OPEN_TREE_CLOEXEC != 0)
}

// move_mount(2)
func moveMount(t *sentry.Task, fromfd int32, fromAddr usermem.Addr, tofd int32, toAddr usermem.Addr, flags uint32) (uintptr, error) {
	from, fs, to, ts, err := twoPaths(t, fromfd, fromAddr, tofd, toAddr)
	if err != nil {
		return 0, err
	}
	defer fs.done()
	defer ts.done()
	return 0, vfs.MoveMount(t, t.MountNS(), fs.path(), from, ts.path(), to, flags)
}

// mount_setattr(2)
func mountSetattr(t *sentry.Task, dirfd int32, addr usermem.Addr, flags uint32, attrAddr usermem.Addr, size uint64) (uintptr, error) {
	const attrSize = 32 // MOUNT_ATTR_SIZE_VER0
	if size > arch.PageSize {
		return 0, unix.E2BIG
	}
	var a vfs.MountAttr
	if err := copyStructIn(t, attrAddr, size, attrSize, usermem.AsBytes(&a)); err != nil {
		return 0, err
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.MountSetAttr(t, t.MountNS(), s.path(), path, flags, a)
}

// mntIDReq is struct mnt_id_req.
type mntIDReq struct {
	Size, Spare uint32
	MntID       uint64
	Param       uint64
	NSID        uint64
}

// readMntIDReq copies in a request, and finds the mount namespace that it is about: the caller's, since
// others cannot be named from within.
func readMntIDReq(t *sentry.Task, addr usermem.Addr) (r mntIDReq, ns *vfs.MountNamespace, err error) {
	const size0 = 24 // MNT_ID_REQ_SIZE_VER0
	if err := usermem.CopyObjectIn(t.MM(), addr, &r.Size); err != nil {
		return r, nil, err
	}
	if err := copyStructIn(t, addr, uint64(r.Size), size0, usermem.AsBytes(&r)); err != nil {
		return r, nil, err
	}
	if r.Spare != 0 || r.MntID <= 1<<31 {
		return r, nil, unix.EINVAL
	}
	ns = t.MountNS()
	if r.NSID != 0 && r.NSID != ns.ID {
		return r, nil, unix.ENOENT
	}
	return r, ns, nil
}

// statmount(2)
func statmount(t *sentry.Task, req, buf usermem.Addr, size uint64, flags uint32) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	r, ns, err := readMntIDReq(t, req)
	if err != nil {
		return 0, err
	}
	b, err := vfs.StatMount(t, ns, r.MntID, r.Param)
	if err != nil {
		return 0, err
	}
	const fixed = 512
	if len(b) > fixed && uint64(len(b)) > size {
		return 0, unix.EOVERFLOW
	}
	_, err = t.MM().CopyOut(buf, b[:min(uint64(len(b)), size)])
	return 0, err
}

// listmount(2)
func listmount(t *sentry.Task, req, ids usermem.Addr, n uint64, flags uint32) (uintptr, error) {
	if flags&^lsmtReverse != 0 {
		return 0, unix.EINVAL
	}
	if n > maxListMounts {
		return 0, unix.EOVERFLOW
	}
	if err := userRange(ids, n*8); err != nil {
		return 0, err
	}
	r, ns, err := readMntIDReq(t, req)
	if err != nil {
		return 0, err
	}
	if r.Param != 0 && r.Param <= 1<<31 {
		return 0, unix.EINVAL
	}
	list, err := vfs.ListMount(t, ns, r.MntID, r.Param, int(n), flags&lsmtReverse != 0)
	if err != nil {
		return 0, err
	}
	return uintptr(len(list)), usermem.CopySliceOut(t.MM(), ids, list)
}
