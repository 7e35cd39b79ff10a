package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// Stats is what stat(2) and statx(2) tell: Attr and where the inode is.
type Stats struct {
	Attr
	Ino       uint64
	Dev       uint64
	MountID   uint64
	MountRoot bool // STATX_ATTR_MOUNT_ROOT
}

// Stat resolves path and asks for its attributes.
func Stat(ctx Context, start Path, path string, flags LookupFlags) (Stats, error) {
	p, err := Lookup(ctx, start, path, flags)
	if err != nil {
		return Stats{}, err
	}
	s, err := p.Stat(ctx)
	p.DecRef()
	return s, err
}

// Stat asks for the attributes of p.
func (p Path) Stat(ctx Context) (Stats, error) {
	i := p.Inode()
	if i == nil {
		return Stats{}, unix.ENOENT
	}
	a, err := i.Ops.GetAttr(ctx, i)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{Attr: a, Ino: i.Ino}
	if i.SB != nil {
		s.Dev = i.SB.Dev
		if s.BlkSize == 0 {
			s.BlkSize = int32(i.SB.BlockSize)
		}
	}
	if d, ok := i.Ops.(DeviceNumberer); ok {
		s.Dev, s.Ino = d.DevIno(i)
	}
	if p.Mount != nil {
		s.MountID = uint64(p.Mount.ID)
		s.MountRoot = p.Mount.root == p.Dentry
	}
	return s, nil
}

// DeviceNumberer is for file systems whose inodes show other numbers than their superblock's
// (overlay, directories of the host).
type DeviceNumberer interface {
	DevIno(i *Inode) (dev, ino uint64)
}

// Stat asks for the attributes of an open file.
func (f *File) Stat(ctx Context) (Stats, error) { return f.Path.Stat(ctx) }

// setAttr applies a after its permissions have been checked, and tells who watches.
func setAttr(ctx Context, p Path, a *SetAttr) error {
	i := p.Inode()
	if err := i.Ops.SetAttr(ctx, i, a); err != nil {
		return err
	}
	i.noSec.Store(false)
	var mask uint32
	if a.Valid&(AttrMode|AttrUID|AttrGID) != 0 {
		mask |= unix.IN_ATTRIB
	}
	switch a.Valid & (AttrAtime | AttrMtime) {
	case AttrAtime | AttrMtime:
		mask |= unix.IN_ATTRIB
	case AttrAtime:
		mask |= unix.IN_ACCESS
	case AttrMtime:
		mask |= unix.IN_MODIFY
	}
	if a.Valid&AttrSize != 0 {
		mask |= unix.IN_MODIFY
	}
	if mask != 0 {
		notifyInode(i, mask, p.Dentry)
	}
	return nil
}

// mayChange: the checks that every change of attributes has in common.
func mayChange(p Path) error {
	if p.Inode() == nil {
		return unix.ENOENT
	}
	return p.WantWrite()
}

// Chmod is fchmodat(2).
func Chmod(ctx Context, start Path, path string, mode uint32, flags LookupFlags) error {
	p, err := Lookup(ctx, start, path, flags)
	if err != nil {
		return err
	}
	defer p.DecRef()
	return p.Chmod(ctx, mode)
}

// Chmod is fchmod(2).
func (p Path) Chmod(ctx Context, mode uint32) error {
	if err := mayChange(p); err != nil {
		return err
	}
	i := p.Inode()
	if isAppend(i) || isImmutable(i) {
		return unix.EPERM
	}
	if i.IsSymlink() {
		return unix.EOPNOTSUPP
	}
	if !OwnerOrCapable(ctx, i) {
		return unix.EPERM
	}
	mode &= 07777
	uid, gid := i.owner()
	if c := ctx.Cred(); !c.InGroup(gid) && !c.HasWRTInode(uid, gid, unix.CAP_FSETID) {
		mode &^= unix.S_ISGID
	}
	return setAttr(ctx, p, &SetAttr{Valid: AttrMode, Mode: mode})
}

// Chown is fchownat(2) with kernel ids; ^uint32(0) leaves an id as it is.
func Chown(ctx Context, start Path, path string, uid, gid uint32, flags LookupFlags) error {
	p, err := Lookup(ctx, start, path, flags)
	if err != nil {
		return err
	}
	defer p.DecRef()
	return p.Chown(ctx, uid, gid)
}

// Chown is fchown(2).
func (p Path) Chown(ctx Context, uid, gid uint32) error {
	if err := mayChange(p); err != nil {
		return err
	}
	i := p.Inode()
	if isAppend(i) || isImmutable(i) {
		return unix.EPERM
	}
	c := ctx.Cred()
	oldUID, oldGID := i.owner()
	a := &SetAttr{UID: uid, GID: gid}
	can := c.HasWRTInode(oldUID, oldGID, unix.CAP_CHOWN)
	if uid != cred.Invalid {
		if !can && (c.FSUID != oldUID || uid != oldUID) {
			return unix.EPERM
		}
		a.Valid |= AttrUID
	}
	if gid != cred.Invalid {
		if !can && (c.FSUID != oldUID || gid != oldGID && !c.InGroup(gid)) {
			return unix.EPERM
		}
		a.Valid |= AttrGID
	}
	if !i.IsDir() {
		a.Valid |= AttrKillPriv
	}
	if a.Valid&(AttrUID|AttrGID) == 0 {
		// Linux still updates ctime and drops privileges.
		if a.Valid == 0 {
			return nil
		}
	}
	return setAttr(ctx, p, a)
}

// Utimes is utimensat(2): nil times mean now; Nsec may be UTIME_NOW or UTIME_OMIT.
func Utimes(ctx Context, start Path, path string, times *[2]Timespec, flags LookupFlags) error {
	p, err := Lookup(ctx, start, path, flags)
	if err != nil {
		return err
	}
	defer p.DecRef()
	return p.Utimes(ctx, times)
}

// Utimes is futimens(3).
func (p Path) Utimes(ctx Context, times *[2]Timespec) error {
	a := &SetAttr{Valid: AttrAtime | AttrMtime | AttrAtimeNow | AttrMtimeNow}
	allNow := true
	if times != nil {
		a.Valid = 0
		for k, t := range times {
			set, now := AttrAtime, AttrAtimeNow
			if k == 1 {
				set, now = AttrMtime, AttrMtimeNow
			}
			switch {
			case t.Nsec == unix.UTIME_OMIT:
				allNow = false
			case t.Nsec == unix.UTIME_NOW:
				a.Valid |= set | now
			case t.Nsec < 0 || t.Nsec >= 1e9:
				return unix.EINVAL
			default:
				allNow = false
				a.Valid |= set
			}
		}
		a.Atime, a.Mtime = times[0], times[1]
		if a.Valid == 0 {
			return nil
		}
	}
	if err := mayChange(p); err != nil {
		return err
	}
	i := p.Inode()
	if isImmutable(i) || isAppend(i) && !allNow {
		return unix.EPERM
	}
	if !OwnerOrCapable(ctx, i) {
		if !allNow {
			return unix.EPERM
		}
		if err := Permission(ctx, i, MayWrite); err != nil {
			return err
		}
	}
	now := Now()
	if a.Valid&AttrAtimeNow != 0 {
		a.Atime = now
	}
	if a.Valid&AttrMtimeNow != 0 {
		a.Mtime = now
	}
	return setAttr(ctx, p, a)
}

// Truncate is truncate(2).
func Truncate(ctx Context, start Path, path string, size int64) error {
	p, err := Lookup(ctx, start, path, LookupFollow)
	if err != nil {
		return err
	}
	defer p.DecRef()
	return p.Truncate(ctx, size)
}

// Truncate changes the size with the checks of truncate(2).
func (p Path) Truncate(ctx Context, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	i := p.Inode()
	switch {
	case i == nil:
		return unix.ENOENT
	case i.IsDir():
		return unix.EISDIR
	case !i.IsRegular():
		return unix.EINVAL
	}
	if err := p.WantWrite(); err != nil {
		return err
	}
	if err := Permission(ctx, i, MayWrite); err != nil {
		return err
	}
	if isAppend(i) {
		return unix.EPERM
	}
	if !i.getWrite() {
		return unix.ETXTBSY
	}
	defer i.putWrite()
	if err := breakLease(ctx, i, true, false); err != nil {
		return err
	}
	return truncateInode(ctx, p, size, nil)
}

// Truncate is ftruncate(2).
func (f *File) Truncate(ctx Context, size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	if !f.Inode().IsRegular() || f.mode&modeWrite == 0 {
		return unix.EINVAL
	}
	if isAppend(f.Inode()) {
		return unix.EPERM
	}
	return truncateInode(ctx, f.Path, size, f)
}

func truncateInode(ctx Context, p Path, size int64, f *File) error {
	i := p.Inode()
	i.WriteMu.Lock()
	defer i.WriteMu.Unlock()
	if size > 0 {
		a, err := i.Ops.GetAttr(ctx, i)
		if err != nil {
			return err
		}
		if size > a.Size {
			if uint64(size) > ctx.Limit(unix.RLIMIT_FSIZE) {
				ctx.Signal(unix.SIGXFSZ)
				return unix.EFBIG
			}
			if size > i.SB.MaxBytes {
				return unix.EFBIG
			}
		}
	}
	valid := AttrSize
	m := i.Mode()
	if m&unix.S_ISUID != 0 || m&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
		uid, gid := i.owner()
		if !ctx.Cred().HasWRTInode(uid, gid, unix.CAP_FSETID) {
			valid |= AttrKillPriv
		}
	}
	return setAttr(ctx, p, &SetAttr{Valid: valid, Size: size, File: f})
}

// Accessed updates the access time of p as the mount's flags say, in the inode's cached
// attributes. Package vfs calls it for reads of files, directories and links.
func (p Path) Accessed() {
	i := p.Inode()
	if i == nil || p.Mount == nil || i.SB.flags.Load()&noAtimeSB != 0 {
		return
	}
	mf := p.Mount.flags.Load()
	if mf&(unix.MS_NOATIME|unix.MS_RDONLY) != 0 || mf&unix.MS_NODIRATIME != 0 && i.IsDir() || i.SB.ReadOnly() {
		return
	}
	i.mu.RLock()
	at, mt, ct := i.attr.Atime, i.attr.Mtime, i.attr.Ctime
	i.mu.RUnlock()
	now := Now()
	if mf&unix.MS_RELATIME != 0 && mf&unix.MS_STRICTATIME == 0 &&
		before(mt, at) && before(ct, at) && now.Sec-at.Sec < int64(24*time.Hour/time.Second) {
		return
	}
	i.mu.Lock()
	i.attr.Atime = now
	i.mu.Unlock()
}

// noAtimeSB in a superblock's flags: the file system keeps access times itself, or has none.
const noAtimeSB = unix.MS_NOATIME

func before(a, b Timespec) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec }

func (f *File) accessed() {
	if f.flags.Load()&unix.O_NOATIME == 0 && f.mode&modeTimeless == 0 {
		f.Path.Accessed()
	}
}
