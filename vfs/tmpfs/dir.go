package tmpfs

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// dir is a directory.
//
// Positions in it: 0 is ".", 1 is "..", 2 is the newest entry, and n > 2 is what is older
// than the entry with number n. Reading goes from new to old. So a reader never meets
// what was made after it began: a program that renames as it reads comes to an end.
type dir struct {
	node

	// mu protects the entries. Changes are made with the inode's DirMu held as well.
	mu     sync.RWMutex
	byName map[string]*dirEntry
	list   []*dirEntry // by number; some are dead
	dead   int
	last   int64 // the highest number given
}

// dirEntry is a name. Its inode is nil when it has been removed but is still in the list.
type dirEntry struct {
	name  string
	num   int64
	inode *vfs.Inode // holds a reference
}

// firstEntry is the position of the newest entry; numbers are above it.
const firstEntry = 2

// add makes an entry, and takes over a reference on i. mu is held.
func (d *dir) add(name string, i *vfs.Inode) {
	if d.byName == nil {
		d.byName = make(map[string]*dirEntry)
		d.last = firstEntry
	}
	d.last++
	e := &dirEntry{name, d.last, i}
	d.byName[name] = e
	d.list = append(d.list, e)
}

// remove takes an entry away and returns its inode with the entry's reference. mu is held.
func (d *dir) remove(name string) *vfs.Inode {
	e := d.byName[name]
	if e == nil {
		return nil
	}
	i := e.inode
	e.inode = nil
	delete(d.byName, name)
	if d.dead++; d.dead > 32 && d.dead > len(d.list)/2 {
		d.list = slices.DeleteFunc(d.list, func(e *dirEntry) bool { return e.inode == nil })
		d.dead = 0
		if len(d.list) < cap(d.list)/4 {
			d.list = slices.Clone(d.list)
		}
	}
	return i
}

// resize adjusts the size and times of the directory for n entries more.
func resize(i *vfs.Inode, n int64, subdirs int32, now vfs.Timespec) {
	i.UpdateAttr(func(a *vfs.Attr) {
		a.Size += n * bogoDirentSize
		a.Nlink = uint32(int32(a.Nlink) + subdirs)
		a.Mtime, a.Ctime = now, now
	})
}

func isDir(i *vfs.Inode) int32 {
	if i.IsDir() {
		return 1
	}
	return 0
}

// Lookup implements vfs.InodeOps.
func (d *dir) Lookup(_ vfs.Context, _ *vfs.Inode, name string) (*vfs.Inode, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.byName[name]
	if e == nil {
		return nil, unix.ENOENT
	}
	e.inode.IncRef()
	return e.inode, nil
}

// make makes an inode and its entry.
func (d *dir) make(ctx vfs.Context, i *vfs.Inode, name string, mode uint32, rdev uint64, target string) (*vfs.Inode, error) {
	now := vfs.Now()
	uid, gid, mode := vfs.InitOwner(ctx, i, mode)
	c, err := d.fs.newInode(mode, uid, gid, rdev, target, now)
	if err != nil {
		return nil, err
	}
	c.IncRef()
	d.mu.Lock()
	d.add(name, c)
	d.mu.Unlock()
	resize(i, 1, isDir(c), now)
	return c, nil
}

// Create implements vfs.InodeOps.
func (d *dir) Create(ctx vfs.Context, i *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	return d.make(ctx, i, name, unix.S_IFREG|mode&07777, 0, "")
}

// Mknod implements vfs.InodeOps.
func (d *dir) Mknod(ctx vfs.Context, i *vfs.Inode, name string, mode uint32, rdev uint64) (*vfs.Inode, error) {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
		rdev = 0
	case unix.S_IFCHR, unix.S_IFBLK:
	default:
		return nil, unix.EINVAL
	}
	return d.make(ctx, i, name, mode, rdev, "")
}

// Mkdir implements vfs.InodeOps.
func (d *dir) Mkdir(ctx vfs.Context, i *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	return d.make(ctx, i, name, unix.S_IFDIR|mode&07777, 0, "")
}

// Symlink implements vfs.InodeOps.
func (d *dir) Symlink(ctx vfs.Context, i *vfs.Inode, name, target string) (*vfs.Inode, error) {
	return d.make(ctx, i, name, unix.S_IFLNK|0777, 0, target)
}

// Tmpfile implements vfs.InodeOps.
func (d *dir) Tmpfile(ctx vfs.Context, i *vfs.Inode, mode uint32) (*vfs.Inode, error) {
	uid, gid, mode := vfs.InitOwner(ctx, i, unix.S_IFREG|mode&07777)
	c, err := d.fs.newInode(mode, uid, gid, 0, "", vfs.Now())
	if err != nil {
		return nil, err
	}
	c.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
	return c, nil
}

// Link implements vfs.InodeOps.
func (d *dir) Link(_ vfs.Context, i *vfs.Inode, name string, target *vfs.Inode) (*vfs.Inode, error) {
	now := vfs.Now()
	full := false
	target.UpdateAttr(func(a *vfs.Attr) {
		if full = a.Nlink == ^uint32(0); full {
			return
		}
		a.Nlink++
		a.Ctime = now
	})
	if full {
		return nil, unix.EMLINK
	}
	target.IncRef() // the entry's
	target.IncRef() // the dentry's
	d.mu.Lock()
	d.add(name, target)
	d.mu.Unlock()
	resize(i, 1, 0, now)
	return target, nil
}

// unlinked is told that a name of i has gone.
func unlinked(i *vfs.Inode, now vfs.Timespec) {
	i.UpdateAttr(func(a *vfs.Attr) {
		if a.Mode&unix.S_IFMT == unix.S_IFDIR {
			a.Nlink = 0
		} else {
			a.Nlink--
		}
		a.Ctime = now
	})
	i.DecRef()
}

// Unlink implements vfs.InodeOps.
func (d *dir) Unlink(_ vfs.Context, i *vfs.Inode, name string, victim *vfs.Inode) error {
	d.mu.Lock()
	if e := d.byName[name]; e == nil || e.inode != victim {
		d.mu.Unlock()
		return unix.ENOENT
	}
	d.remove(name)
	d.mu.Unlock()
	now := vfs.Now()
	resize(i, -1, -isDir(victim), now)
	unlinked(victim, now)
	return nil
}

// Rmdir implements vfs.InodeOps.
func (d *dir) Rmdir(ctx vfs.Context, i *vfs.Inode, name string, victim *vfs.Inode) error {
	if !victim.Ops.(*dir).empty() {
		return unix.ENOTEMPTY
	}
	return d.Unlink(ctx, i, name, victim)
}

func (d *dir) empty() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.byName) == 0
}

// Rename implements vfs.InodeOps. Package vfs holds the locks of both directories and of a
// directory that is replaced, so the entries do not change between the steps here.
func (d *dir) Rename(ctx vfs.Context, oldDir *vfs.Inode, oldName string, src *vfs.Inode, newDir *vfs.Inode, newName string, victim *vfs.Inode, flags uint32) error {
	to := newDir.Ops.(*dir)
	now := vfs.Now()
	if flags&unix.RENAME_EXCHANGE != 0 {
		if victim == nil {
			return unix.ENOENT
		}
		d.replace(oldName, victim)
		to.replace(newName, src)
		if oldDir != newDir {
			delta := isDir(victim) - isDir(src)
			resize(oldDir, 0, delta, now)
			resize(newDir, 0, -delta, now)
		} else {
			resize(oldDir, 0, 0, now)
		}
		setCtime(src, now)
		setCtime(victim, now)
		return nil
	}
	if victim != nil && victim.IsDir() && !victim.Ops.(*dir).empty() {
		return unix.ENOTEMPTY
	}
	var whiteout *vfs.Inode
	if flags&unix.RENAME_WHITEOUT != 0 {
		c := ctx.Cred()
		var err error
		if whiteout, err = d.fs.newInode(unix.S_IFCHR, c.FSUID, c.FSGID, 0, "", now); err != nil {
			return err
		}
	}
	moved := isDir(src)
	d.mu.Lock()
	if whiteout != nil {
		// The name keeps its place; the entry's reference on src goes with it to the new name.
		d.byName[oldName].inode = whiteout
	} else {
		d.remove(oldName)
	}
	d.mu.Unlock()
	to.mu.Lock()
	if e := to.byName[newName]; e != nil {
		e.inode = src
	} else {
		to.add(newName, src)
	}
	to.mu.Unlock()

	if whiteout == nil {
		resize(oldDir, -1, -moved, now)
	} else {
		resize(oldDir, 0, -moved, now)
	}
	if victim != nil {
		resize(newDir, 0, moved-isDir(victim), now)
		unlinked(victim, now)
	} else {
		resize(newDir, 1, moved, now)
	}
	setCtime(src, now)
	return nil
}

// replace lets the name mean i; references follow the inodes.
func (d *dir) replace(name string, i *vfs.Inode) {
	d.mu.Lock()
	d.byName[name].inode = i
	d.mu.Unlock()
}

func setCtime(i *vfs.Inode, now vfs.Timespec) {
	i.UpdateAttr(func(a *vfs.Attr) { a.Ctime = now })
}

// Evict implements vfs.InodeOps. There are entries only when the whole file system goes.
func (d *dir) Evict(i *vfs.Inode) {
	for _, e := range d.list {
		if e.inode != nil {
			e.inode.DecRef()
		}
	}
	d.list, d.byName = nil, nil
	d.node.Evict(i)
}

// Open implements vfs.InodeOps.
func (d *dir) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	return &dirFile{d: d}, nil
}

// dirFile is an open directory.
type dirFile struct {
	vfs.DefaultFileOps
	d *dir
}

// Sync implements vfs.FileOps.
func (*dirFile) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return nil }

// Seek implements vfs.FileOps.
func (*dirFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	return vfs.SeekDir(pos, off, whence)
}

// readBatch is how many entries are collected before they are emitted without the lock.
const readBatch = 64

// ReadDir implements vfs.FileOps.
func (df *dirFile) ReadDir(_ vfs.Context, f *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	self := f.Inode()
	if pos == 0 {
		if !emit(vfs.Dirent{Name: ".", Ino: self.Ino, Type: unix.DT_DIR, Off: 1}) {
			return pos, nil
		}
		pos = 1
	}
	if pos == 1 {
		parent := self
		if p := f.Path.Dentry.Parent().Inode(); p != nil {
			parent = p
		}
		if !emit(vfs.Dirent{Name: "..", Ino: parent.Ino, Type: unix.DT_DIR, Off: firstEntry}) {
			return pos, nil
		}
		pos = firstEntry
	}
	d := df.d
	var batch [readBatch]vfs.Dirent
	for {
		n := 0
		d.mu.RLock()
		i := len(d.list)
		if pos > firstEntry {
			i, _ = slices.BinarySearchFunc(d.list, pos, func(e *dirEntry, pos int64) int {
				return int(min(max(e.num-pos, -1), 1))
			})
		}
		for i--; i >= 0 && n < readBatch; i-- {
			if e := d.list[i]; e.inode != nil {
				batch[n] = vfs.Dirent{Name: e.name, Ino: e.inode.Ino, Type: uint8(e.inode.Type() >> 12), Off: e.num}
				n++
			}
		}
		d.mu.RUnlock()
		if n == 0 {
			return pos, nil
		}
		for _, e := range batch[:n] {
			if !emit(e) {
				return pos, nil
			}
			pos = e.Off
		}
	}
}
