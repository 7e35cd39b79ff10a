package host

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// killPriv is what a mode becomes when content or owner change.
func killPriv(mode uint32) uint32 { return cred.KillPriv(mode) }

// dir is a directory.
type dir struct {
	*node

	// listMu protects the list of entries of an exclusive file system, nil when it is not known; and
	// the position of the descriptor that it is read from.
	listMu sync.Mutex
	list   []vfs.Dirent
}

// sharedDir is a directory that the host may change.
type sharedDir struct{ *dir }

// dirOf finds the directory behind an inode of this package.
func dirOf(i *vfs.Inode) *dir {
	switch d := i.Ops.(type) {
	case *dir:
		return d
	case *sharedDir:
		return d.dir
	}
	return nil
}

// nodeOf finds the node behind an inode of this package.
func nodeOf(i *vfs.Inode) *node {
	switch o := i.Ops.(type) {
	case *dir:
		return o.node
	case *sharedDir:
		return o.node
	case *regular:
		return o.node
	case *symlink:
		return o.node
	case *node:
		return o
	}
	return nil
}

// Revalidate implements vfs.Revalidator.
func (d *sharedDir) Revalidate(_ vfs.Context, _ *vfs.Inode, name string, i *vfs.Inode) bool {
	h, err := d.acquire(slotPath)
	if err != nil {
		return false
	}
	defer fds.done(h)
	var st unix.Statx_t
	var n *node
	var seen uint64
	if i != nil {
		n = nodeOf(i)
		seen = n.seen()
	}
	err = statx(h.fd, name, &st)
	if i == nil {
		return err == unix.ENOENT
	}
	if err != nil || keyOf(&st) != n.key || uint32(st.Mode)&unix.S_IFMT != n.typ {
		return false
	}
	a := d.fs.attr(&st)
	if a.Btime != n.btime {
		return false
	}
	n.addName(d.node, name, a.Nlink)
	n.update(a, seen)
	return true
}

// Lookup implements vfs.InodeOps.
func (d *dir) Lookup(_ vfs.Context, _ *vfs.Inode, name string) (*vfs.Inode, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	h, err := d.acquire(slotPath)
	if err != nil {
		return nil, err
	}
	defer fds.done(h)
	return d.find(h.fd, name)
}

// find makes the inode for a name that is there.
func (d *dir) find(fd int, name string) (*vfs.Inode, error) {
	var st unix.Statx_t
	if err := statx(fd, name, &st); err != nil {
		return nil, err
	}
	return d.fs.inode(d.node, name, &st)
}

// modify calls f with the directory's descriptor to change the entry name.
func (d *dir) modify(name string, f func(fd int) error) (*hostFD, error) {
	if d.fs.opts.ReadOnly {
		return nil, unix.EROFS
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	h, err := d.acquire(slotPath)
	if err != nil {
		return nil, err
	}
	if err := retry(func() error { return f(h.fd) }); err != nil {
		fds.done(h)
		return nil, err
	}
	d.dirChanged()
	return h, nil
}

// dirChanged is told that an entry has come or gone.
func (d *dir) dirChanged() {
	d.listMu.Lock()
	d.list = nil
	d.listMu.Unlock()
	d.changed()
}

// made finishes a new entry: owner and mode are as the caller's credentials say, as far as
// the host lets us.
func (d *dir) made(ctx vfs.Context, h *hostFD, name string, mode uint32) (*vfs.Inode, error) {
	defer fds.done(h)
	i, err := d.find(h.fd, name)
	if err != nil {
		return nil, err
	}
	d.own(ctx, i, mode)
	return i, nil
}

// own gives a new inode the owner and the mode it should have.
func (d *dir) own(ctx vfs.Context, i *vfs.Inode, mode uint32) {
	uid, gid, mode := vfs.InitOwner(ctx, d.inode, mode)
	a := i.Attr()
	n := nodeOf(i)
	if a.UID != uid || a.GID != gid {
		_ = n.SetAttr(ctx, i, &vfs.SetAttr{Valid: vfs.AttrUID | vfs.AttrGID, UID: uid, GID: gid})
		a = i.Attr()
	}
	if mode&07777 != a.Mode&07777 && n.typ != unix.S_IFLNK {
		_ = n.chmod(mode & 07777)
		n.changed()
	}
}

// Create implements vfs.InodeOps.
func (d *dir) Create(ctx vfs.Context, _ *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	fd := -1
	h, err := d.modify(name, func(dirfd int) (err error) {
		fd, err = unix.Openat(dirfd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode&0777|0600)
		if err == nil && mode&07777 != mode&0777|0600 {
			_ = unix.Fchmod(fd, mode&07777)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	i, err := d.made(ctx, h, name, unix.S_IFREG|mode&07777)
	d.adopt(i, fd)
	return i, err
}

// adopt takes over a descriptor that is open for writing on i (nil: closes it): whoever may make
// a file may write to it, whatever its mode says.
func (d *dir) adopt(i *vfs.Inode, fd int) {
	var st unix.Statx_t
	if i != nil {
		n := nodeOf(i)
		if statx(fd, "", &st) == nil && keyOf(&st) == n.key && fds.reserve() == nil {
			n.fdMu.Lock()
			if n.fds[slotWrite] == nil {
				h := fds.add(fd)
				n.fds[slotWrite] = h
				if st.Mode&0200 == 0 {
					n.keptWrite = true
					fds.keep(h, true)
				}
				n.fdMu.Unlock()
				fds.done(h)
				return
			}
			n.fdMu.Unlock()
			fds.unreserve()
		}
	}
	_ = unix.Close(fd)
}

// Mknod implements vfs.InodeOps.
func (d *dir) Mknod(ctx vfs.Context, i *vfs.Inode, name string, mode uint32, rdev uint64) (*vfs.Inode, error) {
	if mode&unix.S_IFMT == unix.S_IFREG || mode&unix.S_IFMT == 0 {
		return d.Create(ctx, i, name, mode)
	}
	h, err := d.modify(name, func(fd int) error { return unix.Mknodat(fd, name, mode, int(rdev)) })
	if err != nil {
		return nil, err
	}
	return d.made(ctx, h, name, mode)
}

// Mkdir implements vfs.InodeOps.
func (d *dir) Mkdir(ctx vfs.Context, _ *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	h, err := d.modify(name, func(fd int) error { return unix.Mkdirat(fd, name, mode&0777|0700) })
	if err != nil {
		return nil, err
	}
	return d.made(ctx, h, name, unix.S_IFDIR|mode&07777)
}

// Symlink implements vfs.InodeOps.
func (d *dir) Symlink(ctx vfs.Context, _ *vfs.Inode, name, target string) (*vfs.Inode, error) {
	h, err := d.modify(name, func(fd int) error { return unix.Symlinkat(target, fd, name) })
	if err != nil {
		return nil, err
	}
	return d.made(ctx, h, name, unix.S_IFLNK|0777)
}

// Link implements vfs.InodeOps.
func (d *dir) Link(_ vfs.Context, _ *vfs.Inode, name string, target *vfs.Inode) (*vfs.Inode, error) {
	n := nodeOf(target)
	h, err := d.modify(name, func(fd int) error {
		if proc := d.fs.opts.ProcSelfFD; proc >= 0 {
			// Exactly this file, even if it has no name.
			return n.withAny(func(s int) error {
				return unix.Linkat(proc, strconv.Itoa(s), fd, name, unix.AT_SYMLINK_FOLLOW)
			})
		}
		return n.at(func(dirfd int, oldName string) error { return unix.Linkat(dirfd, oldName, fd, name, 0) })
	})
	if err != nil {
		return nil, err
	}
	defer fds.done(h)
	// The name must lead to the file that was meant.
	var st unix.Statx_t
	if err := statx(h.fd, name, &st); err != nil {
		return nil, err
	}
	if keyOf(&st) != n.key {
		return d.fs.inode(d.node, name, &st)
	}
	n.renamed(d.node, name, st.Nlink)
	n.changed()
	target.IncRef()
	return target, nil
}

// Unlink implements vfs.InodeOps.
func (d *dir) Unlink(_ vfs.Context, _ *vfs.Inode, name string, victim *vfs.Inode) error {
	return d.unlink(name, victim, 0)
}

// Rmdir implements vfs.InodeOps.
func (d *dir) Rmdir(_ vfs.Context, _ *vfs.Inode, name string, victim *vfs.Inode) error {
	return d.unlink(name, victim, unix.AT_REMOVEDIR)
}

func (d *dir) unlink(name string, victim *vfs.Inode, flags int) error {
	n := nodeOf(victim)
	if n.opens.Load() > 0 {
		n.keep()
	}
	h, err := d.modify(name, func(fd int) error { return unix.Unlinkat(fd, name, flags) })
	if err != nil {
		return err
	}
	fds.done(h)
	n.lostName(d.node, name)
	return nil
}

// lostName updates a node one of whose names has gone.
func (n *node) lostName(dir *node, name string) {
	n.dropName(dir, name)
	last := n.typ == unix.S_IFDIR
	n.attrMu.Lock()
	if last {
		n.attr.Nlink = 0
	} else if n.attr.Nlink > 0 {
		n.attr.Nlink--
		last = n.attr.Nlink == 0
	}
	n.attr.Ctime = vfs.Now()
	a := n.attr
	n.attrMu.Unlock()
	n.publish(a)
	if last {
		n.fs.forget(n)
	}
}

// Rename implements vfs.InodeOps.
func (d *dir) Rename(_ vfs.Context, oldDir *vfs.Inode, oldName string, src *vfs.Inode, newDir *vfs.Inode, newName string, victim *vfs.Inode, flags uint32) error {
	to := dirOf(newDir)
	if err := checkName(oldName); err != nil {
		return err
	}
	s := nodeOf(src)
	var v *node
	if victim != nil {
		v = nodeOf(victim)
		if flags&unix.RENAME_EXCHANGE == 0 && v.opens.Load() > 0 {
			v.keep()
		}
	}
	h, err := to.modify(newName, func(newfd int) error {
		o, err := d.acquire(slotPath)
		if err != nil {
			return err
		}
		defer fds.done(o)
		return unix.Renameat2(o.fd, oldName, newfd, newName, uint(flags))
	})
	if err != nil {
		return err
	}
	fds.done(h)
	if d != to {
		d.dirChanged()
	}
	s.dropName(d.node, oldName)
	s.renamed(to.node, newName, src.Attr().Nlink)
	if flags&unix.RENAME_EXCHANGE != 0 {
		v.dropName(to.node, newName)
		v.renamed(d.node, oldName, victim.Attr().Nlink)
		v.changed()
	} else if v != nil {
		v.lostName(to.node, newName)
	}
	s.changed()
	return nil
}

// Tmpfile implements vfs.InodeOps.
func (d *dir) Tmpfile(ctx vfs.Context, _ *vfs.Inode, mode uint32) (*vfs.Inode, error) {
	if d.fs.opts.ReadOnly {
		return nil, unix.EROFS
	}
	if err := fds.reserve(); err != nil {
		return nil, err
	}
	h, err := d.acquire(slotPath)
	if err != nil {
		fds.unreserve()
		return nil, err
	}
	fd, err := unix.Openat(h.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, mode&0777|0600)
	fds.done(h)
	if err != nil {
		fds.unreserve()
		return nil, err
	}
	f := fds.add(fd)
	defer fds.done(f)
	var st unix.Statx_t
	if err := statx(fd, "", &st); err != nil {
		fds.drop(f)
		return nil, err
	}
	i, err := d.fs.inode(nil, "", &st)
	if err != nil {
		fds.drop(f)
		return nil, err
	}
	n := nodeOf(i)
	n.fdMu.Lock()
	n.fds[slotWrite], n.kept = f, true
	fds.keep(f, true)
	n.fdMu.Unlock()
	d.own(ctx, i, unix.S_IFREG|mode&07777)
	return i, nil
}

// Open implements vfs.InodeOps.
func (d *dir) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	// The host must let us read it; the descriptor stays in the cache.
	h, err := d.acquire(slotRead)
	if err != nil {
		return nil, err
	}
	fds.done(h)
	d.opens.Add(1)
	return &dirFile{d: d}, nil
}

// entries reads the directory.
func (d *dir) entries() ([]vfs.Dirent, error) {
	d.listMu.Lock()
	defer d.listMu.Unlock()
	if d.list != nil && !d.fs.shared {
		return d.list, nil
	}
	h, err := d.acquire(slotRead)
	if err != nil {
		return nil, err
	}
	defer fds.done(h)
	if _, err := unix.Seek(h.fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	list := []vfs.Dirent{}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(h.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOENT {
			break // removed
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		// struct linux_dirent64: ino, off (64 bits), reclen (16), type (8), name
		for b := buf[:n]; len(b) >= 19; {
			reclen := int(binary.LittleEndian.Uint16(b[16:]))
			if reclen < 19 || reclen > len(b) {
				break
			}
			name := b[19:reclen]
			if i := slices.Index(name, 0); i >= 0 {
				name = name[:i]
			}
			if s := string(name); s != "." && s != ".." {
				list = append(list, vfs.Dirent{
					Name: s, Type: b[18],
					Ino: d.fs.ino(inodeKey{d.key.dev, binary.LittleEndian.Uint64(b)}),
					Off: int64(len(list)) + 3,
				})
			}
			b = b[reclen:]
		}
	}
	// A name that a guest could not use anyway is not shown.
	list = slices.DeleteFunc(list, func(e vfs.Dirent) bool { return strings.Contains(e.Name, "/") })
	if !d.fs.shared {
		d.list = list
	}
	return list, nil
}

// dirFile is an open directory. Position 0 is ".", 1 "..", and from 2 on the entries as they were when
// the file was at its beginning.
type dirFile struct {
	vfs.DefaultFileOps
	d    *dir
	mu   sync.Mutex
	list []vfs.Dirent
}

// ReadDir implements vfs.FileOps.
func (df *dirFile) ReadDir(_ vfs.Context, f *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	df.mu.Lock()
	if pos == 0 || df.list == nil {
		list, err := df.d.entries()
		if err != nil {
			df.mu.Unlock()
			return pos, err
		}
		df.list = list
	}
	list := df.list
	df.mu.Unlock()

	return vfs.EmitList(f, pos, list, emit), nil
}

// Seek implements vfs.FileOps.
func (*dirFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	return vfs.SeekDir(pos, off, whence)
}

// Sync implements vfs.FileOps.
func (df *dirFile) Sync(vfs.Context, *vfs.File, int64, int64, bool) error {
	if df.d.fs.opts.ReadOnly {
		return nil
	}
	h, err := df.d.acquire(slotRead)
	if err != nil {
		return err
	}
	defer fds.done(h)
	return retry(func() error { return unix.Fsync(h.fd) })
}

// Release implements vfs.FileOps.
func (df *dirFile) Release(*vfs.File) { df.d.opens.Add(-1) }
