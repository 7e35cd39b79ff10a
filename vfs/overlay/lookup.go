package overlay

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// lowerPath is a place in a lower layer.
type lowerPath struct {
	vfs.Path
	layer int
}

// inode is an inode of the overlay.
type inode struct {
	vfs.DefaultInodeOps
	fs   *fileSystem
	self *vfs.Inode
	// lower are the lower directories that are merged, the topmost first; or the lower file, if
	// it comes from there. Immutable, with references.
	lower []lowerPath
	// upper is nil until there is an upper inode. Set under copyMu, with a reference; then it stays.
	upper atomic.Pointer[vfs.Path]

	// copyMu serializes copying up, and changes of names that it must not cross.
	copyMu sync.Mutex
	// locMu protects where the inode was seen last; parent is nil for the root and for what has
	// lost its name.
	locMu  sync.Mutex
	parent *inode
	name   string

	// shared is the entry of the index, for an inode with several lower names that has been
	// copied up or has lost some.
	shared atomic.Pointer[links]
	// unlinked: its only, lower name has been deleted.
	unlinked atomic.Bool
}

// top is the path of the real inode that counts: the upper one if there is one.
func (i *inode) top() vfs.Path {
	if p := i.upper.Load(); p != nil {
		return *p
	}
	return i.lower[0].Path
}

func (i *inode) location() (*inode, string) {
	i.locMu.Lock()
	defer i.locMu.Unlock()
	return i.parent, i.name
}

func (i *inode) setLocation(parent *inode, name string) {
	i.locMu.Lock()
	i.parent, i.name = parent, name
	i.locMu.Unlock()
}

// overlayOf is the overlay's part of an inode.
func overlayOf(i *vfs.Inode) *inode { return i.Ops.(*inode) }

// isWhiteout tells whether an inode of a layer stands for nothing.
func (fs *fileSystem) isWhiteout(ctx vfs.Context, p vfs.Path, x bool) bool {
	i := p.Inode()
	switch i.Type() {
	case unix.S_IFCHR:
		return i.Attr().Rdev == 0
	case unix.S_IFREG:
		if x && i.Attr().Size == 0 {
			_, err := fs.getXattr(ctx, p, "whiteout")
			return err == nil
		}
	}
	return false
}

// isOpaque tells whether a directory hides what is below it.
func (fs *fileSystem) isOpaque(ctx vfs.Context, p vfs.Path) bool {
	v, err := fs.getXattr(ctx, p, "opaque")
	return err == nil && string(v) == "y"
}

// lookupUpper finds a name in the upper directory: with a reference; white says that it is a whiteout.
func (i *inode) lookupUpper(ctx vfs.Context, name string) (p vfs.Path, white bool, err error) {
	up := i.upper.Load()
	if up == nil {
		return vfs.Path{}, false, unix.ENOENT
	}
	p, err = vfs.Lookup(ctx, *up, name, 0)
	if err != nil {
		return vfs.Path{}, false, err
	}
	return p, i.fs.isWhiteout(ctx, p, false), nil
}

// lookupLower finds a name in the lower directories: nothing, a file, or directories to merge. The
// paths have references. If only is set, the first is enough.
func (i *inode) lookupLower(ctx vfs.Context, name string, dirsOnly, only bool) (found []lowerPath, err error) {
	fs := i.fs
	if !i.self.IsDir() {
		return nil, nil
	}
	for k, l := range i.lower {
		p, err := vfs.Lookup(ctx, l.Path, name, 0)
		if err == unix.ENOENT || err == unix.ENAMETOOLONG {
			continue
		}
		if err != nil {
			put(found)
			return nil, err
		}
		if fs.isWhiteout(ctx, p, fs.lowers[l.layer].xwhiteouts) {
			p.DecRef()
			break
		}
		if !p.Inode().IsDir() {
			if dirsOnly || len(found) > 0 {
				p.DecRef()
			} else {
				found = append(found, lowerPath{p, l.layer})
			}
			break
		}
		found = append(found, lowerPath{p, l.layer})
		if only || k+1 < len(i.lower) && fs.isOpaque(ctx, p) {
			break
		}
	}
	return found, nil
}

func put(ps []lowerPath) {
	for _, p := range ps {
		p.DecRef()
	}
}

// lowerHas tells whether a name would appear if the upper layer did not hide it.
func (i *inode) lowerHas(ctx vfs.Context, name string) (bool, error) {
	found, err := i.lookupLower(ctx, name, false, true)
	put(found)
	return len(found) > 0, err
}

// Lookup implements vfs.InodeOps.
func (i *inode) Lookup(ctx vfs.Context, _ *vfs.Inode, name string) (*vfs.Inode, error) {
	fs := i.fs
	ctx = fs.context(ctx)
	up, white, err := i.lookupUpper(ctx, name)
	if err != nil && err != unix.ENOENT {
		return nil, err
	}
	if white {
		up.DecRef()
		return nil, unix.ENOENT
	}
	var lower []lowerPath
	if !up.Valid() || up.Inode().IsDir() && len(i.lower) > 0 && !fs.isOpaque(ctx, up) {
		if lower, err = i.lookupLower(ctx, name, up.Valid(), false); err != nil {
			up.DecRef()
			return nil, err
		}
	}
	if !up.Valid() && len(lower) == 0 {
		return nil, unix.ENOENT
	}
	return fs.inode(ctx, i, name, up, lower)
}

// inode finds or makes the inode for what was found at name in parent; it takes over the references.
// The result has a reference.
func (fs *fileSystem) inode(ctx vfs.Context, parent *inode, name string, up vfs.Path, lower []lowerPath) (*vfs.Inode, error) {
	var key *vfs.Inode
	var shared *links
	if up.Valid() {
		key = up.Inode()
	} else {
		key = lower[0].Inode()
		if !key.IsDir() {
			fs.mu.Lock()
			if c := fs.index[key]; c != nil {
				shared = c
				if p := c.upper.Load(); p != nil {
					// Another name of it was copied up.
					up = *p
					up.IncRef()
					key = up.Inode()
				}
			}
			fs.mu.Unlock()
		}
	}
	real := key
	attr, err := real.Ops.GetAttr(ctx, real)
	var ino uint64
	if err == nil {
		ino = fs.inoOf(ctx, up, lower)
	}

	fs.mu.Lock()
	if err != nil {
		fs.mu.Unlock()
		up.DecRef()
		put(lower)
		return nil, err
	}
	if i := fs.inodes[key]; i != nil && i.self.TryIncRef() {
		fs.mu.Unlock()
		up.DecRef()
		put(lower)
		i.setLocation(parent, name)
		return i.self, nil
	}
	i := &inode{fs: fs, lower: lower, parent: parent, name: name}
	if up.Valid() {
		i.upper.Store(&up)
	}
	if shared == nil && up.Valid() {
		// Reached by a name of its own, it may still have others in the lower layer.
		shared = fs.copied[key]
	}
	i.shared.Store(shared)
	attr.Nlink = i.nlink(attr.Nlink)
	i.self = vfs.NewInode(fs.sb, ino, i, attr)
	fs.inodes[key] = i
	fs.mu.Unlock()
	return i.self, nil
}

// inoOf is the inode number for what was found: the lowest place it came from.
func (fs *fileSystem) inoOf(ctx vfs.Context, up vfs.Path, lower []lowerPath) uint64 {
	if len(lower) > 0 {
		i := lower[0].Inode()
		return fs.ino(i.SB, i.Ino)
	}
	i := up.Inode()
	if n, ok := fs.origin(ctx, up); ok {
		return n
	}
	return fs.ino(i.SB, i.Ino)
}

// origin is the inode number that a file had before it was copied up. The attribute is not of Linux's
// form, which would be a file handle: the number, after a mark.
func (fs *fileSystem) origin(ctx vfs.Context, up vfs.Path) (uint64, bool) {
	if up.Inode().IsDir() {
		return 0, false
	}
	v, err := fs.getXattr(ctx, up, "origin")
	if err != nil || len(v) != len(originMark)+8 || string(v[:len(originMark)]) != originMark {
		return 0, false
	}
	return binary.LittleEndian.Uint64(v[len(originMark):]), true
}

const originMark = "gosv"

func originValue(ino uint64) string {
	return string(binary.LittleEndian.AppendUint64([]byte(originMark), ino))
}

// Evict implements vfs.InodeOps.
func (i *inode) Evict(*vfs.Inode) {
	fs := i.fs
	up := i.upper.Load()
	fs.mu.Lock()
	if up != nil && fs.inodes[up.Inode()] == i {
		delete(fs.inodes, up.Inode())
	}
	if len(i.lower) > 0 && fs.inodes[i.lower[0].Inode()] == i {
		delete(fs.inodes, i.lower[0].Inode())
	}
	fs.mu.Unlock()
	if up != nil {
		up.DecRef()
	}
	put(i.lower)
}
