package overlay

import (
	"slices"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// nlink is the number of links, given the real inode's.
func (i *inode) nlink(real uint32) uint32 {
	up := i.upper.Load()
	if up != nil && up.Inode().IsDir() || up == nil && i.lower[0].Inode().IsDir() {
		if len(i.lower) > 1 || up != nil && len(i.lower) > 0 {
			return 1 // of merged directories nobody counts
		}
		return real
	}
	if c := i.shared.Load(); c != nil {
		if up == nil {
			real = 0
		}
		return real + uint32(max(c.names.Load(), 0))
	}
	if up == nil && i.unlinked.Load() {
		return 0
	}
	return real
}

// GetAttr implements vfs.InodeOps.
func (i *inode) GetAttr(ctx vfs.Context, _ *vfs.Inode) (vfs.Attr, error) {
	p := i.top()
	real := p.Inode()
	a, err := real.Ops.GetAttr(i.fs.context(ctx), real)
	if err != nil {
		return a, err
	}
	a.Nlink = i.nlink(a.Nlink)
	return a, nil
}

// sync brings the attributes that package vfs looks at in step with the real inode's.
func (i *inode) sync(ctx vfs.Context) {
	a, err := i.GetAttr(ctx, i.self)
	if err == nil {
		i.self.UpdateAttr(func(at *vfs.Attr) { *at = a })
	}
}

// SetAttr implements vfs.InodeOps.
func (i *inode) SetAttr(ctx vfs.Context, _ *vfs.Inode, a *vfs.SetAttr) error {
	ctx = i.fs.context(ctx)
	size := int64(-1)
	if a.Valid&vfs.AttrSize != 0 {
		size = a.Size
	}
	if err := i.copyUp(ctx, size); err != nil {
		return err
	}
	real := i.upper.Load().Inode()
	set := *a
	set.File = nil
	if a.Valid&vfs.AttrSize != 0 {
		real.WriteMu.Lock()
		defer real.WriteMu.Unlock()
	}
	err := real.Ops.SetAttr(ctx, real, &set)
	i.sync(ctx)
	return err
}

// ChangeFlags implements vfs.InodeFlagsKeeper: the flags are the upper inode's.
func (i *inode) ChangeFlags(ctx vfs.Context, _ *vfs.Inode, change func(*vfs.Attr)) error {
	ctx = i.fs.context(ctx)
	if err := i.copyUp(ctx, -1); err != nil {
		return err
	}
	err := vfs.ChangeInodeFlags(ctx, i.upper.Load().Inode(), change)
	i.sync(ctx)
	return err
}

// Readlink implements vfs.InodeOps.
func (i *inode) Readlink(ctx vfs.Context, _ *vfs.Inode) (string, error) {
	real := i.top().Inode()
	return real.Ops.Readlink(i.fs.context(ctx), real)
}

// GetXattr implements vfs.InodeOps.
func (i *inode) GetXattr(ctx vfs.Context, _ *vfs.Inode, name string) ([]byte, error) {
	if i.fs.isOwnXattr(name) {
		return nil, unix.EOPNOTSUPP
	}
	real := i.top().Inode()
	return real.Ops.GetXattr(i.fs.context(ctx), real, name)
}

// ListXattr implements vfs.InodeOps.
func (i *inode) ListXattr(ctx vfs.Context, _ *vfs.Inode) ([]string, error) {
	real := i.top().Inode()
	names, err := real.Ops.ListXattr(i.fs.context(ctx), real)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(names), i.fs.isOwnXattr), nil
}

// SetXattr implements vfs.InodeOps.
func (i *inode) SetXattr(ctx vfs.Context, _ *vfs.Inode, name string, value []byte, flags int) error {
	if i.fs.isOwnXattr(name) {
		return unix.EOPNOTSUPP
	}
	ctx = i.fs.context(ctx)
	if err := i.copyUp(ctx, -1); err != nil {
		return err
	}
	real := i.upper.Load().Inode()
	err := real.Ops.SetXattr(ctx, real, name, value, flags)
	i.sync(ctx)
	return err
}

// RemoveXattr implements vfs.InodeOps.
func (i *inode) RemoveXattr(ctx vfs.Context, self *vfs.Inode, name string) error {
	// What is not there needs no copy.
	if _, err := i.GetXattr(ctx, self, name); err != nil {
		return err
	}
	ctx = i.fs.context(ctx)
	if err := i.copyUp(ctx, -1); err != nil {
		return err
	}
	real := i.upper.Load().Inode()
	err := real.Ops.RemoveXattr(ctx, real, name)
	i.sync(ctx)
	return err
}
