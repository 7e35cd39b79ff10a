package vfs

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// Operations on names: what the system calls mkdir, unlink, rename and so on do.

// umask is the caller's; the kernel has none.
func umask(ctx Context) uint32 {
	if fs := ctx.FS(); fs != nil {
		return fs.Umask()
	}
	return 0
}

// prepareMode is the mode of a new inode: set-group-id dropped from an executable that would go to a group
// the caller is not in, and then the umask applied, which thereby cannot save the bit.
func prepareMode(ctx Context, dir *Inode, mode uint32) uint32 {
	if mode&unix.S_IFMT != unix.S_IFDIR && mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP && dir.Mode()&unix.S_ISGID != 0 {
		_, gid := dir.owner()
		uid, _ := dir.owner()
		if c := ctx.Cred(); !c.InGroup(gid) && !c.HasWRTInode(uid, gid, unix.CAP_FSETID) {
			mode &^= unix.S_ISGID
		}
	}
	return mode&unix.S_IFMT | mode&07777&^umask(ctx)
}

// InitOwner is the owner, group and mode of an inode that is made in dir with the given
// mode (Linux: inode_init_owner): file systems call it.
func InitOwner(ctx Context, dir *Inode, mode uint32) (uid, gid, outMode uint32) {
	c := ctx.Cred()
	uid, gid = c.FSUID, c.FSGID
	if dir != nil && dir.Mode()&unix.S_ISGID != 0 {
		_, gid = dir.owner()
		if mode&unix.S_IFMT == unix.S_IFDIR {
			mode |= unix.S_ISGID
		}
	}
	return uid, gid, mode
}

// createAt makes a new name: f makes the inode in the directory. The result has a reference.
func createAt(ctx Context, start Path, path string, isDir bool, f func(dir *Inode, name string) (*Inode, error)) (Path, error) {
	var w walker
	if err := w.lookupParent(ctx, start, path, 0); err != nil {
		return Path{}, err
	}
	dir := w.cur
	defer dir.DecRef()
	if w.kind != lastNormal {
		return Path{}, unix.EEXIST
	}
	return createIn(ctx, dir, w.last, w.trailing, isDir, f)
}

func createIn(ctx Context, dir Path, name string, trailing, isDir bool, f func(dir *Inode, name string) (*Inode, error)) (Path, error) {
	di := dir.Inode()
	if !di.IsDir() {
		return Path{}, unix.ENOTDIR
	}
	h := hashName(name)
	di.DirMu.Lock()
	c, err := lookupPinned(ctx, dir.Dentry, name, h)
	if c != nil {
		defer c.unpin()
	}
	if err == nil && inodeOf(c) != nil {
		err = unix.EEXIST
	}
	if err == nil && trailing && !isDir {
		err = unix.ENOENT
	}
	if err == nil {
		err = dir.WantWrite()
	}
	if err == nil {
		err = mayCreate(ctx, dir)
	}
	var i *Inode
	if err == nil {
		i, err = f(di, name)
	}
	if err != nil {
		di.DirMu.Unlock()
		return Path{}, err
	}
	d := dir.Dentry.add(name, h, i, true)
	di.DirMu.Unlock()
	mask := uint32(unix.IN_CREATE)
	if isDir {
		mask |= unix.IN_ISDIR
	}
	notifyName(dir.Dentry, mask, name)
	if dir.Mount != nil {
		dir.Mount.IncRef()
	}
	return Path{dir.Mount, d}, nil
}

// Mkdir is mkdirat(2).
func Mkdir(ctx Context, start Path, path string, mode uint32) error {
	p, err := createAt(ctx, start, path, true, func(dir *Inode, name string) (*Inode, error) {
		return dir.Ops.Mkdir(ctx, dir, name, prepareMode(ctx, dir, unix.S_IFDIR|mode&01777))
	})
	if err == nil {
		p.DecRef()
	}
	return err
}

// Mknod is mknodat(2).
func Mknod(ctx Context, start Path, path string, mode uint32, rdev uint64) error {
	p, err := MknodAt(ctx, start, path, mode, rdev)
	if err == nil {
		p.DecRef()
	}
	return err
}

// MknodAt is Mknod that returns the new node, with a reference (bind(2) of a unix socket).
func MknodAt(ctx Context, start Path, path string, mode uint32, rdev uint64) (Path, error) {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
	case unix.S_IFDIR:
		return Path{}, unix.EPERM
	default:
		return Path{}, unix.EINVAL
	}
	return createAt(ctx, start, path, false, func(dir *Inode, name string) (*Inode, error) {
		t := mode & unix.S_IFMT
		if (t == unix.S_IFCHR || t == unix.S_IFBLK) && !(t == unix.S_IFCHR && rdev == 0) && !ctx.Cred().HasInitial(unix.CAP_MKNOD) {
			return nil, unix.EPERM
		}
		m := prepareMode(ctx, dir, mode)
		if t == unix.S_IFREG {
			return dir.Ops.Create(ctx, dir, name, m)
		}
		if t != unix.S_IFCHR && t != unix.S_IFBLK {
			rdev = 0
		}
		return dir.Ops.Mknod(ctx, dir, name, m, rdev)
	})
}

// Symlink is symlinkat(2).
func Symlink(ctx Context, target string, start Path, path string) error {
	if target == "" {
		return unix.ENOENT
	}
	p, err := createAt(ctx, start, path, false, func(dir *Inode, name string) (*Inode, error) {
		return dir.Ops.Symlink(ctx, dir, name, target)
	})
	if err == nil {
		p.DecRef()
	}
	return err
}

// Link is linkat(2): flags are AT_SYMLINK_FOLLOW and AT_EMPTY_PATH.
func Link(ctx Context, oldStart Path, oldPath string, newStart Path, newPath string, flags int) error {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	var lf LookupFlags
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		lf |= LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		lf |= LookupEmpty
		if oldPath == "" && !ctx.Cred().Has(unix.CAP_DAC_READ_SEARCH) {
			return unix.ENOENT
		}
	}
	old, err := Lookup(ctx, oldStart, oldPath, lf)
	if err != nil {
		return err
	}
	defer old.DecRef()
	var w walker
	if err := w.lookupParent(ctx, newStart, newPath, 0); err != nil {
		return err
	}
	dir := w.cur
	defer dir.DecRef()
	if w.kind != lastNormal {
		return unix.EEXIST
	}
	target := old.Inode()
	p, err := createIn2(ctx, dir, old, w.last, w.trailing, func(di *Inode, name string) (*Inode, error) {
		i, err := linkInode(ctx, di, name, target)
		if err == nil {
			notifyInode(target, unix.IN_ATTRIB, nil)
		}
		return i, err
	})
	if err == nil {
		p.DecRef()
	}
	return err
}

// createIn2 is createIn for a link: the new name must be on the mount of the old.
func createIn2(ctx Context, dir, old Path, name string, trailing bool, f func(di *Inode, name string) (*Inode, error)) (Path, error) {
	return createIn(ctx, dir, name, trailing, false, func(di *Inode, name string) (*Inode, error) {
		if old.Mount != dir.Mount {
			return nil, unix.EXDEV
		}
		if err := mayLink(ctx, old); err != nil {
			return nil, err
		}
		return f(di, name)
	})
}

func linkInode(ctx Context, di *Inode, name string, target *Inode) (*Inode, error) {
	if target.SB != di.SB {
		return nil, unix.EXDEV
	}
	if isAppend(target) || isImmutable(target) {
		return nil, unix.EPERM
	}
	if target.IsDir() {
		return nil, unix.EPERM
	}
	target.linkMu.Lock()
	defer target.linkMu.Unlock()
	if target.Attr().Nlink == 0 && !target.linkable.Load() {
		return nil, unix.ENOENT
	}
	i, err := di.Ops.Link(ctx, di, name, target)
	if err == nil {
		target.linkable.Store(false)
	}
	return i, err
}

// mayLink is fs.protected_hardlinks.
func mayLink(ctx Context, old Path) error {
	r := old.registry()
	i := old.Inode()
	if r == nil || r.ProtectedHardlinks.Load() == 0 || OwnerOrCapable(ctx, i) {
		return nil
	}
	m := i.Mode()
	if m&unix.S_IFMT == unix.S_IFREG && m&unix.S_ISUID == 0 && m&(unix.S_ISGID|unix.S_IXGRP) != unix.S_ISGID|unix.S_IXGRP &&
		Permission(ctx, i, MayRead|MayWrite) == nil {
		return nil
	}
	return unix.EPERM
}

// Unlink is unlinkat(2) without AT_REMOVEDIR.
func Unlink(ctx Context, start Path, path string) error {
	return remove(ctx, start, path, false)
}

// Rmdir is unlinkat(2) with AT_REMOVEDIR.
func Rmdir(ctx Context, start Path, path string) error {
	return remove(ctx, start, path, true)
}

func remove(ctx Context, start Path, path string, isDir bool) error {
	var w walker
	if err := w.lookupParent(ctx, start, path, 0); err != nil {
		return err
	}
	dir := w.cur
	defer dir.DecRef()
	switch {
	case w.kind == lastNormal:
	case !isDir:
		return unix.EISDIR
	case w.kind == lastDot:
		return unix.EINVAL
	case w.kind == lastDotDot:
		return unix.ENOTEMPTY
	default:
		return unix.EBUSY
	}
	di := dir.Inode()
	if !di.IsDir() {
		return unix.ENOTDIR
	}
	if err := dir.WantWrite(); err != nil {
		return err
	}
	name := w.last
	di.DirMu.Lock()
	d, err := lookupPinned(ctx, dir.Dentry, name, hashName(name))
	if err != nil {
		di.DirMu.Unlock()
		return err
	}
	vi := inodeOf(d)
	switch {
	case vi == nil:
		err = unix.ENOENT
	case w.trailing && !isDir && vi.IsDir():
		err = unix.EISDIR
	case w.trailing && !isDir:
		err = unix.ENOTDIR
	default:
		err = mayDelete(ctx, dir.Dentry, d, isDir)
	}
	if err == nil && dir.registry().localMountpoint(d, dir.Mount.namespaceLocked()) {
		err = unix.EBUSY
	}
	if err != nil {
		di.DirMu.Unlock()
		if d != nil {
			d.unpin()
		}
		return err
	}
	vi.IncRef()
	isDirInode := vi.IsDir()
	if isDirInode {
		vi.DirMu.Lock()
		err = di.Ops.Rmdir(ctx, di, name, vi)
		if err == nil {
			d.set(dDeadDir | dCantMount)
		}
		vi.DirMu.Unlock()
	} else {
		vi.linkMu.Lock()
		err = di.Ops.Unlink(ctx, di, name, vi)
		vi.linkMu.Unlock()
	}
	if err == nil {
		d.set(dCantMount)
		if isDirInode {
			d.forEachChild((*Dentry).drop)
		}
		d.unhash(dDeleted)
	}
	di.DirMu.Unlock()
	if err == nil {
		dir.registry().detachMountsOn(d)
		if !isDirInode {
			notifyInode(vi, unix.IN_ATTRIB, nil) // the number of links
		}
	}
	d.unpin()
	vi.DecRef()
	// Watchers of the file itself have been told that it has gone.
	if err == nil {
		mask := uint32(unix.IN_DELETE)
		if isDirInode {
			mask |= unix.IN_ISDIR
		}
		notifyName(dir.Dentry, mask, name)
	}
	return err
}

// Rename is renameat2(2).
func Rename(ctx Context, oldStart Path, oldPath string, newStart Path, newPath string, flags uint32) error {
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE|unix.RENAME_WHITEOUT) != 0 ||
		flags&unix.RENAME_EXCHANGE != 0 && flags&(unix.RENAME_NOREPLACE|unix.RENAME_WHITEOUT) != 0 {
		return unix.EINVAL
	}
	var ow, nw walker
	if err := ow.lookupParent(ctx, oldStart, oldPath, 0); err != nil {
		return err
	}
	from := ow.cur
	defer from.DecRef()
	if err := nw.lookupParent(ctx, newStart, newPath, 0); err != nil {
		return err
	}
	to := nw.cur
	defer to.DecRef()
	if from.Mount != to.Mount {
		return unix.EXDEV
	}
	if ow.kind != lastNormal {
		return unix.EBUSY
	}
	if nw.kind != lastNormal {
		if flags&unix.RENAME_NOREPLACE != 0 {
			return unix.EEXIST
		}
		return unix.EBUSY
	}
	if err := from.WantWrite(); err != nil {
		return err
	}
	fd, td := from.Dentry, to.Dentry
	if !from.Inode().IsDir() || !to.Inode().IsDir() {
		return unix.ENOTDIR
	}
	sb := fd.sb
	var above *Dentry // the child of one directory that the other is beneath
	fromAbove := false
	if fd != td {
		sb.renameMu.Lock()
		defer sb.renameMu.Unlock()
		first, second := from.Inode(), to.Inode()
		if a := childTowards(td, fd); a != nil {
			above = a
			first, second = second, first // to is above from
		} else if a := childTowards(fd, td); a != nil {
			above, fromAbove = a, true
		}
		first.DirMu.Lock()
		defer first.DirMu.Unlock()
		// Where the host renames at the same time, both may have become the same directory.
		if second != first {
			second.DirMu.Lock()
			defer second.DirMu.Unlock()
		}
	} else {
		from.Inode().DirMu.Lock()
		defer from.Inode().DirMu.Unlock()
	}
	return renameLocked(ctx, &ow, &nw, from, to, above, fromAbove, flags)
}

// childTowards is the child of top that d is or is beneath; nil if d is not beneath top.
func childTowards(top, d *Dentry) *Dentry {
	for {
		p := d.Parent()
		if p == d {
			return nil
		}
		if p == top {
			return d
		}
		d = p
	}
}

func renameLocked(ctx Context, ow, nw *walker, from, to Path, above *Dentry, fromAbove bool, flags uint32) error {
	fd, td := from.Dentry, to.Dentry
	fi, ti := from.Inode(), to.Inode()
	oldName, newName := ow.last, nw.last
	oh, nh := hashName(oldName), hashName(newName)
	old, err := lookupPinned(ctx, fd, oldName, oh)
	if err != nil {
		return err
	}
	if old != nil {
		defer old.unpin()
	}
	si := inodeOf(old)
	if si == nil {
		return unix.ENOENT
	}
	target, err := lookupPinned(ctx, td, newName, nh)
	if err != nil {
		return err
	}
	if target != nil {
		defer target.unpin()
	}
	vi := inodeOf(target)
	exchange := flags&unix.RENAME_EXCHANGE != 0
	if flags&unix.RENAME_NOREPLACE != 0 && vi != nil {
		return unix.EEXIST
	}
	if exchange {
		if vi == nil {
			return unix.ENOENT
		}
		if !vi.IsDir() && nw.trailing {
			return unix.ENOTDIR
		}
	}
	if !si.IsDir() && (ow.trailing || !exchange && nw.trailing) {
		return unix.ENOTDIR
	}
	if above != nil && fromAbove && old == above {
		return unix.EINVAL // into a directory beneath itself
	}
	if above != nil && !fromAbove && target == above {
		if exchange {
			return unix.EINVAL
		}
		return unix.ENOTEMPTY
	}
	if vi == si {
		return nil
	}
	if err := mayDelete(ctx, fd, old, si.IsDir()); err != nil {
		return err
	}
	if vi == nil {
		if err := mayCreate(ctx, to); err != nil {
			return err
		}
	} else if err := mayDelete(ctx, td, target, (si.IsDir() && !exchange) || exchange && vi.IsDir()); err != nil {
		return err
	}
	// A directory that changes its parent changes its "..".
	if fd != td {
		if si.IsDir() {
			if err := Permission(ctx, si, MayWrite); err != nil {
				return err
			}
		}
		if exchange && vi.IsDir() {
			if err := Permission(ctx, vi, MayWrite); err != nil {
				return err
			}
		}
	}
	reg := from.registry()
	ns := from.Mount.namespaceLocked()
	if reg.localMountpoint(old, ns) || vi != nil && reg.localMountpoint(target, ns) {
		return unix.EBUSY
	}
	victimDir := vi != nil && vi.IsDir() && !exchange
	if victimDir && (vi == fi || vi == ti) {
		return unix.ENOTEMPTY // moved by the host in between
	}
	if victimDir {
		vi.DirMu.Lock()
	}
	err = fi.Ops.Rename(ctx, fi, oldName, si, ti, newName, vi, flags)
	if err == nil && victimDir {
		target.set(dDeadDir | dCantMount)
	}
	if victimDir {
		vi.DirMu.Unlock()
	}
	if err != nil {
		return err
	}
	if vi != nil {
		vi.IncRef()
		defer vi.DecRef()
	}
	sb := fd.sb
	if fd != td {
		sb.renameSeq.Add(1)
	}
	if exchange {
		exchangeNames(old, target, fd, td, oldName, newName, oh, nh)
	} else {
		if target != nil {
			if vi != nil {
				target.set(dCantMount)
				defer reg.detachMountsOn(target)
				target.unhash(dDeleted)
			} else {
				target.unhash(0)
			}
		}
		old.moveTo(td, newName, nh)
	}
	if fd != td {
		sb.renameSeq.Add(1)
	}
	cookie := nextCookie(sb)
	notifyMove(fd, td, old, oldName, newName, cookie)
	if exchange {
		notifyMove(td, fd, target, newName, oldName, nextCookie(sb))
	} else if vi != nil {
		if !vi.IsDir() {
			notifyInode(vi, unix.IN_ATTRIB, nil)
		}
	}
	return nil
}

// exchangeNames swaps the places of two dentries.
func exchangeNames(a, b *Dentry, ad, bd *Dentry, an, bn string, ah, bh uint64) {
	ad.childMu.Lock()
	if bd != ad {
		bd.childMu.Lock()
	}
	ad.remove(a)
	bd.remove(b)
	a.at.Store(&dname{bd, bn, bh})
	b.at.Store(&dname{ad, an, ah})
	bd.insert(a)
	ad.insert(b)
	if bd != ad {
		bd.childMu.Unlock()
	}
	ad.childMu.Unlock()
}

// namespaceLocked is the namespace of m, which may be nil.
func (m *Mount) namespaceLocked() *MountNamespace {
	if m == nil {
		return nil
	}
	return m.Namespace()
}

// Readlink is readlinkat(2). An empty path means the start itself.
func Readlink(ctx Context, start Path, path string) (string, error) {
	p, err := Lookup(ctx, start, path, LookupEmpty)
	if err != nil {
		return "", err
	}
	defer p.DecRef()
	i := p.Inode()
	if !i.IsSymlink() {
		if path == "" {
			return "", unix.ENOENT
		}
		return "", unix.EINVAL
	}
	p.Accessed()
	return i.Ops.Readlink(ctx, i)
}

// accessContext is a context with other credentials.
type accessContext struct {
	Context
	c *cred.Cred
}

func (a accessContext) Cred() *cred.Cred { return a.c }

// WithCred is ctx with other credentials: for access(2), and for what is done with the rights
// of a file's opener.
func WithCred(ctx Context, c *cred.Cred) Context { return accessContext{ctx, c} }

// Unwrap is the context that WithCred was called on: who asks for the task behind a
// context asks Unwrap(ctx).
func Unwrap(ctx Context) Context {
	for {
		a, ok := ctx.(accessContext)
		if !ok {
			return ctx
		}
		ctx = a.Context
	}
}

// Access is faccessat2(2): mode R_OK|W_OK|X_OK; flags AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
func Access(ctx Context, start Path, path string, mode uint32, flags int) error {
	if mode&^7 != 0 || flags&^(unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return unix.EINVAL
	}
	lf := LookupFollow
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		lf = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		lf |= LookupEmpty
	}
	if flags&unix.AT_EACCESS == 0 {
		if c := ctx.Cred(); c.FSUID != c.UID || c.FSGID != c.GID || c.UID != c.EUID ||
			c.UID != c.UserNS.RootUID() && c.Effective != 0 || c.UID == c.UserNS.RootUID() && c.Effective != c.Permitted {
			ctx = WithCred(ctx, c.WithFS())
		}
	}
	p, err := Lookup(ctx, start, path, lf)
	if err != nil {
		return err
	}
	defer p.DecRef()
	i := p.Inode()
	if mode&unix.X_OK != 0 && i.IsRegular() && p.Mount.NoExec() {
		return unix.EACCES
	}
	if mode == 0 {
		return nil
	}
	// MayRead, MayWrite and MayExec are R_OK, W_OK and X_OK.
	if err := Permission(ctx, i, mode); err != nil {
		return err
	}
	if mode&unix.W_OK != 0 {
		switch i.Type() {
		case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		default:
			return p.WantWrite()
		}
	}
	return nil
}

// StatFS is statfs(2).
func StatFS(ctx Context, start Path, path string) (unix.Statfs_t, error) {
	p, err := Lookup(ctx, start, path, LookupFollow)
	if err != nil {
		return unix.Statfs_t{}, err
	}
	defer p.DecRef()
	return p.StatFS(), nil
}

// StatFS is fstatfs(2).
func (p Path) StatFS() unix.Statfs_t {
	s := p.Dentry.sb.statFS()
	const valid = 0x20
	s.Flags = valid
	if p.Mount == nil {
		return s
	}
	f := p.Mount.Flags()
	for _, x := range [...]struct {
		ms uint64
		st int64
	}{
		{unix.MS_NOSUID, 2}, {unix.MS_NODEV, 4}, {unix.MS_NOEXEC, 8}, {unix.MS_NOATIME, 1024},
		{unix.MS_NODIRATIME, 2048}, {unix.MS_RELATIME, 4096}, {MountNoSymFollow, 8192},
	} {
		if f&x.ms != 0 {
			s.Flags |= x.st
		}
	}
	if p.Mount.ReadOnly() {
		s.Flags |= 1
	}
	if p.Mount.SB.Flags()&unix.MS_SYNCHRONOUS != 0 {
		s.Flags |= 16
	}
	if p.Mount.SB.Flags()&unix.MS_MANDLOCK != 0 {
		s.Flags |= 64
	}
	return s
}
