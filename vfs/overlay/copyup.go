package overlay

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
)

// tempName is a new name for the work directory.
func (fs *fileSystem) tempName() string { return "#" + strconv.FormatUint(fs.temp.Add(1), 16) }

// copyUp makes sure that i has an upper inode. Not more than size bytes of data are needed, all if it
// is negative. ctx is a context for the layers.
func (i *inode) copyUp(ctx vfs.Context, size int64) error {
	if i.upper.Load() != nil {
		return nil
	}
	i.copyMu.Lock()
	defer i.copyMu.Unlock()
	return i.copyUpLocked(ctx, size)
}

func (i *inode) copyUpLocked(ctx vfs.Context, size int64) error {
	fs := i.fs
	if i.upper.Load() != nil {
		return nil
	}
	if fs.upper == nil {
		return unix.EROFS
	}
	parent, name := i.location()
	if parent != nil {
		if err := parent.copyUp(ctx, -1); err != nil {
			return err
		}
	}
	lower := i.lower[0].Path
	li := lower.Inode()
	attr, err := li.Ops.GetAttr(ctx, li)
	if err != nil {
		return err
	}

	if parent == nil {
		// Without a name it stays without.
		if attr.Mode&unix.S_IFMT != unix.S_IFREG {
			return unix.ENOENT
		}
		f, err := vfs.Open(ctx, fs.work, ".", unix.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0600})
		if err != nil {
			return err
		}
		defer f.DecRef()
		if err := fs.fill(ctx, lower, f.Path, &attr, size); err != nil {
			return err
		}
		f.Path.IncRef()
		i.publish(ctx, f.Path, &attr)
		return nil
	}

	temp := fs.tempName()
	up, err := fs.makeTemp(ctx, temp, lower, &attr)
	if err != nil {
		return err
	}
	err = fs.fill(ctx, lower, up, &attr, size)
	if err == nil && attr.Mode&unix.S_IFMT != unix.S_IFDIR {
		// Not every upper layer has attributes; then the number changes when the inode is forgotten.
		_ = fs.setXattr(ctx, up, "origin", originValue(i.self.Ino))
		fs.setTimes(ctx, up, &attr)
	}
	if err == nil {
		dir := *parent.upper.Load()
		di := dir.Inode()
		da, _ := di.Ops.GetAttr(ctx, di)
		err = vfs.Rename(ctx, fs.work, temp, dir, name, 0)
		if err == nil {
			fs.setTimes(ctx, dir, &da)
		}
	}
	if err != nil {
		up.DecRef()
		if attr.Mode&unix.S_IFMT == unix.S_IFDIR {
			_ = vfs.Rmdir(ctx, fs.work, temp)
		} else {
			_ = vfs.Unlink(ctx, fs.work, temp)
		}
		return err
	}
	i.publish(ctx, up, &attr)
	return nil
}

// publish makes up the upper inode, whose reference it takes over. copyMu is held.
func (i *inode) publish(ctx vfs.Context, up vfs.Path, lower *vfs.Attr) {
	fs := i.fs
	ui := up.Inode()
	fs.mu.Lock()
	if lower.Mode&unix.S_IFMT != unix.S_IFDIR && lower.Nlink > 1 {
		c := i.linksLocked(lower.Nlink)
		u := up
		u.IncRef()
		c.upper.Store(&u)
		fs.copied[ui] = c
		if parent, _ := i.location(); parent != nil {
			c.names.Add(-1) // this one is the upper's now
		}
	}
	i.upper.Store(&up)
	fs.inodes[ui] = i
	fs.mu.Unlock()
	i.sync(ctx)
}

// linksLocked is i's entry in the index, made if there is none; n is the lower inode's number of
// links. fs.mu is held.
func (i *inode) linksLocked(n uint32) *links {
	if c := i.shared.Load(); c != nil {
		return c
	}
	c := &links{lower: i.lower[0].Path}
	c.lower.IncRef()
	c.names.Store(int32(n))
	i.fs.index[c.lower.Inode()] = c
	i.shared.Store(c)
	return c
}

// makeTemp makes an inode like lower in the work directory.
func (fs *fileSystem) makeTemp(ctx vfs.Context, temp string, lower vfs.Path, a *vfs.Attr) (vfs.Path, error) {
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := vfs.Mkdir(ctx, fs.work, temp, 0700); err != nil {
			return vfs.Path{}, err
		}
		return vfs.Lookup(ctx, fs.work, temp, 0)
	case unix.S_IFLNK:
		li := lower.Inode()
		target, err := li.Ops.Readlink(ctx, li)
		if err != nil {
			return vfs.Path{}, err
		}
		if err := vfs.Symlink(ctx, target, fs.work, temp); err != nil {
			return vfs.Path{}, err
		}
		return vfs.Lookup(ctx, fs.work, temp, 0)
	case unix.S_IFREG:
		return vfs.MknodAt(ctx, fs.work, temp, unix.S_IFREG|0600, 0)
	}
	return vfs.MknodAt(ctx, fs.work, temp, a.Mode&unix.S_IFMT|0600, a.Rdev)
}

// fill copies data and attributes.
func (fs *fileSystem) fill(ctx vfs.Context, lower, up vfs.Path, a *vfs.Attr, size int64) error {
	if a.Mode&unix.S_IFMT == unix.S_IFREG {
		if size < 0 || size > a.Size {
			size = a.Size
		}
		if size > 0 {
			if err := copyData(ctx, lower, up, size); err != nil {
				return err
			}
		}
	}
	if err := fs.copyXattrs(ctx, lower, up); err != nil {
		return err
	}
	ui := up.Inode()
	set := &vfs.SetAttr{Valid: vfs.AttrUID | vfs.AttrGID, UID: a.UID, GID: a.GID}
	if err := ui.Ops.SetAttr(ctx, ui, set); err != nil {
		return err
	}
	if a.Mode&unix.S_IFMT != unix.S_IFLNK {
		set = &vfs.SetAttr{Valid: vfs.AttrMode, Mode: a.Mode & 07777}
		if err := ui.Ops.SetAttr(ctx, ui, set); err != nil {
			return err
		}
	}
	fs.setTimes(ctx, up, a)
	return nil
}

// setTimes gives p the times in a.
func (fs *fileSystem) setTimes(ctx vfs.Context, p vfs.Path, a *vfs.Attr) {
	i := p.Inode()
	_ = i.Ops.SetAttr(ctx, i, &vfs.SetAttr{Valid: vfs.AttrAtime | vfs.AttrMtime, Atime: a.Atime, Mtime: a.Mtime})
}

// copyBuf is how much is copied at once.
const copyBuf = 256 << 10

// copyData copies the first size bytes of a file. Where there are only zeroes a hole is left.
func copyData(ctx vfs.Context, lower, up vfs.Path, size int64) error {
	in, err := vfs.OpenPath(ctx, lower, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.DecRef()
	out, err := vfs.OpenPath(ctx, up, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer out.DecRef()
	buf := make([]byte, min(copyBuf, size))
	for off := int64(0); off < size; {
		n, err := in.ReadKernel(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil {
			return err
		}
		if n == 0 {
			size = off // it is shorter than it was
			break
		}
		if !allZero(buf[:n]) {
			src := usermem.Bytes(buf[:n])
			for src.Len() > 0 {
				k, err := out.PWrite(ctx, &src, off+int64(n)-int64(src.Len()), 0)
				if err != nil {
					return err
				}
				if k == 0 {
					return unix.EIO
				}
			}
		}
		off += int64(n)
	}
	if err := out.Truncate(ctx, size); err != nil {
		return err
	}
	return out.Ops.Flush(ctx, out)
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// copyXattrs copies the user's attributes. Those that the upper layer does not take are left out, but
// for security ones: a file must not lose what restricts it.
func (fs *fileSystem) copyXattrs(ctx vfs.Context, lower, up vfs.Path) error {
	li, ui := lower.Inode(), up.Inode()
	names, err := li.Ops.ListXattr(ctx, li)
	if err != nil {
		if err == unix.EOPNOTSUPP {
			return nil
		}
		return err
	}
	for _, name := range names {
		if fs.isOwnXattr(name) || strings.HasPrefix(name, "system.") {
			continue
		}
		v, err := li.Ops.GetXattr(ctx, li, name)
		if err == unix.ENODATA {
			continue
		}
		if err == nil {
			err = ui.Ops.SetXattr(ctx, ui, name, v, 0)
		}
		if err == unix.EOPNOTSUPP && !strings.HasPrefix(name, "security.") {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ensureName makes sure that the name of i in dir is the upper layer's. Both have been copied up;
// i's copyMu is held.
func (i *inode) ensureName(ctx vfs.Context, dir *inode, name string) error {
	p, white, err := dir.lookupUpper(ctx, name)
	if err == nil {
		p.DecRef()
		if white {
			return unix.ENOENT
		}
		return nil
	}
	if err != unix.ENOENT {
		return err
	}
	// A lower name of an inode that was copied up by another name.
	if err := vfs.Link(ctx, *i.upper.Load(), "", *dir.upper.Load(), name, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if c := i.shared.Load(); c != nil {
		c.names.Add(-1)
	}
	return nil
}
