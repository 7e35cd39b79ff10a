package kernfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// NewFS makes a file system type all of whose mounts show the tree of root.
func NewFS(name string, magic int64, root Node) *vfs.FileSystemType {
	t := &vfs.FileSystemType{Name: name, NoDev: true, UserNS: true}
	var mu sync.Mutex
	var sb *vfs.Superblock
	t.Mount = func(ctx vfs.Context, source string, flags uint64, data string) (*vfs.Superblock, error) {
		mu.Lock()
		defer mu.Unlock()
		if sb != nil && sb.TryIncRef() {
			return sb, nil
		}
		sb = NewSuperblock(t, source, magic, root)
		return sb, nil
	}
	return t
}

// NewFSFunc makes a file system type whose tree, and options, depend on the mount: proc, which shows a pid
// namespace. f may return a superblock that is mounted already, with a reference taken.
func NewFSFunc(name string, magic int64, f func(ctx vfs.Context, t *vfs.FileSystemType, source, data string) (*vfs.Superblock, error)) *vfs.FileSystemType {
	t := &vfs.FileSystemType{Name: name, NoDev: true, UserNS: true}
	t.Mount = func(ctx vfs.Context, source string, flags uint64, data string) (*vfs.Superblock, error) {
		return f(ctx, t, source, data)
	}
	return t
}

// NewSuperblock makes a file system that shows the tree of root, with one reference.
func NewSuperblock(t *vfs.FileSystemType, source string, magic int64, root Node) *vfs.Superblock {
	sb := vfs.NewSuperblock(t, source, magic)
	sb.NoNegative = true
	sb.MakeRoot(newInode(sb, root))
	sb.StatFS = func() unix.Statfs_t { return unix.Statfs_t{} }
	return sb
}

type base struct {
	vfs.DefaultInodeOps
	node Node
	attr *Attr
}

func newInode(sb *vfs.Superblock, n Node) *vfs.Inode {
	a := n.common()
	b := base{node: n, attr: a}
	now := a.time()
	at := vfs.Attr{Mode: modeOf(n), Nlink: 1, BlkSize: 4096, Atime: now, Mtime: now, Ctime: now}
	if a.Owner != nil {
		at.UID, at.GID = a.Owner()
	}
	var ops vfs.InodeOps
	switch n := n.(type) {
	case *Dir:
		at.Nlink = 2
		ops = &dirOps{base: b, dir: n}
	case *File:
		ops = &fileOps{base: b, file: n}
	case *Symlink:
		ops = &linkOps{base: b, target: n.Target}
	case *MagicLink:
		ops = &magicOps{linkOps: linkOps{base: b, target: n.Target}, link: n}
	case *Device:
		at.Rdev = n.Rdev
		ops = &b
	}
	i := vfs.NewInode(sb, a.number(sb), ops, at)
	i.NoMount = a.NoMount
	return i
}

// refresh brings the cached attributes up to date.
func (b *base) refresh(i *vfs.Inode) {
	mode := modeOf(b.node)
	old := i.Attr()
	uid, gid := old.UID, old.GID
	if b.attr.Owner != nil {
		uid, gid = b.attr.Owner()
	}
	size := old.Size
	if b.attr.Size != nil {
		size = b.attr.Size()
	}
	if mode != old.Mode || uid != old.UID || gid != old.GID || size != old.Size {
		i.UpdateAttr(func(a *vfs.Attr) { a.Mode, a.UID, a.GID, a.Size = mode, uid, gid, size })
	}
}

func (b *base) GetAttr(_ vfs.Context, i *vfs.Inode) (vfs.Attr, error) {
	b.refresh(i)
	a := i.Attr()
	if d, ok := b.node.(*Dir); ok {
		if b.attr.Nlink != nil {
			a.Nlink = b.attr.Nlink()
		} else {
			for _, e := range d.fixed() {
				if typeOf(e.Node) == unix.S_IFDIR {
					a.Nlink++
				}
			}
		}
	}
	return a, nil
}

// Permission implements vfs.Permissioner.
func (b *base) Permission(ctx vfs.Context, i *vfs.Inode, mask uint32) error {
	if b.attr.Owner != nil || b.attr.SetAttr != nil {
		b.refresh(i)
	}
	if b.attr.Permission != nil {
		if err := b.attr.Permission(ctx, mask); err != nil {
			if err == ErrAllow {
				return nil
			}
			return err
		}
	}
	return vfs.GenericPermission(ctx, i, mask)
}

func (b *base) SetAttr(ctx vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error {
	if a.Valid&(vfs.AttrMode|vfs.AttrUID|vfs.AttrGID) != 0 {
		if b.attr.SetAttr == nil {
			return unix.EPERM
		}
		if err := b.attr.SetAttr(ctx, a); err != nil {
			return err
		}
	}
	// O_TRUNC of a file without a size means nothing.
	i.UpdateAttr(func(at *vfs.Attr) { a.Apply(at) })
	return nil
}

// ListXattr: none.
func (b *base) ListXattr(vfs.Context, *vfs.Inode) ([]string, error) { return nil, nil }

type dirOps struct {
	base
	dir *Dir
}

func (o *dirOps) find(ctx vfs.Context, name string) (Node, error) {
	if n := o.dir.Get(name); n != nil {
		return n, nil
	}
	if o.dir.Lookup == nil {
		return nil, unix.ENOENT
	}
	n, err := o.dir.Lookup(ctx, name)
	if err == nil && n == nil {
		err = unix.ENOENT
	}
	return n, err
}

func (o *dirOps) Lookup(ctx vfs.Context, dir *vfs.Inode, name string) (*vfs.Inode, error) {
	n, err := o.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return newInode(dir.SB, n), nil
}

// Revalidate implements vfs.Revalidator.
func (o *dirOps) Revalidate(ctx vfs.Context, dir *vfs.Inode, name string, i *vfs.Inode) bool {
	if i == nil {
		return false
	}
	old := nodeOf(i)
	if n := o.dir.Get(name); n != nil {
		return n == old
	}
	if old == nil || o.dir.Lookup == nil {
		return false
	}
	if v := old.common().Valid; v != nil {
		return v()
	}
	n, err := o.dir.Lookup(ctx, name)
	return err == nil && n == old
}

func nodeOf(i *vfs.Inode) Node {
	switch o := i.Ops.(type) {
	case *dirOps:
		return o.node
	case *fileOps:
		return o.node
	case *linkOps:
		return o.node
	case *magicOps:
		return o.node
	case *base:
		return o.node
	}
	return nil
}

// NodeOf is the node behind an inode of this package, or nil.
func NodeOf(i *vfs.Inode) Node { return nodeOf(i) }

func (o *dirOps) Mkdir(ctx vfs.Context, dir *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	if o.dir.Mkdir == nil {
		return nil, unix.EPERM
	}
	n, err := o.dir.Mkdir(ctx, name, mode)
	if err != nil {
		return nil, err
	}
	return newInode(dir.SB, n), nil
}

func (o *dirOps) Rmdir(ctx vfs.Context, dir *vfs.Inode, name string, victim *vfs.Inode) error {
	if o.dir.Rmdir == nil {
		return unix.EPERM
	}
	if err := o.dir.Rmdir(ctx, name); err != nil {
		return err
	}
	victim.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
	return nil
}

func (o *dirOps) Open(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	return &openDir{dir: o.dir}, nil
}

type linkOps struct {
	base
	target func(ctx vfs.Context) (string, error)
}

func (o *linkOps) Readlink(ctx vfs.Context, _ *vfs.Inode) (string, error) {
	if o.target == nil {
		return "", unix.EINVAL
	}
	return o.target(ctx)
}

type magicOps struct {
	linkOps
	link *MagicLink
}

// Follow implements vfs.MagicLink.
func (o *magicOps) Follow(ctx vfs.Context, _ *vfs.Inode) (vfs.Path, error) {
	return o.link.Follow(ctx)
}
