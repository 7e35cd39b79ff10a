package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// Calls about things that a sandbox does not have. They answer as Linux does to a caller who may not,
// or on a file system that cannot.

const maxHandle = 128 // MAX_HANDLE_SZ

// name_to_handle_at(2): no file system here gives handles.
func nameToHandleAt(t *sentry.Task, dirfd int32, addr, handle, mountID usermem.Addr, flags int32) (uintptr, error) {
	const handleFID, handleUnique, connectable = 0x200, 1, 2
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH|handleFID|handleUnique|connectable) != 0 {
		return 0, unix.EINVAL
	}
	path, s, err := copyPathAt(t, dirfd, addr)
	if err != nil {
		return 0, err
	}
	defer s.done()
	var l vfs.LookupFlags
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		l |= vfs.LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		l |= vfs.LookupEmpty
	}
	p, err := vfs.Lookup(t, s.path(), path, l)
	if err != nil {
		return 0, err
	}
	p.DecRef()
	return 0, unix.EOPNOTSUPP
}

// open_by_handle_at(2)
func openByHandleAt(t *sentry.Task, dirfd int32, handle usermem.Addr, flags int32) (uintptr, error) {
	if dirfd != cwdFD {
		f, err := t.Files().Get(dirfd)
		if err != nil {
			return 0, err
		}
		f.DecRef()
	}
	if !t.Cred().HasInitial(unix.CAP_DAC_READ_SEARCH) {
		return 0, unix.EPERM
	}
	var h struct {
		Bytes uint32
		Type  int32
	}
	if err := usermem.CopyObjectIn(t.MM(), handle, &h); err != nil {
		return 0, err
	}
	if h.Bytes > maxHandle || h.Bytes == 0 {
		return 0, unix.EINVAL
	}
	return 0, unix.ESTALE // no handle was ever given out
}

// quotactl(2): there are no quotas on the file systems here, and no block devices that carry them.
func quotactl(t *sentry.Task, cmd uint32, special usermem.Addr, id uint32, addr usermem.Addr) (uintptr, error) {
	const subcmdShift, maxQuotas, qSync = 8, 3, 0x800001
	if cmd&0xff >= maxQuotas {
		return 0, unix.EINVAL
	}
	if special == 0 {
		if cmd>>subcmdShift == qSync {
			return 0, nil
		}
		return 0, unix.ENODEV
	}
	return withPath(t, special, true, func(p vfs.Path) (uintptr, error) {
		if p.Inode().Type() != unix.S_IFBLK {
			return 0, unix.ENOTBLK
		}
		return 0, unix.ENODEV
	})
}

// quotactl_fd(2)
func quotactlFD(t *sentry.Task, fd, cmd uint32, id uint32, addr usermem.Addr) (uintptr, error) {
	f, err := t.Files().Get(int32(fd))
	if err != nil {
		return 0, err
	}
	f.DecRef()
	if cmd&0xff >= 3 {
		return 0, unix.EINVAL
	}
	return 0, unix.ENOSYS // the file system has no quota operations
}

// bpf(2)
func bpf(t *sentry.Task, _ int32, _ usermem.Addr, _ uint32) (uintptr, error) {
	return needCap(t, unix.CAP_SYS_ADMIN, unix.ENOSYS)
}

// landlock_create_ruleset(2), on a kernel where Landlock is built in but not started
func landlockCreateRuleset(*sentry.Task, usermem.Addr, uint64, uint32) (uintptr, error) {
	return 0, unix.EOPNOTSUPP
}

// landlock_add_rule(2)
func landlockAddRule(*sentry.Task, int32, int32, usermem.Addr, uint32) (uintptr, error) {
	return 0, unix.EOPNOTSUPP
}

// landlock_restrict_self(2)
func landlockRestrictSelf(*sentry.Task, int32, uint32) (uintptr, error) {
	return 0, unix.EOPNOTSUPP
}
