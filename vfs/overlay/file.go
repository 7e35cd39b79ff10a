package overlay

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// file is an open regular file: what is done to it is done to the real file below.
type file struct {
	vfs.DefaultFileOps
	i     *inode
	flags uint32 // of the real files

	real  atomic.Pointer[vfs.File]
	upper atomic.Bool // real is the upper layer's

	// mu protects old and changes of real.
	mu  sync.Mutex
	old *vfs.File // the lower file, after the inode was copied up: mappings may use it
}

// realFlags are the flags that matter below.
const realFlags = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_DIRECT | unix.O_NOATIME

// Open implements vfs.InodeOps.
func (i *inode) Open(ctx vfs.Context, _ *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	if i.self.IsDir() {
		return &dirFile{i: i}, nil
	}
	ctx = i.fs.context(ctx)
	if f.Writable() {
		size := int64(-1)
		if f.OpenFlags()&unix.O_TRUNC != 0 {
			size = 0
		}
		if err := i.copyUp(ctx, size); err != nil {
			return nil, err
		}
	}
	of := &file{i: i, flags: f.Flags() & realFlags}
	of.upper.Store(i.upper.Load() != nil)
	real, err := vfs.OpenPath(ctx, i.top(), of.flags)
	if err != nil {
		return nil, err
	}
	of.real.Store(real)
	return of, nil
}

// below is the real file: the upper one as soon as there is one.
func (of *file) below(ctx vfs.Context) *vfs.File {
	if of.upper.Load() || of.i.upper.Load() == nil {
		return of.real.Load()
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.upper.Load() {
		return of.real.Load()
	}
	f, err := vfs.OpenPath(of.i.fs.context(ctx), *of.i.upper.Load(), of.flags)
	if err != nil {
		return of.real.Load() // what it was before it changed is better than nothing
	}
	of.old = of.real.Swap(f)
	of.upper.Store(true)
	return f
}

// Readiness implements waitq.Waitable.
func (of *file) Readiness(mask waitq.Events) waitq.Events {
	return mask & (waitq.Readable | waitq.Writable)
}

// Read implements vfs.FileOps.
func (of *file) Read(ctx vfs.Context, f *vfs.File, dst *usermem.IO, off int64, flags vfs.IOFlags) (int64, error) {
	r := of.below(ctx)
	n, err := r.Ops.Read(ctx, r, dst, off, flags)
	of.accessed(f, r)
	return n, err
}

// accessed updates the access time of an upper file.
func (of *file) accessed(f, real *vfs.File) {
	if !of.upper.Load() || of.flags&unix.O_NOATIME != 0 {
		return
	}
	if m := f.Path.Mount; m != nil && m.Flags()&(unix.MS_NOATIME|unix.MS_RDONLY) != 0 {
		return
	}
	real.Path.Accessed()
}

// Write implements vfs.FileOps.
func (of *file) Write(ctx vfs.Context, _ *vfs.File, src *usermem.IO, off int64, flags vfs.IOFlags) (int64, int64, error) {
	r := of.below(ctx)
	ri := r.Inode()
	ri.WriteMu.Lock()
	defer ri.WriteMu.Unlock()
	return r.Ops.Write(ctx, r, src, off, flags)
}

// PlainSeek implements vfs.PlainSeeker.
func (*file) PlainSeek() {}

// Seek implements vfs.FileOps.
func (of *file) Seek(ctx vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	r := of.below(ctx)
	return r.Ops.Seek(ctx, r, pos, off, whence)
}

// Ioctl implements vfs.FileOps.
func (of *file) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	r := of.below(ctx)
	return r.Ops.Ioctl(ctx, r, cmd, arg)
}

// MMap implements vfs.FileOps.
func (of *file) MMap(ctx vfs.Context, f *vfs.File, opts *mm.MMapOpts) error {
	r := of.below(ctx)
	err := r.Ops.MMap(ctx, r, opts)
	if err == nil {
		of.accessed(f, r)
	}
	return err
}

// Sync implements vfs.FileOps.
func (of *file) Sync(ctx vfs.Context, _ *vfs.File, off, length int64, dataOnly bool) error {
	r := of.below(ctx)
	if !of.upper.Load() {
		return nil
	}
	return r.Ops.Sync(ctx, r, off, length, dataOnly)
}

// Allocate implements vfs.FileOps.
func (of *file) Allocate(ctx vfs.Context, _ *vfs.File, mode uint32, off, length int64) error {
	r := of.below(ctx)
	ri := r.Inode()
	ri.WriteMu.Lock()
	defer ri.WriteMu.Unlock()
	return r.Ops.Allocate(ctx, r, mode, off, length)
}

// Flush implements vfs.FileOps.
func (of *file) Flush(ctx vfs.Context, _ *vfs.File) error {
	r := of.real.Load()
	return r.Ops.Flush(ctx, r)
}

// Release implements vfs.FileOps.
func (of *file) Release(*vfs.File) {
	of.real.Load().DecRef()
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.old != nil {
		of.old.DecRef()
	}
}
