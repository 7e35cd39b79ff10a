package host

import (
	"math"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
)

// regular is a regular file.
type regular struct{ *node }

// cache makes the page cache if there is none yet.
func (n *node) cache() *mm.PageCache {
	if c := n.pages.Load(); c != nil {
		return c
	}
	n.attrMu.Lock()
	defer n.attrMu.Unlock()
	if c := n.pages.Load(); c != nil {
		return c
	}
	c := n.fs.mem.NewPageCache(backing{n}, n.attr.Size)
	n.pages.Store(c)
	return c
}

// writeBack brings changed pages to the host.
func (n *node) writeBack() error {
	c := n.pages.Load()
	if c == nil || c.DirtyPages() == 0 {
		return nil
	}
	n.begin()
	defer n.end()
	return c.Sync(0, math.MaxInt64)
}

// truncate is the size part of SetAttr.
func (n *node) truncate(size int64) error {
	if n.typ != unix.S_IFREG {
		return unix.EINVAL
	}
	h, err := n.acquire(slotWrite)
	if err != nil {
		return err
	}
	defer fds.done(h)
	if err := retry(func() error { return unix.Ftruncate(h.fd, size) }); err != nil {
		return err
	}
	if c := n.pages.Load(); c != nil {
		return c.Truncate(size)
	}
	return nil
}

// Open implements vfs.InodeOps.
func (r *regular) Open(_ vfs.Context, _ *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	slot := slotRead
	if f.Writable() {
		if r.fs.opts.ReadOnly {
			return nil, unix.EROFS
		}
		slot = slotWrite
	}
	h, err := r.acquire(slot)
	if err == unix.ESTALE {
		err = unix.ENOENT
	}
	if err != nil {
		return nil, err
	}
	fds.done(h)
	if r.fs.shared {
		r.refresh()
	}
	r.cache()
	r.opens.Add(1)
	return &regularFile{n: r.node}, nil
}

// backing reads and writes the host's file for the page cache.
type backing struct{ n *node }

// ReadPage implements mm.Backing.
func (b backing) ReadPage(off int64, dst []byte) (int, error) {
	h, err := b.n.acquire(slotRead)
	if err != nil {
		return 0, err
	}
	defer fds.done(h)
	done := 0
	for done < len(dst) {
		n, err := unix.Pread(h.fd, dst[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			if done > 0 {
				break
			}
			return 0, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

// WritePage implements mm.Backing.
func (b backing) WritePage(off int64, src []byte) error {
	h, err := b.n.acquire(slotWrite)
	if err != nil {
		return err
	}
	defer fds.done(h)
	return mm.Pwrite(h.fd, src, off)
}

// PunchHole implements mm.Holer.
func (b backing) PunchHole(off, n int64) error {
	return b.n.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// SeekData implements mm.Holer.
func (b backing) SeekData(off int64) (int64, error) { return b.n.seek(off, unix.SEEK_DATA) }

// SeekHole implements mm.Holer.
func (b backing) SeekHole(off int64) (int64, error) { return b.n.seek(off, unix.SEEK_HOLE) }

func (n *node) seek(off int64, whence int) (int64, error) {
	h, err := n.acquire(slotRead)
	if err != nil {
		return 0, err
	}
	defer fds.done(h)
	return unix.Seek(h.fd, off, whence)
}

func (n *node) fallocate(mode uint32, off, length int64) error {
	h, err := n.acquire(slotWrite)
	if err != nil {
		return err
	}
	defer fds.done(h)
	return retry(func() error { return unix.Fallocate(h.fd, mode, off, length) })
}

// regularFile is an open regular file.
type regularFile struct {
	vfs.DefaultFileOps
	n *node
}

// Read implements vfs.FileOps.
func (rf *regularFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	c := rf.n.cache()
	n, err := c.ReadAt(dst, off)
	if n == 0 && err == nil && rf.n.fs.shared && dst.Len() > 0 {
		// At the end: it may have grown.
		if rf.n.refresh(); off < c.Size() {
			return c.ReadAt(dst, off)
		}
	}
	return n, err
}

// Write implements vfs.FileOps. What the page cache takes is on the host when it returns.
func (rf *regularFile) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, off int64, flags vfs.IOFlags) (int64, int64, error) {
	n := rf.n
	c := n.cache()
	if flags&vfs.IOAppend != 0 {
		if n.fs.shared {
			n.refresh()
		}
		off = c.Size()
	}
	if src.Len() == 0 {
		return 0, off, nil
	}
	if off >= math.MaxInt64-mm.PageSize {
		return 0, off, unix.EFBIG
	}
	old := c.Size()
	n.begin()
	defer n.end()
	done, err := c.WriteAt(src, off)
	if done > 0 {
		if serr := c.Sync(off, done); serr != nil {
			// Nothing may seem to be written that is not.
			c.Invalidate(off, done)
			var st unix.Statx_t
			if n.stat(&st) == nil {
				old = int64(st.Size)
			}
			c.SetSize(old)
			return 0, off, serr
		}
		err = nil
	}
	if done > 0 && flags&vfs.IOSync != 0 {
		err = n.fsync(true)
	}
	return done, off + done, err
}

// PlainSeek implements vfs.PlainSeeker.
func (*regularFile) PlainSeek() {}

// Seek implements vfs.FileOps.
func (rf *regularFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	n := rf.n
	c := n.cache()
	if n.fs.shared && whence > unix.SEEK_CUR {
		n.refresh()
	}
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		if off > 0 && pos > math.MaxInt64-off {
			return 0, unix.EOVERFLOW
		}
		off += pos
	case unix.SEEK_END:
		off += c.Size()
	case unix.SEEK_DATA, unix.SEEK_HOLE:
		if off < 0 || off >= c.Size() {
			return 0, unix.ENXIO
		}
		if whence == unix.SEEK_DATA {
			return c.SeekData(off)
		}
		return c.SeekHole(off)
	default:
		return 0, unix.EINVAL
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	return off, nil
}

// MMap implements vfs.FileOps.
func (rf *regularFile) MMap(_ vfs.Context, _ *vfs.File, opts *mm.MMapOpts) error {
	opts.File = &mm.MapFile{Cache: rf.n.cache()}
	return nil
}

// Sync implements vfs.FileOps.
func (rf *regularFile) Sync(_ vfs.Context, _ *vfs.File, _, _ int64, dataOnly bool) error {
	if rf.n.fs.opts.ReadOnly {
		return nil
	}
	if err := rf.n.writeBack(); err != nil {
		return err
	}
	return rf.n.fsync(dataOnly)
}

func (n *node) fsync(dataOnly bool) error {
	h, err := n.acquire(slotRead)
	if err != nil {
		return err
	}
	defer fds.done(h)
	return retry(func() error {
		if dataOnly {
			return unix.Fdatasync(h.fd)
		}
		return unix.Fsync(h.fd)
	})
}

// Allocate implements vfs.FileOps: the host does it, and the pages concerned are read anew.
func (rf *regularFile) Allocate(_ vfs.Context, _ *vfs.File, mode uint32, off, length int64) error {
	n := rf.n
	c := n.cache()
	n.begin()
	defer n.end()
	if mode == unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE {
		return c.PunchHole(off, length)
	}
	if err := n.writeBack(); err != nil {
		return err
	}
	if err := n.fallocate(mode, off, length); err != nil {
		return err
	}
	var st unix.Statx_t
	if err := n.stat(&st); err != nil {
		return err
	}
	if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 {
		c.Invalidate(off&^(mm.PageSize-1), math.MaxInt64-off)
	}
	c.SetSize(int64(st.Size))
	return nil
}

// Flush implements vfs.FileOps.
func (rf *regularFile) Flush(_ vfs.Context, f *vfs.File) error {
	if !f.Writable() {
		return nil
	}
	return rf.n.writeBack()
}

// Release implements vfs.FileOps.
func (rf *regularFile) Release(f *vfs.File) {
	if f.Writable() {
		_ = rf.n.writeBack() // who wants to know calls fsync
	}
	if rf.n.opens.Add(-1) == 0 {
		rf.n.dropWrite()
	}
}

// dropWrite lets the descriptor for writing be closed when no file is open any more.
func (n *node) dropWrite() {
	n.fdMu.Lock()
	defer n.fdMu.Unlock()
	if n.keptWrite && !n.kept {
		n.keptWrite = false
		if h := n.fds[slotWrite]; h != nil {
			fds.keep(h, false)
		}
	}
}
