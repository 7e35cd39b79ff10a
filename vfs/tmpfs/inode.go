package tmpfs

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// maxXattrBytes bounds what the attributes of one inode take; Linux bounds them by the
// file system's free inodes, which here are not memory.
const maxXattrBytes = 1 << 20

// node is what all inodes have.
type node struct {
	vfs.DefaultInodeOps
	fs *fileSystem

	// xattrMu protects the extended attributes.
	xattrMu    sync.RWMutex
	xattrs     map[string][]byte
	xattrBytes int
}

// Evict implements vfs.InodeOps.
func (n *node) Evict(*vfs.Inode) {
	n.fs.inodes.Add(-1)
	if n.xattrBytes != 0 {
		n.fs.mem.UnchargeKernel(int64(n.xattrBytes))
	}
}

// SetAttr implements vfs.InodeOps.
func (n *node) SetAttr(_ vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error {
	if a.Valid&vfs.AttrSize != 0 {
		return unix.EINVAL
	}
	n.setAttr(i, a)
	return nil
}

// setAttr applies all but the size.
func (n *node) setAttr(i *vfs.Inode, a *vfs.SetAttr) {
	if a.Valid&vfs.AttrKillPriv != 0 {
		n.removeXattr(cred.XattrCaps)
	}
	now := vfs.Now()
	i.UpdateAttr(func(at *vfs.Attr) {
		if a.Valid&vfs.AttrUID != 0 {
			at.UID = a.UID
		}
		if a.Valid&vfs.AttrGID != 0 {
			at.GID = a.GID
		}
		if a.Valid&vfs.AttrKillPriv != 0 {
			at.Mode = cred.KillPriv(at.Mode)
		}
		if a.Valid&vfs.AttrMode != 0 {
			at.Mode = at.Mode&unix.S_IFMT | a.Mode&07777
		}
		switch {
		case a.Valid&vfs.AttrAtimeNow != 0:
			at.Atime = now
		case a.Valid&vfs.AttrAtime != 0:
			at.Atime = a.Atime
		}
		switch {
		case a.Valid&vfs.AttrMtimeNow != 0:
			at.Mtime = now
		case a.Valid&vfs.AttrMtime != 0:
			at.Mtime = a.Mtime
		}
		at.Ctime = now
	})
}

func checkXattrName(name string) error {
	for _, prefix := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, prefix) {
			if len(name) == len(prefix) {
				return unix.EINVAL
			}
			return nil
		}
	}
	return unix.EOPNOTSUPP
}

// GetXattr implements vfs.InodeOps.
func (n *node) GetXattr(_ vfs.Context, _ *vfs.Inode, name string) ([]byte, error) {
	if err := checkXattrName(name); err != nil {
		return nil, err
	}
	n.xattrMu.RLock()
	defer n.xattrMu.RUnlock()
	v, ok := n.xattrs[name]
	if !ok {
		return nil, unix.ENODATA
	}
	return slices.Clone(v), nil
}

// SetXattr implements vfs.InodeOps.
func (n *node) SetXattr(_ vfs.Context, i *vfs.Inode, name string, value []byte, flags int) error {
	if err := checkXattrName(name); err != nil {
		return err
	}
	n.xattrMu.Lock()
	old, ok := n.xattrs[name]
	total := n.xattrBytes + len(value) - len(old)
	if !ok {
		total += len(name) + 32
	}
	switch {
	case ok && flags&unix.XATTR_CREATE != 0:
		n.xattrMu.Unlock()
		return unix.EEXIST
	case !ok && flags&unix.XATTR_REPLACE != 0:
		n.xattrMu.Unlock()
		return unix.ENODATA
	case total > maxXattrBytes:
		n.xattrMu.Unlock()
		return unix.ENOSPC
	}
	if err := n.fs.mem.ChargeKernel(int64(total - n.xattrBytes)); err != nil {
		n.xattrMu.Unlock()
		return err
	}
	if n.xattrs == nil {
		n.xattrs = make(map[string][]byte)
	}
	n.xattrs[name] = slices.Clone(value)
	n.xattrBytes = total
	n.xattrMu.Unlock()
	i.UpdateAttr(func(a *vfs.Attr) { a.Ctime = vfs.Now() })
	return nil
}

// ListXattr implements vfs.InodeOps.
func (n *node) ListXattr(ctx vfs.Context, _ *vfs.Inode) ([]string, error) {
	trusted := ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN)
	n.xattrMu.RLock()
	defer n.xattrMu.RUnlock()
	var names []string
	for name := range n.xattrs {
		if trusted || !strings.HasPrefix(name, "trusted.") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// RemoveXattr implements vfs.InodeOps.
func (n *node) RemoveXattr(_ vfs.Context, i *vfs.Inode, name string) error {
	if err := checkXattrName(name); err != nil {
		return err
	}
	if !n.removeXattr(name) {
		return unix.ENODATA
	}
	i.UpdateAttr(func(a *vfs.Attr) { a.Ctime = vfs.Now() })
	return nil
}

func (n *node) removeXattr(name string) bool {
	n.xattrMu.Lock()
	defer n.xattrMu.Unlock()
	v, ok := n.xattrs[name]
	if ok {
		less := len(v) + len(name) + 32
		n.xattrBytes -= less
		n.fs.mem.UnchargeKernel(int64(less))
		delete(n.xattrs, name)
	}
	return ok
}

// symlink is a symbolic link.
type symlink struct {
	node
	target string
}

// Readlink implements vfs.InodeOps.
func (s *symlink) Readlink(vfs.Context, *vfs.Inode) (string, error) { return s.target, nil }

// special is a FIFO, socket or device node; package vfs opens them.
type special struct{ node }
