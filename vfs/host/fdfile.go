package host

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// FDOptions are how an inherited descriptor is shown.
type FDOptions struct {
	// Name is what readlink of /proc/PID/fd shows; empty: what the host's shows, or by type.
	Name string
	// ProcSelfFD is a descriptor of /proc/self/fd, to find the name; 0 or negative: there is none.
	ProcSelfFD int
	// TTY handles the ioctls of sessions and process groups (TIOCGPGRP, TIOCSPGRP, TIOCGSID, TIOCSCTTY,
	// TIOCNOTTY), which mean the guest's and not the host's. nil: they fail with ENOTTY.
	TTY func(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error)
	// UIDs and GIDs translate the owner.
	UIDs, GIDs []IDRange
	// Memory is needed for regular files to be mapped.
	Memory *mm.Memory
}

// FDFile is an open file of the host that the sandbox inherited.
type FDFile struct {
	vfs.DefaultFileOps
	fd     int
	mode   uint32 // st_mode
	tty    bool
	append bool
	opts   FDOptions

	queue waitq.Queue

	// mu protects the fields below.
	mu sync.Mutex
	// waitFlag: RWF_NOWAIT works.
	nowait bool
	// next is the position after the last sequential transfer, as the guest sees it. The true
	// position is the host's, which others may share.
	next  int64
	cache *mm.PageCache

	// armed tells that the poller watches fd; under the poller's lock.
	armed bool
}

// fdMount is where the inodes of inherited files are: a mount that is nowhere. Its registry opens
// terminals, pipes and devices, when a guest opens /dev/stdin or /proc/self/fd/0, as what they are.
var fdMount = sync.OnceValue(func() vfs.Path {
	t := &vfs.FileSystemType{Name: "hostfd", NoDev: true}
	sb := vfs.NewSuperblock(t, "hostfd", magic)
	sb.UserNS = cred.InitUserNS()
	sb.SetFlags(unix.MS_NOATIME) // the host keeps times
	sb.MakeRoot(vfs.NewInode(sb, sb.NewIno(), vfs.DefaultInodeOps{}, vfs.Attr{Mode: unix.S_IFDIR | 0500, Nlink: 2}))
	reg := vfs.NewRegistry()
	reg.OpenFIFO = openFD
	return vfs.NewMountNamespace(reg, cred.InitUserNS(), sb, 0).Root()
})

// openFD opens the description behind an inherited file's inode once more.
func openFD(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	return i.Ops.Open(ctx, i, f)
}

// NewFDFile makes an open file of the descriptor hostfd, which it takes over: it is closed with the
// last reference. The flags of the open file description, which others may share, are
// never changed. (So standard output must be given as a duplicate if the sentry itself
// writes there.)
func NewFDFile(hostfd int, opts FDOptions) (*vfs.File, error) {
	var st unix.Statx_t
	if err := statx(hostfd, "", &st); err != nil {
		return nil, fmt.Errorf("inherited descriptor %d: %w", hostfd, err)
	}
	flags, err := unix.FcntlInt(uintptr(hostfd), unix.F_GETFL, 0)
	if err != nil {
		return nil, fmt.Errorf("inherited descriptor %d: %w", hostfd, err)
	}
	if flags&unix.O_PATH != 0 {
		return nil, fmt.Errorf("inherited descriptor %d: %w", hostfd, unix.EBADF)
	}
	ff := &FDFile{fd: hostfd, mode: uint32(st.Mode), append: flags&unix.O_APPEND != 0, nowait: true, opts: opts}
	if ff.mode&unix.S_IFMT == unix.S_IFCHR {
		_, err := unix.IoctlGetTermios(hostfd, unix.TCGETS)
		ff.tty = err == nil
	}
	pos := int64(0)
	if !ff.Stream() {
		if p, err := unix.Seek(hostfd, 0, unix.SEEK_CUR); err == nil {
			pos = p
		}
	}
	ff.next = pos
	name := ff.name(&st)
	where := fdMount()
	i := vfs.NewInode(where.Dentry.SB(), st.Ino, &fdInode{ff: ff}, ff.attr(&st))
	defer i.DecRef()
	switch ff.mode & unix.S_IFMT {
	case unix.S_IFCHR:
		vfs.RegisterCharDev(where.Mount.Registry(), "host", st.Rdev_major, st.Rdev_minor, 1, openFD)
	case unix.S_IFBLK:
		vfs.RegisterBlockDev(where.Mount.Registry(), "host", st.Rdev_major, st.Rdev_minor, 1, openFD)
	}
	const keep = unix.O_ACCMODE | unix.O_APPEND | unix.O_NONBLOCK
	// The dentry of an anonymous file, on the mount.
	anon := vfs.NewAnonFileInode(name, i, vfs.DefaultFileOps{}, unix.O_RDONLY, cred.Root())
	defer anon.DecRef()
	f := vfs.NewFile(vfs.Path{Mount: where.Mount, Dentry: anon.Path.Dentry}, ff, uint32(flags&keep), cred.Root())
	if pos > 0 {
		if _, err := f.Seek(vfs.KernelContext(), pos, unix.SEEK_SET); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// name is what the file is called.
func (ff *FDFile) name(st *unix.Statx_t) string {
	if ff.opts.Name != "" {
		return ff.opts.Name
	}
	if ff.opts.ProcSelfFD > 0 {
		var buf [unix.PathMax]byte
		if n, err := unix.Readlinkat(ff.opts.ProcSelfFD, strconv.Itoa(ff.fd), buf[:]); err == nil {
			return string(buf[:n])
		}
	}
	switch ff.mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return fmt.Sprintf("pipe:[%d]", st.Ino)
	case unix.S_IFSOCK:
		return fmt.Sprintf("socket:[%d]", st.Ino)
	case unix.S_IFCHR:
		switch {
		case st.Rdev_major == 1 && st.Rdev_minor == 3:
			return "/dev/null"
		case st.Rdev_major == 1 && st.Rdev_minor == 5:
			return "/dev/zero"
		case st.Rdev_major == 4:
			return fmt.Sprintf("/dev/tty%d", st.Rdev_minor)
		case st.Rdev_major >= 136 && st.Rdev_major < 144: // UNIX98_PTY_SLAVE_MAJOR
			return fmt.Sprintf("/dev/pts/%d", (st.Rdev_major-136)<<20|st.Rdev_minor)
		}
		return "/dev/tty"
	}
	return fmt.Sprintf("/host:[%d]", st.Ino)
}

func (ff *FDFile) attr(st *unix.Statx_t) vfs.Attr {
	fs := fileSystem{opts: Options{UIDs: ff.opts.UIDs, GIDs: ff.opts.GIDs}}
	return fs.attr(st)
}

// Descriptor is the host descriptor behind f, if f is inherited (for the sentry's own terminal handling).
func Descriptor(f *vfs.File) (fd int, ok bool) {
	switch ff := f.Ops.(type) {
	case *FDFile:
		return ff.fd, true
	case sharedFD:
		return ff.fd, true
	}
	return -1, false
}

// fdInode is the inode of an inherited file.
type fdInode struct {
	vfs.DefaultInodeOps
	ff *FDFile
}

// GetAttr implements vfs.InodeOps.
func (fi *fdInode) GetAttr(_ vfs.Context, i *vfs.Inode) (vfs.Attr, error) {
	var st unix.Statx_t
	if err := statx(fi.ff.fd, "", &st); err != nil {
		return i.Attr(), nil
	}
	return fi.ff.attr(&st), nil
}

// SetAttr implements vfs.InodeOps: size and times of regular files can be changed. A
// terminal's mode and owner are the host's (programs like mesg change them; that they
// cannot here is no reason to fail).
func (fi *fdInode) SetAttr(_ vfs.Context, _ *vfs.Inode, a *vfs.SetAttr) error {
	ff := fi.ff
	if a.Valid&(vfs.AttrMode|vfs.AttrUID|vfs.AttrGID) != 0 {
		return unix.EPERM
	}
	if a.Valid&vfs.AttrSize != 0 {
		if !ff.regular() {
			return unix.EINVAL
		}
		if err := unix.Ftruncate(ff.fd, a.Size); err != nil {
			return err
		}
		ff.mu.Lock()
		defer ff.mu.Unlock()
		if ff.cache != nil {
			return ff.cache.Truncate(a.Size)
		}
	}
	return nil
}

// Open implements vfs.InodeOps, for /proc/PID/fd: what is opened is the same description.
func (fi *fdInode) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	return sharedFD{fi.ff}, nil
}

// Evict implements vfs.InodeOps: no file is open on the descriptor any more.
func (fi *fdInode) Evict(*vfs.Inode) { fi.ff.close() }

// sharedFD is a further open file on the description.
type sharedFD struct{ *FDFile }

func (ff *FDFile) close() {
	watcher.remove(ff)
	ff.mu.Lock()
	if ff.cache != nil {
		_ = ff.cache.Sync(0, math.MaxInt64)
		ff.cache.Release()
		ff.cache = nil
	}
	ff.mu.Unlock()
	_ = unix.Close(ff.fd)
}

func (ff *FDFile) regular() bool { return ff.mode&unix.S_IFMT == unix.S_IFREG }

// Stream implements vfs.FileOps.
func (ff *FDFile) Stream() bool {
	switch ff.mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return true
	}
	return ff.tty
}

// ready asks whether the events hold, without waiting.
func (ff *FDFile) ready(events int16) int16 {
	p := []unix.PollFd{{Fd: int32(ff.fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return 0
		default:
			return p[0].Revents
		}
	}
}

// Readiness implements waitq.Waitable.
func (ff *FDFile) Readiness(mask waitq.Events) waitq.Events {
	if ff.regular() {
		return mask & (waitq.Readable | waitq.Writable)
	}
	return waitq.Events(uint16(ff.ready(int16(uint16(mask&0xffff))))) & (mask | waitq.Always)
}

// EventRegister implements waitq.Waitable.
func (ff *FDFile) EventRegister(e *waitq.Entry, mask waitq.Events) {
	ff.queue.EventRegister(e, mask)
	if !ff.regular() {
		watcher.watch(ff)
	}
}

// EventUnregister implements waitq.Waitable.
func (ff *FDFile) EventUnregister(e *waitq.Entry) { ff.queue.EventUnregister(e) }

// bufSize is how much is transferred at once.
const bufSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufSize); return &b }}

// Read implements vfs.FileOps.
func (ff *FDFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	if dst.Len() == 0 {
		return 0, nil
	}
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	if !ff.regular() {
		b := (*bp)[:min(uint64(bufSize), dst.Len())]
		n, err := ff.tryRead(b)
		if n <= 0 || err != nil {
			return 0, err
		}
		w, err := dst.Write(b[:n])
		return int64(w), dropErr(w, err)
	}
	var total int64
	for dst.Len() > 0 {
		b := (*bp)[:min(uint64(bufSize), dst.Len())]
		n, err := ff.transfer(b, off, unix.Read, unix.Pread)
		if err != nil && total == 0 {
			return 0, err
		}
		if n <= 0 || err != nil {
			break
		}
		w, err := dst.Write(b[:n])
		total += int64(w)
		off += int64(w)
		if err != nil {
			return total, dropErr(int(total), err)
		}
		if n < len(b) {
			break
		}
	}
	return total, nil
}

// dropErr forgets an error after a partial transfer.
func dropErr(n int, err error) error {
	if n > 0 || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// transfer moves bytes of a regular file: at the host's position if off is where the guest
// was last, at off otherwise.
func (ff *FDFile) transfer(b []byte, off int64, seq func(int, []byte) (int, error), at func(int, []byte, int64) (int, error)) (n int, err error) {
	ff.mu.Lock()
	defer ff.mu.Unlock()
	err = retry(func() error {
		if off == ff.next {
			n, err = seq(ff.fd, b)
		} else {
			n, err = at(ff.fd, b, off)
		}
		return err
	})
	if err == nil && n > 0 && off == ff.next {
		ff.next = off + int64(n)
	}
	return n, err
}

// tryRead reads what is there; EAGAIN if there is nothing.
func (ff *FDFile) tryRead(b []byte) (n int, err error) {
	if ff.canNowait() {
		err = retry(func() error {
			n, err = unix.Preadv2(ff.fd, [][]byte{b}, -1, unix.RWF_NOWAIT)
			return err
		})
		if !ff.noNowait(err) {
			return n, err
		}
	}
	if ff.Stream() && ff.ready(unix.POLLIN) == 0 {
		return 0, unix.EAGAIN
	}
	err = retry(func() error {
		n, err = unix.Read(ff.fd, b)
		return err
	})
	return n, err
}

func (ff *FDFile) canNowait() bool {
	ff.mu.Lock()
	defer ff.mu.Unlock()
	return ff.nowait && !ff.tty
}

// noNowait looks whether err says that RWF_NOWAIT does not work here.
func (ff *FDFile) noNowait(err error) bool {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.ESPIPE:
		ff.mu.Lock()
		ff.nowait = false
		ff.mu.Unlock()
		return true
	}
	return false
}

// Write implements vfs.FileOps.
func (ff *FDFile) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, off int64, flags vfs.IOFlags) (int64, int64, error) {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	var total int64
	for src.Len() > 0 {
		rest := *src
		b := (*bp)[:min(uint64(bufSize), src.Len())]
		k, err := rest.Read(b)
		if k == 0 {
			return total, off, dropErr(int(total), err)
		}
		var n int
		switch {
		case !ff.regular():
			n, err = ff.tryWrite(b[:k])
		case ff.append || flags&vfs.IOAppend != 0:
			n, err = ff.writeEnd(b[:k])
		default:
			n, err = ff.transfer(b[:k], off, unix.Write, unix.Pwrite)
		}
		if n < 0 {
			n = 0
		}
		*src = src.Skip(uint64(n))
		total += int64(n)
		off += int64(n)
		if err != nil || n < k {
			return total, off, dropErr(int(total), err)
		}
	}
	return total, off, nil
}

// writeEnd writes at the end of a regular file. If the host does not do so by itself,
// RWF_APPEND makes it.
func (ff *FDFile) writeEnd(b []byte) (n int, err error) {
	err = retry(func() error {
		if ff.append {
			n, err = unix.Write(ff.fd, b)
		} else {
			const rwfAppend = 0x10
			n, err = unix.Pwritev2(ff.fd, [][]byte{b}, -1, rwfAppend)
		}
		return err
	})
	return n, err
}

// tryWrite writes what there is room for; EAGAIN if there is none.
func (ff *FDFile) tryWrite(b []byte) (n int, err error) {
	if ff.canNowait() {
		err = retry(func() error {
			n, err = unix.Pwritev2(ff.fd, [][]byte{b}, -1, unix.RWF_NOWAIT)
			return err
		})
		if !ff.noNowait(err) {
			return n, err
		}
	}
	if ff.Stream() {
		if ff.ready(unix.POLLOUT) == 0 {
			return 0, unix.EAGAIN
		}
		// That much goes without waiting.
		b = b[:min(len(b), 4096)]
	}
	if ff.mode&unix.S_IFMT == unix.S_IFSOCK {
		err = retry(func() error {
			n, err = unix.SendmsgN(ff.fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			return err
		})
		return n, err
	}
	err = retry(func() error {
		n, err = unix.Write(ff.fd, b)
		return err
	})
	return n, err
}

// Seek implements vfs.FileOps.
func (ff *FDFile) Seek(_ vfs.Context, _ *vfs.File, _, off int64, whence int) (int64, error) {
	if ff.Stream() {
		return 0, unix.ESPIPE
	}
	ff.mu.Lock()
	defer ff.mu.Unlock()
	pos, err := unix.Seek(ff.fd, off, whence)
	if err != nil {
		return 0, err
	}
	ff.next = pos
	return pos, nil
}

// Sync implements vfs.FileOps.
func (ff *FDFile) Sync(_ vfs.Context, _ *vfs.File, _, _ int64, dataOnly bool) error {
	if !ff.regular() {
		return unix.EINVAL
	}
	ff.mu.Lock()
	c := ff.cache
	ff.mu.Unlock()
	if c != nil {
		if err := c.Sync(0, math.MaxInt64); err != nil {
			return err
		}
	}
	return retry(func() error {
		if dataOnly {
			return unix.Fdatasync(ff.fd)
		}
		return unix.Fsync(ff.fd)
	})
}

// Allocate implements vfs.FileOps.
func (ff *FDFile) Allocate(_ vfs.Context, _ *vfs.File, mode uint32, off, length int64) error {
	if !ff.regular() {
		return unix.ENODEV
	}
	return retry(func() error { return unix.Fallocate(ff.fd, mode, off, length) })
}

// MMap implements vfs.FileOps.
func (ff *FDFile) MMap(_ vfs.Context, _ *vfs.File, opts *mm.MMapOpts) error {
	if !ff.regular() || ff.opts.Memory == nil {
		return unix.ENODEV
	}
	var st unix.Statx_t
	if err := statx(ff.fd, "", &st); err != nil {
		return err
	}
	ff.mu.Lock()
	if ff.cache == nil {
		ff.cache = ff.opts.Memory.NewPageCache(fdBacking{ff.fd}, int64(st.Size))
	}
	c := ff.cache
	ff.mu.Unlock()
	c.Invalidate(0, math.MaxInt64)
	c.SetSize(int64(st.Size))
	opts.File = &mm.MapFile{Cache: c}
	return nil
}

// Release implements vfs.FileOps.
func (ff *FDFile) Release(*vfs.File) {
	ff.mu.Lock()
	c := ff.cache
	ff.mu.Unlock()
	if c != nil {
		_ = c.Sync(0, math.MaxInt64)
	}
}

// fdBacking is the backing of a mapped inherited file.
type fdBacking struct{ fd int }

// ReadPage implements mm.Backing.
func (b fdBacking) ReadPage(off int64, dst []byte) (int, error) {
	done := 0
	for done < len(dst) {
		n, err := unix.Pread(b.fd, dst[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// WritePage implements mm.Backing.
func (b fdBacking) WritePage(off int64, src []byte) error {
	return mm.Pwrite(b.fd, src, off)
}
