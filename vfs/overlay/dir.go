package overlay

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// make makes a new inode named name: f makes it in a directory of the upper layer, under a name, with a
// context that has the owner.
func (i *inode) make(ctx vfs.Context, name string, mode uint32, f func(ctx vfs.Context, dir vfs.Path, name string) error) (*vfs.Inode, error) {
	fs := i.fs
	uid, gid, mode := vfs.InitOwner(ctx, i.self, mode)
	lctx := fs.context(ctx)
	if err := i.copyUp(lctx, -1); err != nil {
		return nil, err
	}
	dir := *i.upper.Load()
	cctx := fs.creator(ctx, uid, gid)
	old, white, err := i.lookupUpper(lctx, name)
	old.DecRef()
	switch {
	case err == unix.ENOENT:
		if err := f(cctx, dir, name); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !white:
		return nil, unix.EEXIST
	default:
		if err := fs.replaceWhiteout(lctx, cctx, dir, name, gid, mode, f); err != nil {
			return nil, err
		}
	}
	up, err := vfs.Lookup(lctx, dir, name, 0)
	if err != nil {
		return nil, err
	}
	i.sync(lctx)
	return fs.inode(lctx, i, name, up, nil)
}

// replaceWhiteout makes the new inode in the work directory and moves it over the whiteout.
func (fs *fileSystem) replaceWhiteout(ctx, cctx vfs.Context, dir vfs.Path, name string, gid, mode uint32, f func(ctx vfs.Context, dir vfs.Path, name string) error) error {
	temp := fs.tempName()
	if err := f(cctx, fs.work, temp); err != nil {
		return err
	}
	isDir := mode&unix.S_IFMT == unix.S_IFDIR
	p, err := vfs.Lookup(ctx, fs.work, temp, 0)
	if err == nil {
		// Set-group-id was not inherited there.
		ui := p.Inode()
		if mode&unix.S_IFMT != unix.S_IFLNK && ui.Mode() != mode {
			err = ui.Ops.SetAttr(ctx, ui, &vfs.SetAttr{Valid: vfs.AttrMode | vfs.AttrGID, Mode: mode & 07777, GID: gid})
		}
		if err == nil && isDir {
			err = fs.setXattr(ctx, p, "opaque", "y")
		}
		p.DecRef()
	}
	if err == nil {
		if isDir {
			if err = vfs.Rename(ctx, fs.work, temp, dir, name, unix.RENAME_EXCHANGE); err == nil {
				_ = vfs.Unlink(ctx, fs.work, temp) // the whiteout
				return nil
			}
		} else if err = vfs.Rename(ctx, fs.work, temp, dir, name, 0); err == nil {
			return nil
		}
	}
	if isDir {
		_ = vfs.Rmdir(ctx, fs.work, temp)
	} else {
		_ = vfs.Unlink(ctx, fs.work, temp)
	}
	return err
}

// Create implements vfs.InodeOps.
func (i *inode) Create(ctx vfs.Context, _ *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	return i.mknod(ctx, name, unix.S_IFREG|mode&07777, 0)
}

// Mknod implements vfs.InodeOps.
func (i *inode) Mknod(ctx vfs.Context, _ *vfs.Inode, name string, mode uint32, rdev uint64) (*vfs.Inode, error) {
	if mode&unix.S_IFMT == unix.S_IFCHR && rdev == 0 {
		return nil, unix.EPERM // that is a whiteout
	}
	return i.mknod(ctx, name, mode, rdev)
}

func (i *inode) mknod(ctx vfs.Context, name string, mode uint32, rdev uint64) (*vfs.Inode, error) {
	return i.make(ctx, name, mode, func(ctx vfs.Context, dir vfs.Path, name string) error {
		return vfs.Mknod(ctx, dir, name, mode, rdev)
	})
}

// Mkdir implements vfs.InodeOps.
func (i *inode) Mkdir(ctx vfs.Context, _ *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	return i.make(ctx, name, unix.S_IFDIR|mode&07777, func(ctx vfs.Context, dir vfs.Path, name string) error {
		return vfs.Mkdir(ctx, dir, name, mode&07777)
	})
}

// Symlink implements vfs.InodeOps.
func (i *inode) Symlink(ctx vfs.Context, _ *vfs.Inode, name, target string) (*vfs.Inode, error) {
	return i.make(ctx, name, unix.S_IFLNK|0777, func(ctx vfs.Context, dir vfs.Path, name string) error {
		return vfs.Symlink(ctx, target, dir, name)
	})
}

// Tmpfile implements vfs.InodeOps.
func (i *inode) Tmpfile(ctx vfs.Context, _ *vfs.Inode, mode uint32) (*vfs.Inode, error) {
	fs := i.fs
	uid, gid, mode := vfs.InitOwner(ctx, i.self, unix.S_IFREG|mode&07777)
	lctx := fs.context(ctx)
	if err := i.copyUp(lctx, -1); err != nil {
		return nil, err
	}
	f, err := vfs.Open(fs.creator(ctx, uid, gid), *i.upper.Load(), ".",
		unix.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: uint64(mode & 07777)})
	if err != nil {
		return nil, err
	}
	defer f.DecRef()
	f.Path.IncRef()
	return fs.inode(lctx, nil, "", f.Path, nil)
}

// Link implements vfs.InodeOps.
func (i *inode) Link(ctx vfs.Context, _ *vfs.Inode, name string, target *vfs.Inode) (*vfs.Inode, error) {
	fs := i.fs
	t := overlayOf(target)
	lctx := fs.context(ctx)
	if err := t.copyUp(lctx, -1); err != nil {
		return nil, err
	}
	if err := i.copyUp(lctx, -1); err != nil {
		return nil, err
	}
	dir, from := *i.upper.Load(), *t.upper.Load()
	old, white, err := i.lookupUpper(lctx, name)
	old.DecRef()
	switch {
	case err == unix.ENOENT:
		err = vfs.Link(lctx, from, "", dir, name, unix.AT_EMPTY_PATH)
	case err == nil && !white:
		err = unix.EEXIST
	case err == nil:
		temp := fs.tempName()
		if err = vfs.Link(lctx, from, "", fs.work, temp, unix.AT_EMPTY_PATH); err == nil {
			if err = vfs.Rename(lctx, fs.work, temp, dir, name, 0); err != nil {
				_ = vfs.Unlink(lctx, fs.work, temp)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	t.setLocation(i, name)
	t.sync(lctx)
	i.sync(lctx)
	target.IncRef()
	return target, nil
}

// Unlink implements vfs.InodeOps.
func (i *inode) Unlink(ctx vfs.Context, _ *vfs.Inode, name string, victim *vfs.Inode) error {
	return i.remove(ctx, name, overlayOf(victim))
}

// Rmdir implements vfs.InodeOps.
func (i *inode) Rmdir(ctx vfs.Context, _ *vfs.Inode, name string, victim *vfs.Inode) error {
	v := overlayOf(victim)
	if err := v.checkEmpty(i.fs.context(ctx)); err != nil {
		return err
	}
	return i.remove(ctx, name, v)
}

// checkEmpty is ENOTEMPTY if the merged directory has entries.
func (i *inode) checkEmpty(ctx vfs.Context) error {
	list, err := i.list(ctx)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return unix.ENOTEMPTY
	}
	return nil
}

func (i *inode) remove(ctx vfs.Context, name string, v *inode) error {
	fs := i.fs
	ctx = fs.context(ctx)
	if err := i.copyUp(ctx, -1); err != nil {
		return err
	}
	// Who is copying the victim up must not bring it back.
	v.copyMu.Lock()
	defer v.copyMu.Unlock()
	covers, err := i.lowerHas(ctx, name)
	if err != nil {
		return err
	}
	old, _, err := i.lookupUpper(ctx, name)
	old.DecRef()
	upperHas := err == nil
	if err != nil && err != unix.ENOENT {
		return err
	}
	dir := *i.upper.Load()
	isDir := v.self.IsDir()
	switch {
	case !covers && !upperHas:
		return unix.ENOENT
	case !covers && !isDir:
		err = vfs.Unlink(ctx, dir, name)
	case !covers:
		err = fs.removeDir(ctx, dir, name)
	case !upperHas:
		err = vfs.Mknod(ctx, dir, name, unix.S_IFCHR, 0)
	default:
		err = fs.coverWithWhiteout(ctx, dir, name, isDir)
	}
	if err != nil {
		return err
	}
	v.lostName(i, name, upperHas)
	v.sync(ctx)
	if isDir {
		v.self.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
	}
	i.sync(ctx)
	return nil
}

// lostName is told that a name of i has gone. copyMu is held.
func (i *inode) lostName(dir *inode, name string, wasUpper bool) {
	if p, n := i.location(); p == dir && n == name {
		i.setLocation(nil, "")
	}
	if wasUpper || len(i.lower) == 0 && i.shared.Load() == nil || i.self.IsDir() {
		return
	}
	c := i.shared.Load()
	if c == nil {
		a := i.lower[0].Inode().Attr()
		if a.Nlink <= 1 {
			i.self.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
			i.unlinked.Store(true)
			return
		}
		i.fs.mu.Lock()
		c = i.linksLocked(a.Nlink)
		i.fs.mu.Unlock()
	}
	c.names.Add(-1)
}

// removeDir removes an upper directory in which there may be whiteouts.
func (fs *fileSystem) removeDir(ctx vfs.Context, dir vfs.Path, name string) error {
	err := vfs.Rmdir(ctx, dir, name)
	if err != unix.ENOTEMPTY {
		return err
	}
	temp := fs.tempName()
	if err := vfs.Rename(ctx, dir, name, fs.work, temp, 0); err != nil {
		return err
	}
	fs.discard(ctx, temp)
	return nil
}

// discard removes a name of the work directory, with what is beneath it.
func (fs *fileSystem) discard(ctx vfs.Context, temp string) {
	p, err := vfs.Lookup(ctx, fs.work, temp, 0)
	if err != nil {
		return
	}
	isDir := p.Inode().IsDir()
	if isDir {
		_ = fs.removeTree(ctx, p)
	}
	p.DecRef()
	if isDir {
		_ = vfs.Rmdir(ctx, fs.work, temp)
	} else {
		_ = vfs.Unlink(ctx, fs.work, temp)
	}
}

// coverWithWhiteout replaces an upper name by a whiteout, in one step.
func (fs *fileSystem) coverWithWhiteout(ctx vfs.Context, dir vfs.Path, name string, isDir bool) error {
	temp := fs.tempName()
	if err := vfs.Mknod(ctx, fs.work, temp, unix.S_IFCHR, 0); err != nil {
		return err
	}
	var flags uint32
	if isDir {
		flags = unix.RENAME_EXCHANGE
	}
	if err := vfs.Rename(ctx, fs.work, temp, dir, name, flags); err != nil {
		_ = vfs.Unlink(ctx, fs.work, temp)
		return err
	}
	if isDir {
		fs.discard(ctx, temp)
	}
	return nil
}

// lockPair locks the copyMu of one or two inodes.
func lockPair(a, b *inode) func() {
	if b == nil || a == b {
		a.copyMu.Lock()
		return a.copyMu.Unlock
	}
	// Of two files, or two directories that a rename holds, neither is the other's parent
	// while both are copied up already or are leaves; the numbers give an order.
	if a.self.Ino > b.self.Ino {
		a, b = b, a
	}
	a.copyMu.Lock()
	b.copyMu.Lock()
	return func() {
		b.copyMu.Unlock()
		a.copyMu.Unlock()
	}
}

// Rename implements vfs.InodeOps.
func (i *inode) Rename(ctx vfs.Context, _ *vfs.Inode, oldName string, src *vfs.Inode, newDir *vfs.Inode, newName string, victim *vfs.Inode, flags uint32) error {
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return unix.EINVAL
	}
	fs := i.fs
	lctx := fs.context(ctx)
	exchange := flags&unix.RENAME_EXCHANGE != 0
	to, s := overlayOf(newDir), overlayOf(src)
	var v *inode
	if victim != nil {
		v = overlayOf(victim)
	}
	// Directories of lower layers stay where they are.
	if src.IsDir() && len(s.lower) > 0 || exchange && victim.IsDir() && len(v.lower) > 0 {
		return unix.EXDEV
	}
	if v != nil && !exchange && victim.IsDir() {
		if err := v.checkEmpty(lctx); err != nil {
			return err
		}
	}
	if err := s.copyUp(lctx, -1); err != nil {
		return err
	}
	if exchange {
		if err := v.copyUp(lctx, -1); err != nil {
			return err
		}
	}
	if err := i.copyUp(lctx, -1); err != nil {
		return err
	}
	if err := to.copyUp(lctx, -1); err != nil {
		return err
	}

	defer lockPair(s, v)()
	if err := s.ensureName(lctx, i, oldName); err != nil {
		return err
	}
	if exchange {
		if err := v.ensureName(lctx, to, newName); err != nil {
			return err
		}
	}
	coverOld, err := i.lowerHas(lctx, oldName)
	if err != nil {
		return err
	}
	coversNew, err := to.lowerHas(lctx, newName)
	if err != nil {
		return err
	}
	// A directory must not be merged with what happens to be below its new place.
	if src.IsDir() && coversNew {
		if err := fs.setXattr(lctx, *s.upper.Load(), "opaque", "y"); err != nil {
			return err
		}
	}
	if exchange && victim.IsDir() && coverOld {
		if err := fs.setXattr(lctx, *v.upper.Load(), "opaque", "y"); err != nil {
			return err
		}
	}
	from, into := *i.upper.Load(), *to.upper.Load()
	there, white, err := to.lookupUpper(lctx, newName)
	there.DecRef()
	if err != nil && err != unix.ENOENT {
		return err
	}
	victimUpper := err == nil && !white
	switch {
	case exchange:
		err = vfs.Rename(lctx, from, oldName, into, newName, unix.RENAME_EXCHANGE)
	case src.IsDir() && err == nil:
		// Over a whiteout, or a directory that may hold whiteouts: swap, and remove what was there.
		if err = vfs.Rename(lctx, from, oldName, into, newName, unix.RENAME_EXCHANGE); err != nil {
			break
		}
		switch {
		case white && coverOld:
			// The whiteout is where it is needed.
		case white:
			err = vfs.Unlink(lctx, from, oldName)
		case coverOld:
			err = fs.coverWithWhiteout(lctx, from, oldName, true)
		default:
			err = fs.removeDir(lctx, from, oldName)
		}
	case coverOld:
		err = vfs.Rename(lctx, from, oldName, into, newName, unix.RENAME_WHITEOUT)
		if err == unix.EINVAL {
			// The upper layer cannot do it in one step.
			if err = vfs.Rename(lctx, from, oldName, into, newName, 0); err == nil {
				err = vfs.Mknod(lctx, from, oldName, unix.S_IFCHR, 0)
			}
		}
	default:
		err = vfs.Rename(lctx, from, oldName, into, newName, 0)
	}
	if err != nil {
		return err
	}
	s.setLocation(to, newName)
	switch {
	case exchange:
		v.setLocation(i, oldName)
		v.sync(lctx)
	case v != nil:
		v.lostName(to, newName, victimUpper)
		v.sync(lctx)
		if victim.IsDir() {
			victim.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
		}
	}
	s.sync(lctx)
	i.sync(lctx)
	if to != i {
		to.sync(lctx)
	}
	return nil
}
