package tmpfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/vfs"
)

// maxBytes is the largest size of a file: a whole number of pages.
const maxBytes = 1<<63 - mm.PageSize

// regular is a regular file.
type regular struct {
	node
	cache *mm.PageCache
	file  regularFile // the operations of all open files of it
	// seals are F_SEAL_*; changed with the inode's WriteMu held. Files that have a name have
	// F_SEAL_SEAL from the beginning.
	seals atomic.Uint32
}

// GetAttr implements vfs.InodeOps.
func (r *regular) GetAttr(_ vfs.Context, i *vfs.Inode) (vfs.Attr, error) {
	a := i.Attr()
	a.Size = r.cache.Size()
	a.Blocks = r.cache.Pages() * (mm.PageSize / 512)
	return a, nil
}

// SetAttr implements vfs.InodeOps.
func (r *regular) SetAttr(_ vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error {
	if a.Valid&vfs.AttrMode != 0 && r.seals.Load()&unix.F_SEAL_EXEC != 0 && (a.Mode^i.Mode())&0111 != 0 {
		return unix.EPERM
	}
	if a.Valid&vfs.AttrSize == 0 {
		r.setAttr(i, a)
		return nil
	}
	if a.Size < 0 {
		return unix.EINVAL
	}
	if a.Size > maxBytes {
		return unix.EFBIG
	}
	old := r.cache.Size()
	if s := r.seals.Load(); a.Size < old && s&unix.F_SEAL_SHRINK != 0 || a.Size > old && s&unix.F_SEAL_GROW != 0 {
		return unix.EPERM
	}
	if a.Size != old {
		if err := r.cache.Truncate(a.Size); err != nil {
			return err
		}
		r.resized(i)
	}
	if a.Valid&^vfs.AttrSize != 0 {
		r.setAttr(i, a)
	}
	return nil
}

// Open implements vfs.InodeOps.
func (r *regular) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) { return &r.file, nil }

// Evict implements vfs.InodeOps.
func (r *regular) Evict(i *vfs.Inode) {
	r.cache.Release()
	r.node.Evict(i)
}

// resized records that the content has changed.
func (r *regular) resized(i *vfs.Inode) {
	now, size := vfs.Now(), r.cache.Size()
	i.UpdateAttr(func(a *vfs.Attr) { a.Size, a.Mtime, a.Ctime = size, now, now })
}

// regularFile is an open regular file.
type regularFile struct {
	vfs.DefaultFileOps
	r *regular
}

// Read implements vfs.FileOps.
func (rf *regularFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	return rf.r.cache.ReadAt(dst, off)
}

// Write implements vfs.FileOps.
func (rf *regularFile) Write(_ vfs.Context, f *vfs.File, src *usermem.IO, off int64, flags vfs.IOFlags) (int64, int64, error) {
	r, i := rf.r, f.Inode()
	if flags&vfs.IOAppend != 0 {
		off = r.cache.Size()
	}
	n := src.Len()
	if n == 0 {
		return 0, off, nil
	}
	if off >= maxBytes {
		return 0, off, unix.EFBIG
	}
	n = min(n, uint64(maxBytes-off))
	if s := r.seals.Load(); s&^unix.F_SEAL_SEAL != 0 {
		if s&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
			return 0, off, unix.EPERM
		}
		if size := r.cache.Size(); s&unix.F_SEAL_GROW != 0 && off+int64(n) > size {
			// Whole pages below the end can be written.
			size -= size % mm.PageSize
			if off >= size {
				return 0, off, unix.EPERM
			}
			n = uint64(size - off)
		}
	}
	limited := src.Limit(n)
	done, err := r.cache.WriteAt(&limited, off)
	*src = src.Skip(uint64(done))
	if done > 0 {
		r.resized(i)
		err = nil
	}
	return done, off + done, err
}

// PlainSeek implements vfs.PlainSeeker.
func (*regularFile) PlainSeek() {}

// Seek implements vfs.FileOps.
func (rf *regularFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	c := rf.r.cache
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		if off > 0 && pos+off < 0 {
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
	if off < 0 || off > maxBytes {
		return 0, unix.EINVAL
	}
	return off, nil
}

// Sync implements vfs.FileOps: there is no storage to be in step with.
func (*regularFile) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return nil }

// Allocate implements vfs.FileOps.
func (rf *regularFile) Allocate(_ vfs.Context, f *vfs.File, mode uint32, off, length int64) error {
	if mode&^(unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE) != 0 {
		return unix.EOPNOTSUPP
	}
	r, i := rf.r, f.Inode()
	seals := r.seals.Load()
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		if seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
			return unix.EPERM
		}
		if err := r.cache.PunchHole(off, length); err != nil {
			return err
		}
		r.resized(i)
		return nil
	}
	end := off + length
	if end > maxBytes || end < 0 {
		return unix.EFBIG
	}
	if seals&unix.F_SEAL_GROW != 0 && end > r.cache.Size() {
		return unix.EPERM
	}
	// Do not begin what cannot be ended.
	if max := r.fs.maxPages.Load(); max != 0 && (end+mm.PageSize-1)/mm.PageSize-off/mm.PageSize > max {
		return unix.ENOSPC
	}
	if err := r.cache.Allocate(off, length, mode&unix.FALLOC_FL_KEEP_SIZE != 0); err != nil {
		return err
	}
	r.resized(i)
	return nil
}

// MMap implements vfs.FileOps.
func (rf *regularFile) MMap(_ vfs.Context, _ *vfs.File, opts *mm.MMapOpts) error {
	prot := platform.Read | platform.Write | platform.Exec
	if opts.Flags&unix.MAP_TYPE != unix.MAP_PRIVATE &&
		rf.r.seals.Load()&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		if opts.Prot&unix.PROT_WRITE != 0 {
			return unix.EPERM
		}
		prot &^= platform.Write
	}
	opts.File = &mm.MapFile{Cache: rf.r.cache, MaxProt: prot}
	return nil
}
