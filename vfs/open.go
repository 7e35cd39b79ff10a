package vfs

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

const (
	oTmpfile   = unix.O_TMPFILE &^ unix.O_DIRECTORY
	oLargefile = 0x8000 // O_LARGEFILE as the kernel has it; x/sys has 0 for amd64

	// validOpenFlags are the flags that openat2 knows; others give EINVAL there and are ignored by open.
	validOpenFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND |
		unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC | unix.O_ASYNC | unix.O_DIRECT | oLargefile | unix.O_DIRECTORY |
		unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | oTmpfile
)

// OpenHow checks the arguments of openat2(2), which is strict, and adds what the kernel adds.
func OpenHow(how unix.OpenHow) error {
	if how.Flags&^validOpenFlags != 0 || how.Mode&^07777 != 0 {
		return unix.EINVAL
	}
	creates := how.Flags&unix.O_CREAT != 0 || how.Flags&oTmpfile != 0
	if !creates && how.Mode != 0 {
		return unix.EINVAL
	}
	if how.Flags&unix.O_PATH != 0 && how.Flags&^(unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC) != 0 {
		return unix.EINVAL
	}
	_, err := ResolveFlags(how.Resolve)
	return err
}

// Open opens a file: open(2), openat(2), creat(2) and openat2(2). Unknown flags are ignored; see
// OpenHow. The file has one reference, the caller's. O_CLOEXEC is for the descriptor.
func Open(ctx Context, start Path, path string, how unix.OpenHow) (*File, error) {
	flags := uint32(how.Flags & validOpenFlags)
	lf, err := ResolveFlags(how.Resolve)
	if err != nil {
		return nil, err
	}
	flags &^= unix.O_CLOEXEC
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	} else {
		flags |= oLargefile
	}
	if flags&oTmpfile != 0 && flags&unix.O_PATH == 0 {
		if flags&unix.O_DIRECTORY == 0 || flags&unix.O_CREAT != 0 || flags&unix.O_ACCMODE == unix.O_RDONLY {
			return nil, unix.EINVAL
		}
		return openTmpfile(ctx, start, path, flags, uint32(how.Mode), lf)
	}
	if flags&(unix.O_CREAT|unix.O_DIRECTORY) == unix.O_CREAT|unix.O_DIRECTORY {
		return nil, unix.EINVAL
	}
	if flags&unix.O_DIRECTORY != 0 {
		lf |= LookupDirectory
	}
	if lf&LookupCached != 0 && flags&(unix.O_TRUNC|unix.O_CREAT|oTmpfile) != 0 {
		return nil, unix.EAGAIN
	}
	if flags&unix.O_CREAT == 0 {
		if flags&unix.O_NOFOLLOW == 0 {
			lf |= LookupFollow
		}
		p, err := Lookup(ctx, start, path, lf)
		if err != nil {
			return nil, err
		}
		defer p.DecRef()
		return openPath(ctx, p, flags, false)
	}
	return openCreate(ctx, start, path, flags, uint32(how.Mode), lf)
}

// openCreate is Open with O_CREAT: the last component may not be there yet.
func openCreate(ctx Context, start Path, path string, flags, mode uint32, lf LookupFlags) (*File, error) {
	var w walker
	w.ctx, w.flags = ctx, lf
	for try := 0; ; try++ {
		f, err := w.openOnce(start, path, flags, mode)
		w.end()
		if err != errRetry {
			return f, err
		}
		if !again(try) {
			return nil, unix.ESTALE
		}
	}
}

func (w *walker) openOnce(start Path, path string, flags, mode uint32) (*File, error) {
	ctx := w.ctx
	if err := w.begin(start, path); err != nil {
		return nil, err
	}
	for {
		if err := w.walkParent(); err != nil {
			return nil, err
		}
		switch w.kind {
		case lastDot, lastDotDot:
			return nil, unix.EISDIR
		case lastRoot:
			// "/", or where a magic link led.
			if w.held.Dentry == nil || w.cur != w.held {
				return nil, unix.EISDIR
			}
			if flags&unix.O_EXCL != 0 {
				return nil, unix.EEXIST
			}
			return openPath(ctx, w.cur, flags, false)
		}
		if w.trailing {
			return nil, unix.EISDIR
		}
		c, err := w.lookup(w.last)
		if err != nil {
			return nil, err
		}
		created := false
		var p Path
		if inodeOf(c) == nil {
			p, created, err = w.create(flags, mode)
			if err != nil {
				return nil, err
			}
		} else {
			p = Path{w.cur.Mount, c}
			if !p.TryIncRef() {
				return nil, errRetry
			}
		}
		if created {
			f, err := openPath(ctx, p, flags&^unix.O_TRUNC, true)
			if err == nil {
				f.mode |= modeCreated
			}
			p.DecRef()
			return f, err
		}
		if flags&unix.O_EXCL != 0 {
			p.DecRef()
			return nil, unix.EEXIST
		}
		next, err := w.intoMount(p)
		if err != nil {
			p.DecRef()
			return nil, err
		}
		if next != p {
			ok := next.TryIncRef()
			p.DecRef()
			if !ok {
				return nil, errRetry
			}
			p = next
		}
		if p.Inode().IsSymlink() && flags&unix.O_NOFOLLOW == 0 {
			err := w.follow(p, true)
			p.DecRef()
			if err != nil {
				return nil, err
			}
			continue
		}
		err = w.mayOpenSticky(p)
		if p.Inode().IsDir() {
			err = unix.EISDIR
		}
		var f *File
		if err == nil {
			f, err = openPath(ctx, p, flags, false)
		}
		p.DecRef()
		return f, err
	}
}

// mayOpenSticky is fs.protected_fifos and fs.protected_regular.
func (w *walker) mayOpenSticky(p Path) error {
	r, dir, i := w.cur.registry(), w.cur.Inode(), p.Inode()
	if r == nil || dir.Mode()&unix.S_ISVTX == 0 {
		return nil
	}
	var level int32
	switch {
	case i.IsRegular():
		level = r.ProtectedRegular.Load()
	case i.Type() == unix.S_IFIFO:
		level = r.ProtectedFIFOs.Load()
	}
	uid, _ := i.owner()
	duid, _ := dir.owner()
	if level == 0 || uid == duid || uid == w.ctx.Cred().FSUID {
		return nil
	}
	if dir.Mode()&0002 != 0 || level >= 2 && dir.Mode()&0020 != 0 {
		return unix.EACCES
	}
	return nil
}

// create makes the last component as a regular file, unless somebody else has made it meanwhile.
// The result has a reference.
func (w *walker) create(flags, mode uint32) (p Path, created bool, err error) {
	ctx, dir := w.ctx, w.cur
	if !dir.TryIncRef() {
		return Path{}, false, errRetry
	}
	defer dir.DecRef()
	if reg := dir.registry(); reg != nil {
		if err := reg.Memory.KernelRoom(true); err != nil {
			return Path{}, false, err
		}
	}
	di := dir.Inode()
	h := hashName(w.last)
	di.DirMu.Lock()
	c, err := lookupPinned(ctx, dir.Dentry, w.last, h)
	if err != nil {
		di.DirMu.Unlock()
		return Path{}, false, err
	}
	if inodeOf(c) == nil {
		if c != nil {
			defer c.unpin() // the negative dentry, which may become the file's
		}
		err = dir.WantWrite()
		if err == nil {
			err = mayCreate(ctx, dir)
		}
		var i *Inode
		if err == nil {
			i, err = di.Ops.Create(ctx, di, w.last, prepareMode(ctx, di, unix.S_IFREG|mode&07777))
		}
		if err != nil {
			di.DirMu.Unlock()
			return Path{}, false, err
		}
		c = dir.Dentry.add(w.last, h, i, true)
		created = true
	}
	di.DirMu.Unlock()
	if dir.Mount != nil {
		dir.Mount.IncRef()
	}
	p = Path{dir.Mount, c}
	if created {
		notifyName(dir.Dentry, unix.IN_CREATE, w.last)
	}
	return p, created, nil
}

func openTmpfile(ctx Context, start Path, path string, flags, mode uint32, lf LookupFlags) (*File, error) {
	if flags&unix.O_NOFOLLOW == 0 {
		lf |= LookupFollow
	}
	dir, err := Lookup(ctx, start, path, lf|LookupDirectory)
	if err != nil {
		return nil, err
	}
	defer dir.DecRef()
	if err := dir.WantWrite(); err != nil {
		return nil, err
	}
	di := dir.Inode()
	if err := Permission(ctx, di, MayWrite|MayExec); err != nil {
		return nil, err
	}
	i, err := di.Ops.Tmpfile(ctx, di, prepareMode(ctx, di, unix.S_IFREG|mode&07777))
	if err != nil {
		return nil, err
	}
	i.linkable.Store(flags&unix.O_EXCL == 0)
	// A dentry that never was in the directory: its path says "(deleted)".
	d := newDentry(dir.Dentry, "#"+utoa(i.Ino), 0, i)
	d.set(dUnhashed | dDeleted | dCantMount)
	d.pins.Store(1)
	defer d.unpin()
	return openPath(ctx, Path{dir.Mount, d}, flags&^(unix.O_TRUNC|unix.O_CREAT|unix.O_EXCL), true)
}

func utoa(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// accMask is what permission an access mode needs. Mode 3 needs both and gives neither.
func accMask(flags uint32) uint32 {
	mask := [4]uint32{MayRead, MayWrite, MayRead | MayWrite, MayRead | MayWrite}[flags&unix.O_ACCMODE]
	if flags&unix.O_TRUNC != 0 {
		mask |= MayWrite
	}
	if flags&unix.O_APPEND != 0 {
		mask |= MayAppend
	}
	return mask
}

// mayOpen is the check of types, permissions and flags.
func mayOpen(ctx Context, p Path, flags *uint32, mask uint32) error {
	i := p.Inode()
	switch i.Type() {
	case unix.S_IFLNK:
		return unix.ELOOP
	case unix.S_IFDIR:
		if mask&MayWrite != 0 {
			return unix.EISDIR
		}
		if mask&MayExec != 0 {
			return unix.EACCES
		}
	case unix.S_IFBLK, unix.S_IFCHR:
		if p.Mount != nil && p.Mount.Flags()&unix.MS_NODEV != 0 {
			return unix.EACCES
		}
		if ns := i.SB.UserNS; ns != nil && ns != cred.InitUserNS() {
			return unix.EACCES
		}
		fallthrough
	case unix.S_IFIFO, unix.S_IFSOCK:
		if mask&MayExec != 0 {
			return unix.EACCES
		}
		*flags &^= unix.O_TRUNC
	case unix.S_IFREG:
		if mask&MayExec != 0 && p.Mount.NoExec() {
			return unix.EACCES
		}
	}
	if mask != 0 {
		if err := Permission(ctx, i, mask); err != nil {
			return err
		}
	}
	if isAppend(i) {
		if *flags&unix.O_ACCMODE != unix.O_RDONLY && *flags&unix.O_APPEND == 0 || *flags&unix.O_TRUNC != 0 {
			return unix.EPERM
		}
	}
	if *flags&unix.O_NOATIME != 0 && !OwnerOrCapable(ctx, i) {
		return unix.EPERM
	}
	return nil
}

// OpenPath opens a place that has been found already (/proc/PID/exe, open_by_handle_at). The
// caller keeps its reference on p.
func OpenPath(ctx Context, p Path, flags uint32) (*File, error) {
	return openPath(ctx, p, flags&validOpenFlags&^unix.O_CLOEXEC, false)
}

// OpenExec opens a program for execution: a regular file that may be executed, on a mount without
// noexec. Writing to it is denied (ETXTBSY) until AllowWrite is called on the file.
func OpenExec(ctx Context, start Path, path string, lf LookupFlags) (*File, error) {
	p, err := Lookup(ctx, start, path, lf)
	if err != nil {
		return nil, err
	}
	defer p.DecRef()
	i := p.Inode()
	if i.IsSymlink() {
		return nil, unix.ELOOP
	}
	if !i.IsRegular() || p.Mount.NoExec() {
		return nil, unix.EACCES
	}
	if err := Permission(ctx, i, MayExec); err != nil {
		return nil, err
	}
	// Reading is the kernel's right: the program itself need not be readable.
	f, err := openPath(ctx, p, unix.O_RDONLY|oLargefile, true)
	if err != nil {
		return nil, err
	}
	if err := f.DenyWrite(); err != nil {
		f.DecRef()
		return nil, err
	}
	return f, nil
}

// openPath makes the file. checked: it has just been made, or permission has been asked for.
func openPath(ctx Context, p Path, flags uint32, checked bool) (*File, error) {
	i := p.Inode()
	if i == nil {
		return nil, unix.ENOENT
	}
	if flags&unix.O_PATH != 0 {
		return newFile(p, pathOps{}, flags, ctx.Cred()), nil
	}
	mask := accMask(flags)
	if checked {
		mask = 0
	}
	if i.IsDir() && flags&unix.O_CREAT != 0 {
		return nil, unix.EISDIR
	}
	if err := mayOpen(ctx, p, &flags, mask); err != nil {
		return nil, err
	}
	trunc := flags&unix.O_TRUNC != 0
	writes := flags&unix.O_ACCMODE == unix.O_WRONLY || flags&unix.O_ACCMODE == unix.O_RDWR
	typ := i.Type()
	special := typ == unix.S_IFCHR || typ == unix.S_IFBLK || typ == unix.S_IFIFO || typ == unix.S_IFSOCK
	if (writes || trunc) && !special {
		if err := p.WantWrite(); err != nil {
			return nil, err
		}
	}
	if err := breakLease(ctx, i, writes || trunc, flags&unix.O_NONBLOCK != 0); err != nil {
		return nil, err
	}
	f := newFile(p, nil, flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOCTTY|unix.O_TRUNC), ctx.Cred())
	// Device drivers (terminals) want to know about O_NOCTTY.
	f.openFlags = flags
	if writes && !special {
		if !i.getWrite() {
			f.abandon()
			return nil, unix.ETXTBSY
		}
		f.mode |= modeWriter
		if p.Mount != nil {
			p.Mount.writers.Add(1)
			p.Mount.SB.writers.Add(1)
		}
	} else if !special {
		i.readers.Add(1)
		f.mode |= modeReader
	}
	var ops FileOps
	var err error
	switch typ {
	case unix.S_IFCHR, unix.S_IFBLK:
		ops, err = p.registry().OpenDevice(ctx, typ, i.Attr().Rdev, i, f)
	case unix.S_IFIFO:
		r := p.registry()
		if fs := ctx.FS(); r == nil && fs != nil {
			r = fs.Root().registry() // a pipe without a name, found in /proc/PID/fd
		}
		if r != nil && r.OpenFIFO != nil {
			ops, err = r.OpenFIFO(ctx, i, f)
		} else {
			err = unix.ENXIO
		}
	case unix.S_IFSOCK:
		err = unix.ENXIO
	default:
		ops, err = i.Ops.Open(ctx, i, f)
	}
	if err != nil {
		f.abandon()
		return nil, err
	}
	f.setOps(ops)
	f.notify(unix.IN_OPEN)
	if trunc && typ == unix.S_IFREG {
		if err := truncateOpen(ctx, p, f); err != nil {
			f.DecRef()
			return nil, err
		}
	}
	return f, nil
}

// truncateOpen is O_TRUNC.
func truncateOpen(ctx Context, p Path, f *File) error {
	i := p.Inode()
	if f.mode&modeWriter == 0 {
		if !i.getWrite() {
			return unix.ETXTBSY
		}
		defer i.putWrite()
	}
	return truncateInode(ctx, p, 0, f)
}

// getWrite counts an open file that may write; false while the file is being executed.
func (i *Inode) getWrite() bool {
	for {
		n := i.writers.Load()
		if n < 0 {
			return false
		}
		if i.writers.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (i *Inode) putWrite() { i.writers.Add(-1) }

// DenyWrite makes opening f's inode for writing fail with ETXTBSY until AllowWrite; ETXTBSY
// itself if the inode is open for writing.
func (f *File) DenyWrite() error {
	i := f.Inode()
	for {
		n := i.writers.Load()
		if n > 0 {
			return unix.ETXTBSY
		}
		if i.writers.CompareAndSwap(n, n-1) {
			return nil
		}
	}
}

// AllowWrite undoes one DenyWrite.
func (f *File) AllowWrite() { f.Inode().writers.Add(1) }

// pathOps are the operations of O_PATH files: EBADF for all that is not done with the path.
type pathOps struct{ DefaultFileOps }
