package vfs

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// Kinds of access, as Permission takes them.
const (
	MayExec   = 1
	MayWrite  = 2
	MayRead   = 4
	MayAppend = 8
)

// Permission asks whether the caller may access i in all the ways of mask (Linux:
// inode_permission). Read-only mounts are not its business.
func Permission(ctx Context, i *Inode, mask uint32) error {
	if mask&MayWrite != 0 {
		m := i.Mode()
		if i.SB != nil && i.SB.ReadOnly() {
			switch m & unix.S_IFMT {
			case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
				return unix.EROFS
			}
		}
		if i.attrFlags.Load()&unix.STATX_ATTR_IMMUTABLE != 0 {
			return unix.EPERM
		}
	}
	if i.opFlags&opPermission != 0 {
		return i.Ops.(Permissioner).Permission(ctx, i, mask)
	}
	return GenericPermission(ctx, i, mask)
}

// GenericPermission is Permission by mode, owner and capabilities: what a Permissioner
// that has no objection goes on with.
func GenericPermission(ctx Context, i *Inode, mask uint32) error {
	mode := i.Mode()
	if mask == MayExec && mode&(unix.S_IFMT|0111) == unix.S_IFDIR|0111 {
		return nil // a directory that everyone may search
	}
	uid, gid := i.owner()
	return CheckMode(ctx.Cred(), mode, uid, gid, mask)
}

// CheckMode is the decision on mode, owner and capabilities alone.
func CheckMode(c *cred.Cred, mode, uid, gid uint32, mask uint32) error {
	mask &= MayRead | MayWrite | MayExec
	bits := mode
	switch {
	case c.FSUID == uid:
		bits = mode >> 6
	case mode>>3&7 != mode&7 && c.InGroup(gid):
		bits = mode >> 3
	}
	if mask&^bits == 0 {
		return nil
	}
	if mode&unix.S_IFMT == unix.S_IFDIR {
		if mask&MayWrite == 0 && c.HasWRTInode(uid, gid, unix.CAP_DAC_READ_SEARCH) {
			return nil
		}
		if c.HasWRTInode(uid, gid, unix.CAP_DAC_OVERRIDE) {
			return nil
		}
		return unix.EACCES
	}
	if mask == MayRead && c.HasWRTInode(uid, gid, unix.CAP_DAC_READ_SEARCH) {
		return nil
	}
	if (mask&MayExec == 0 || mode&0111 != 0) && c.HasWRTInode(uid, gid, unix.CAP_DAC_OVERRIDE) {
		return nil
	}
	return unix.EACCES
}

// OwnerOrCapable tells whether the caller owns i or has CAP_FOWNER over it.
func OwnerOrCapable(ctx Context, i *Inode) bool {
	c := ctx.Cred()
	uid, gid := i.owner()
	return c.FSUID == uid || c.HasWRTInode(uid, gid, unix.CAP_FOWNER)
}

// mayCreate: a new name in dir.
func mayCreate(ctx Context, p Path) error {
	if p.Dentry.has(dDeadDir) {
		return unix.ENOENT
	}
	c := ctx.Cred()
	if ns := p.Dentry.sb.UserNS; ns != nil && ns != cred.InitUserNS() {
		if ns.MapUIDFromKernel(c.FSUID) == cred.Invalid || ns.MapGIDFromKernel(c.FSGID) == cred.Invalid {
			return unix.EOVERFLOW
		}
	}
	return Permission(ctx, p.Inode(), MayWrite|MayExec)
}

// isAppend and isImmutable ask for the inode flags of chattr(1).
func isAppend(i *Inode) bool    { return i.attrFlags.Load()&unix.STATX_ATTR_APPEND != 0 }
func isImmutable(i *Inode) bool { return i.attrFlags.Load()&unix.STATX_ATTR_IMMUTABLE != 0 }

// mayDelete: victim goes from dir; wantDir says that it must be (or not be) a directory.
func mayDelete(ctx Context, dir *Dentry, victim *Dentry, wantDir bool) error {
	di, vi := dir.Inode(), victim.Inode()
	if vi == nil {
		return unix.ENOENT
	}
	if err := Permission(ctx, di, MayWrite|MayExec); err != nil {
		return err
	}
	if isAppend(di) {
		return unix.EPERM
	}
	if sticky(ctx, di, vi) || isAppend(vi) || isImmutable(vi) {
		return unix.EPERM
	}
	switch isDir := vi.IsDir(); {
	case wantDir && !isDir:
		return unix.ENOTDIR
	case wantDir && victim.IsRoot():
		return unix.EBUSY
	case !wantDir && isDir:
		return unix.EISDIR
	}
	if dir.has(dDeadDir) {
		return unix.ENOENT
	}
	return nil
}

// sticky tells whether a sticky directory forbids the caller to remove or rename victim.
func sticky(ctx Context, dir, victim *Inode) bool {
	if dir.Mode()&unix.S_ISVTX == 0 {
		return false
	}
	c := ctx.Cred()
	vu, vg := victim.owner()
	du, _ := dir.owner()
	return c.FSUID != vu && c.FSUID != du && !c.HasWRTInode(vu, vg, unix.CAP_FOWNER)
}
