package vfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

const (
	xattrNameMax = 255
	xattrSizeMax = 65536
)

// xattrPermission is who may read or change an attribute, by its name space.
func xattrPermission(ctx Context, p Path, name string, write bool) error {
	if name == "" || len(name) > xattrNameMax {
		return unix.ERANGE
	}
	i := p.Inode()
	if i == nil {
		return unix.ENOENT
	}
	mask := uint32(MayRead)
	if write {
		mask = MayWrite
		if isAppend(i) || isImmutable(i) {
			return unix.EPERM
		}
	}
	c := ctx.Cred()
	switch {
	case strings.HasPrefix(name, "security."):
		if !write {
			return nil
		}
		if name == "security.capability" {
			uid, gid := i.owner()
			if !c.HasWRTInode(uid, gid, unix.CAP_SETFCAP) {
				return unix.EPERM
			}
			return nil
		}
		ns := i.SB.UserNS
		if ns == nil {
			ns = cred.InitUserNS()
		}
		if !c.HasIn(ns, unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		return nil
	case strings.HasPrefix(name, "system."):
		return nil
	case strings.HasPrefix(name, "trusted."):
		if !c.HasInitial(unix.CAP_SYS_ADMIN) {
			if write {
				return unix.EPERM
			}
			return unix.ENODATA
		}
		return nil
	case strings.HasPrefix(name, "user."):
		t := i.Type()
		if t != unix.S_IFREG && t != unix.S_IFDIR {
			if write {
				return unix.EPERM
			}
			return unix.ENODATA
		}
		if t == unix.S_IFDIR && i.Mode()&unix.S_ISVTX != 0 && write && !OwnerOrCapable(ctx, i) {
			return unix.EPERM
		}
	}
	return Permission(ctx, i, mask)
}

// GetXattr is getxattr(2).
func (p Path) GetXattr(ctx Context, name string) ([]byte, error) {
	if err := xattrPermission(ctx, p, name, false); err != nil {
		return nil, err
	}
	i := p.Inode()
	return i.Ops.GetXattr(ctx, i, name)
}

// SetXattr is setxattr(2): flags are XATTR_CREATE and XATTR_REPLACE.
func (p Path) SetXattr(ctx Context, name string, value []byte, flags int) error {
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return unix.EINVAL
	}
	if len(value) > xattrSizeMax {
		return unix.E2BIG
	}
	if err := p.WantWrite(); err != nil {
		return err
	}
	if err := xattrPermission(ctx, p, name, true); err != nil {
		return err
	}
	i := p.Inode()
	i.noSec.Store(false)
	if err := i.Ops.SetXattr(ctx, i, name, value, flags); err != nil {
		return err
	}
	i.noSec.Store(false)
	notifyInode(i, unix.IN_ATTRIB, p.Dentry)
	return nil
}

// ListXattr is listxattr(2): the names that the caller may see.
func (p Path) ListXattr(ctx Context) ([]string, error) {
	i := p.Inode()
	if i == nil {
		return nil, unix.ENOENT
	}
	names, err := i.Ops.ListXattr(ctx, i)
	if err != nil || ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return names, err
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, "trusted.") }), nil
}

// RemoveXattr is removexattr(2).
func (p Path) RemoveXattr(ctx Context, name string) error {
	if err := p.WantWrite(); err != nil {
		return err
	}
	if err := xattrPermission(ctx, p, name, true); err != nil {
		return err
	}
	i := p.Inode()
	if err := i.Ops.RemoveXattr(ctx, i, name); err != nil {
		return err
	}
	i.noSec.Store(false)
	notifyInode(i, unix.IN_ATTRIB, p.Dentry)
	return nil
}
