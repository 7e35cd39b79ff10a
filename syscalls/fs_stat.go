package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

const atStatxSyncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

// copyStatOut writes struct stat.
func copyStatOut(t *sentry.Task, addr usermem.Addr, s *vfs.Stats) error {
	ns := t.Cred().UserNS
	st := unix.Stat_t{
		Dev: s.Dev, Ino: s.Ino, Nlink: uint64(s.Nlink), Mode: s.Mode,
		Uid: ns.ShowUID(s.UID), Gid: ns.ShowGID(s.GID), Rdev: s.Rdev,
		Size: s.Size, Blksize: int64(s.BlkSize), Blocks: s.Blocks,
		Atim: s.Atime, Mtim: s.Mtime, Ctim: s.Ctime,
	}
	return usermem.CopyObjectOut(t.MM(), addr, &st)
}

// emptyPath tells whether the path at addr is empty or not there at all; calls with
// AT_EMPTY_PATH take both (Linux since 6.11).
func emptyPath(t *sentry.Task, addr usermem.Addr) bool {
	if addr == 0 {
		return true
	}
	var b [1]byte
	_, err := t.MM().CopyIn(addr, b[:])
	return err == nil && b[0] == 0
}

// statAt finds what stat, statx and their siblings look at. unique, if not nil, is set to the id of
// the mount that is never used again.
func statAt(t *sentry.Task, dirfd int32, addr usermem.Addr, flags int32, unique *uint64) (vfs.Stats, error) {
	tell := func(p vfs.Path) (vfs.Stats, error) {
		if unique != nil && p.Mount != nil {
			*unique = p.Mount.UniqueID()
		}
		return p.Stat(t)
	}
	if flags&unix.AT_EMPTY_PATH != 0 && emptyPath(t, addr) {
		if dirfd == cwdFD {
			p := t.FS().GetCwd()
			defer p.DecRef()
			return tell(p)
		}
		f, err := t.Files().Get(dirfd)
		if err != nil {
			return vfs.Stats{}, err
		}
		defer f.DecRef()
		return tell(f.Path)
	}
	l, err := atFlags(flags&^atStatxSyncType, 0)
	if err != nil {
		return vfs.Stats{}, err
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return vfs.Stats{}, err
	}
	defer s.done()
	if unique == nil {
		return vfs.Stat(t, s.path(), path, l)
	}
	p, err := vfs.Lookup(t, s.path(), path, l)
	if err != nil {
		return vfs.Stats{}, err
	}
	defer p.DecRef()
	return tell(p)
}

// newfstatat(2)
func newfstatat(t *sentry.Task, dirfd int32, path, buf usermem.Addr, flags int32) (uintptr, error) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_EMPTY_PATH|atStatxSyncType) != 0 {
		return 0, unix.EINVAL
	}
	s, err := statAt(t, dirfd, path, flags, nil)
	if err != nil {
		return 0, err
	}
	return 0, copyStatOut(t, buf, &s)
}

// stat(2)
func stat(t *sentry.Task, path, buf usermem.Addr) (uintptr, error) {
	return newfstatat(t, cwdFD, path, buf, 0)
}

// lstat(2)
func lstat(t *sentry.Task, path, buf usermem.Addr) (uintptr, error) {
	return newfstatat(t, cwdFD, path, buf, unix.AT_SYMLINK_NOFOLLOW)
}

// fstat(2)
func fstat(t *sentry.Task, fd int32, buf usermem.Addr) (uintptr, error) {
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	s, err := f.Path.Stat(t)
	f.Done()
	if err != nil {
		return 0, err
	}
	return 0, copyStatOut(t, buf, &s)
}

// statx(2)
func statx(t *sentry.Task, dirfd int32, path usermem.Addr, flags int32, mask uint32, buf usermem.Addr) (uintptr, error) {
	if mask&unix.STATX__RESERVED != 0 || flags&atStatxSyncType == atStatxSyncType ||
		flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_EMPTY_PATH|atStatxSyncType) != 0 {
		return 0, unix.EINVAL
	}
	var unique uint64
	ask := &unique
	if mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		ask = nil
	}
	s, err := statAt(t, dirfd, path, flags, ask)
	if err != nil {
		return 0, err
	}
	ns := t.Cred().UserNS
	x := unix.Statx_t{
		Mask: unix.STATX_BASIC_STATS, Blksize: uint32(s.BlkSize), Attributes: s.Flags, Nlink: s.Nlink,
		Uid: ns.ShowUID(s.UID), Gid: ns.ShowGID(s.GID), Mode: uint16(s.Mode), Ino: s.Ino,
		Size: uint64(s.Size), Blocks: uint64(s.Blocks),
		Attributes_mask: unix.STATX_ATTR_AUTOMOUNT | unix.STATX_ATTR_MOUNT_ROOT | unix.STATX_ATTR_IMMUTABLE |
			unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP,
		Atime: statxTime(s.Atime), Ctime: statxTime(s.Ctime), Mtime: statxTime(s.Mtime),
		Rdev_major: unix.Major(s.Rdev), Rdev_minor: unix.Minor(s.Rdev),
		Dev_major: unix.Major(s.Dev), Dev_minor: unix.Minor(s.Dev),
	}
	if s.Btime != (vfs.Timespec{}) {
		x.Mask |= unix.STATX_BTIME
		x.Btime = statxTime(s.Btime)
	}
	switch {
	case unique != 0:
		x.Mask |= unix.STATX_MNT_ID_UNIQUE
		x.Mnt_id = unique
	case s.MountID != 0:
		x.Mask |= unix.STATX_MNT_ID
		x.Mnt_id = s.MountID
	}
	if s.MountRoot {
		x.Attributes |= unix.STATX_ATTR_MOUNT_ROOT
	}
	return 0, usermem.CopyObjectOut(t.MM(), buf, &x)
}

func statxTime(ts vfs.Timespec) unix.StatxTimestamp {
	return unix.StatxTimestamp{Sec: ts.Sec, Nsec: uint32(ts.Nsec)}
}

// statfs(2)
func statfs(t *sentry.Task, addr, buf usermem.Addr) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	s, err := vfs.StatFS(t, vfs.Path{}, path)
	if err != nil {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), buf, &s)
}

// fstatfs(2)
func fstatfs(t *sentry.Task, fd int32, buf usermem.Addr) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	s := f.Path.StatFS()
	f.DecRef()
	return 0, usermem.CopyObjectOut(t.MM(), buf, &s)
}

// ustat(2) tells about a mounted file system by its device number.
func ustat(t *sentry.Task, dev uint32, buf usermem.Addr) (uintptr, error) {
	// The file systems in reach of the caller: those of its root and its working directory.
	root, cwd := t.FS().GetRoot(), t.FS().GetCwd()
	defer root.DecRef()
	defer cwd.DecRef()
	for _, p := range []vfs.Path{root, cwd} {
		if p.Mount == nil || p.Mount.SB.Dev != uint64(dev) {
			continue
		}
		s := p.StatFS()
		out := struct {
			Tfree  int32
			_      int32
			Tinode uint64
			Fname  [6]byte
			Fpack  [6]byte
			_      [4]byte
		}{Tfree: int32(s.Bfree), Tinode: s.Ffree}
		return 0, usermem.CopyObjectOut(t.MM(), buf, &out)
	}
	return 0, unix.EINVAL
}

// sysfs(2): file system types by index and by name. Its options are numbers without names.
func sysfs(t *sentry.Task, option int32, a1, a2 uint64) (uintptr, error) {
	types := t.Kernel().VFS.All()
	switch option {
	case 1:
		name, err := copyPath(t, usermem.Addr(a1))
		if err != nil {
			return 0, err
		}
		for i, ty := range types {
			if ty.Name == name {
				return uintptr(i), nil
			}
		}
	case 2:
		if a1 < uint64(len(types)) {
			_, err := t.MM().CopyOut(usermem.Addr(a2), append([]byte(types[a1].Name), 0))
			return 0, err
		}
	case 3:
		return uintptr(len(types)), nil
	}
	return 0, unix.EINVAL
}
