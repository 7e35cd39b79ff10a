package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

const cwdFD = int32(unix.AT_FDCWD)

// mkdirat(2)
func mkdirat(t *sentry.Task, dirfd int32, addr usermem.Addr, mode uint32) (uintptr, error) {
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Mkdir(t, s.path(), path, mode)
}

// mkdir(2)
func mkdir(t *sentry.Task, path usermem.Addr, mode uint32) (uintptr, error) {
	return mkdirat(t, cwdFD, path, mode)
}

// mknodat(2)
func mknodat(t *sentry.Task, dirfd int32, addr usermem.Addr, mode, dev uint32) (uintptr, error) {
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Mknod(t, s.path(), path, mode, uint64(dev))
}

// mknod(2)
func mknod(t *sentry.Task, path usermem.Addr, mode, dev uint32) (uintptr, error) {
	return mknodat(t, cwdFD, path, mode, dev)
}

// unlinkat(2)
func unlinkat(t *sentry.Task, dirfd int32, addr usermem.Addr, flags int32) (uintptr, error) {
	if flags&^unix.AT_REMOVEDIR != 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	if flags != 0 {
		return 0, vfs.Rmdir(t, s.path(), path)
	}
	return 0, vfs.Unlink(t, s.path(), path)
}

// unlink(2)
func unlink(t *sentry.Task, path usermem.Addr) (uintptr, error) { return unlinkat(t, cwdFD, path, 0) }

// rmdir(2)
func rmdir(t *sentry.Task, path usermem.Addr) (uintptr, error) {
	return unlinkat(t, cwdFD, path, unix.AT_REMOVEDIR)
}

// symlinkat(2)
func symlinkat(t *sentry.Task, targetAddr usermem.Addr, dirfd int32, addr usermem.Addr) (uintptr, error) {
	target, err := copyPath(t, targetAddr)
	if err != nil {
		return 0, err
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Symlink(t, target, s.path(), path)
}

// symlink(2)
func symlink(t *sentry.Task, target, path usermem.Addr) (uintptr, error) {
	return symlinkat(t, target, cwdFD, path)
}

// twoPaths copies in the old and the new path of link and rename and finds where they start.
func twoPaths(t *sentry.Task, oldfd int32, oldAddr usermem.Addr, newfd int32, newAddr usermem.Addr) (op string, os start, np string, ns start, err error) {
	if op, os, err = copyPathAt(t, oldfd, oldAddr); err != nil {
		return
	}
	if np, ns, err = copyPathAt(t, newfd, newAddr); err != nil {
		os.done()
	}
	return
}

// linkat(2)
func linkat(t *sentry.Task, oldfd int32, oldAddr usermem.Addr, newfd int32, newAddr usermem.Addr, flags int32) (uintptr, error) {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	op, os, np, ns, err := twoPaths(t, oldfd, oldAddr, newfd, newAddr)
	if err != nil {
		return 0, err
	}
	defer os.done()
	defer ns.done()
	return 0, vfs.Link(t, os.path(), op, ns.path(), np, int(flags))
}

// link(2)
func link(t *sentry.Task, oldPath, newPath usermem.Addr) (uintptr, error) {
	return linkat(t, cwdFD, oldPath, cwdFD, newPath, 0)
}

// renameat2(2)
func renameat2(t *sentry.Task, oldfd int32, oldAddr usermem.Addr, newfd int32, newAddr usermem.Addr, flags uint32) (uintptr, error) {
	const all = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT
	if flags&^all != 0 || flags&unix.RENAME_EXCHANGE != 0 && flags != unix.RENAME_EXCHANGE {
		return 0, unix.EINVAL
	}
	op, os, np, ns, err := twoPaths(t, oldfd, oldAddr, newfd, newAddr)
	if err != nil {
		return 0, err
	}
	defer os.done()
	defer ns.done()
	return 0, vfs.Rename(t, os.path(), op, ns.path(), np, flags)
}

// renameat(2)
func renameat(t *sentry.Task, oldfd int32, oldAddr usermem.Addr, newfd int32, newAddr usermem.Addr) (uintptr, error) {
	return renameat2(t, oldfd, oldAddr, newfd, newAddr, 0)
}

// rename(2)
func rename(t *sentry.Task, oldPath, newPath usermem.Addr) (uintptr, error) {
	return renameat2(t, cwdFD, oldPath, cwdFD, newPath, 0)
}

// readlinkat(2)
func readlinkat(t *sentry.Task, dirfd int32, addr, buf usermem.Addr, size int32) (uintptr, error) {
	if size <= 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	target, err := vfs.Readlink(t, s.path(), path)
	if err != nil {
		return 0, err
	}
	n := min(len(target), int(size))
	_, err = t.MM().CopyOut(buf, []byte(target[:n]))
	return uintptr(n), err
}

// readlink(2)
func readlink(t *sentry.Task, path, buf usermem.Addr, size int32) (uintptr, error) {
	return readlinkat(t, cwdFD, path, buf, size)
}

// faccessat2(2)
func faccessat2(t *sentry.Task, dirfd int32, addr usermem.Addr, mode, flags int32) (uintptr, error) {
	if mode&^7 != 0 || flags&^(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Access(t, s.path(), path, uint32(mode), int(flags))
}

// faccessat(2): the system call has no flags.
func faccessat(t *sentry.Task, dirfd int32, path usermem.Addr, mode int32) (uintptr, error) {
	return faccessat2(t, dirfd, path, mode, 0)
}

// access(2)
func access(t *sentry.Task, path usermem.Addr, mode int32) (uintptr, error) {
	return faccessat2(t, cwdFD, path, mode, 0)
}

// fchmodat2(2)
func fchmodat2(t *sentry.Task, dirfd int32, addr usermem.Addr, mode uint32, flags int32) (uintptr, error) {
	l, err := atFlags(flags, 0)
	if err != nil || flags&unix.AT_NO_AUTOMOUNT != 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Chmod(t, s.path(), path, mode&07777, l)
}

// fchmodat(2)
func fchmodat(t *sentry.Task, dirfd int32, path usermem.Addr, mode uint32) (uintptr, error) {
	return fchmodat2(t, dirfd, path, mode, 0)
}

// chmod(2)
func chmod(t *sentry.Task, path usermem.Addr, mode uint32) (uintptr, error) {
	return fchmodat2(t, cwdFD, path, mode, 0)
}

// fchmod(2)
func fchmod(t *sentry.Task, fd int32, mode uint32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, f.Path.Chmod(t, mode&07777)
}

// openFile is a descriptor's file that is not O_PATH.
func openFile(t *sentry.Task, fd int32) (*vfs.File, error) {
	f, err := t.Files().Get(fd)
	if err == nil && f.IsPathOnly() {
		f.DecRef()
		return nil, unix.EBADF
	}
	return f, err
}

// kernelIDs translates ids of the caller's user namespace; -1 stays -1.
func kernelIDs(t *sentry.Task, uid, gid uint32) (uint32, uint32, error) {
	const none = ^uint32(0)
	ns := t.Cred().UserNS
	if uid != none {
		if uid = ns.MapUIDToKernel(uid); uid == none {
			return 0, 0, unix.EINVAL
		}
	}
	if gid != none {
		if gid = ns.MapGIDToKernel(gid); gid == none {
			return 0, 0, unix.EINVAL
		}
	}
	return uid, gid, nil
}

// fchownat(2)
func fchownat(t *sentry.Task, dirfd int32, addr usermem.Addr, uid, gid uint32, flags int32) (uintptr, error) {
	l, err := atFlags(flags, 0)
	if err != nil || flags&unix.AT_NO_AUTOMOUNT != 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	if uid, gid, err = kernelIDs(t, uid, gid); err != nil {
		return 0, err
	}
	return 0, vfs.Chown(t, s.path(), path, uid, gid, l)
}

// chown(2)
func chown(t *sentry.Task, path usermem.Addr, uid, gid uint32) (uintptr, error) {
	return fchownat(t, cwdFD, path, uid, gid, 0)
}

// lchown(2)
func lchown(t *sentry.Task, path usermem.Addr, uid, gid uint32) (uintptr, error) {
	return fchownat(t, cwdFD, path, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// fchown(2)
func fchown(t *sentry.Task, fd int32, uid, gid uint32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if uid, gid, err = kernelIDs(t, uid, gid); err != nil {
		return 0, err
	}
	return 0, f.Path.Chown(t, uid, gid)
}

// truncate(2)
func truncate(t *sentry.Task, addr usermem.Addr, size int64) (uintptr, error) {
	if size < 0 {
		return 0, unix.EINVAL
	}
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Truncate(t, vfs.Path{}, path, size)
}

// ftruncate(2)
func ftruncate(t *sentry.Task, fd int32, size int64) (uintptr, error) {
	if size < 0 {
		return 0, unix.EINVAL
	}
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, f.Truncate(t, size)
}

// setTimes is what the five calls that set times share. Without a path it is dirfd's file.
func setTimes(t *sentry.Task, dirfd int32, addr usermem.Addr, times *[2]vfs.Timespec, flags int32) (uintptr, error) {
	if times != nil && times[0].Nsec == unix.UTIME_OMIT && times[1].Nsec == unix.UTIME_OMIT {
		return 0, nil
	}
	l, err := atFlags(flags, 0)
	if err != nil || flags&unix.AT_NO_AUTOMOUNT != 0 {
		return 0, unix.EINVAL
	}
	if addr == 0 && dirfd != cwdFD {
		if flags != 0 {
			return 0, unix.EINVAL
		}
		f, err := openFile(t, dirfd)
		if err != nil {
			return 0, err
		}
		defer f.DecRef()
		return 0, f.Path.Utimes(t, times)
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	return 0, vfs.Utimes(t, s.path(), path, times, l)
}

// utimensat(2)
func utimensat(t *sentry.Task, dirfd int32, path, timesAddr usermem.Addr, flags int32) (uintptr, error) {
	if timesAddr == 0 {
		return setTimes(t, dirfd, path, nil, flags)
	}
	var ts [2]vfs.Timespec
	if err := usermem.CopyObjectIn(t.MM(), timesAddr, &ts); err != nil {
		return 0, err
	}
	for _, s := range ts {
		if s.Nsec != unix.UTIME_NOW && s.Nsec != unix.UTIME_OMIT && uint64(s.Nsec) > 999999999 {
			return 0, unix.EINVAL
		}
	}
	return setTimes(t, dirfd, path, &ts, flags)
}

// futimesat(2)
func futimesat(t *sentry.Task, dirfd int32, path, timesAddr usermem.Addr) (uintptr, error) {
	if timesAddr == 0 {
		return setTimes(t, dirfd, path, nil, 0)
	}
	var tv [2]unix.Timeval
	if err := usermem.CopyObjectIn(t.MM(), timesAddr, &tv); err != nil {
		return 0, err
	}
	var ts [2]vfs.Timespec
	for i, v := range tv {
		if uint64(v.Usec) > 999999 {
			return 0, unix.EINVAL
		}
		ts[i] = vfs.Timespec{Sec: v.Sec, Nsec: v.Usec * 1000}
	}
	return setTimes(t, dirfd, path, &ts, 0)
}

// utimes(2)
func utimes(t *sentry.Task, path, times usermem.Addr) (uintptr, error) {
	return futimesat(t, cwdFD, path, times)
}

// utime(2)
func utime(t *sentry.Task, path, timesAddr usermem.Addr) (uintptr, error) {
	if timesAddr == 0 {
		return setTimes(t, cwdFD, path, nil, 0)
	}
	var v [2]int64
	if err := usermem.CopyObjectIn(t.MM(), timesAddr, &v); err != nil {
		return 0, err
	}
	return setTimes(t, cwdFD, path, &[2]vfs.Timespec{{Sec: v[0]}, {Sec: v[1]}}, 0)
}
