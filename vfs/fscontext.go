package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FSContext is a task's root, working directory and umask (Linux: struct fs_struct),
// shared by tasks that were made with CLONE_FS.
type FSContext struct {
	refs  atomic.Int64
	umask atomic.Uint32
	mu    sync.Mutex // over changes
	place atomic.Pointer[fsPlace]
}

// fsPlace is immutable; readers need no lock.
type fsPlace struct{ root, cwd Path }

// NewFSContext takes references on both paths.
func NewFSContext(root, cwd Path, umask uint32) *FSContext {
	fs := &FSContext{}
	root.IncRef()
	cwd.IncRef()
	fs.refs.Store(1)
	fs.umask.Store(umask & 0777)
	fs.place.Store(&fsPlace{root, cwd})
	return fs
}

// Root is the root directory. No reference is taken: the path is good for a walk. Who
// keeps it calls TryIncRef, or GetRoot.
func (fs *FSContext) Root() Path { return fs.place.Load().root }

// Cwd is the working directory, without a reference.
func (fs *FSContext) Cwd() Path { return fs.place.Load().cwd }

// GetRoot returns the root with a reference.
func (fs *FSContext) GetRoot() Path {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p := fs.place.Load().root
	p.IncRef()
	return p
}

// GetCwd returns the working directory with a reference.
func (fs *FSContext) GetCwd() Path {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p := fs.place.Load().cwd
	p.IncRef()
	return p
}

// Umask is the file mode creation mask.
func (fs *FSContext) Umask() uint32 { return fs.umask.Load() }

// SetUmask sets it and returns the old one. It may be used in a leaf call.
//
//go:nosplit
func (fs *FSContext) SetUmask(m uint32) uint32 { return fs.umask.Swap(m & 0777) }

// Clone is a copy for a task made without CLONE_FS.
func (fs *FSContext) Clone() *FSContext {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	pl := fs.place.Load()
	return NewFSContext(pl.root, pl.cwd, fs.umask.Load())
}

// IncRef shares fs with a further task.
func (fs *FSContext) IncRef() { fs.refs.Add(1) }

// Shared tells whether more than one task uses fs.
func (fs *FSContext) Shared() bool { return fs.refs.Load() > 1 }

// DecRef is for a task that exits or unshares.
func (fs *FSContext) DecRef() {
	if fs.refs.Add(-1) != 0 {
		return
	}
	pl := fs.place.Load()
	pl.root.DecRef()
	pl.cwd.DecRef()
}

// SetRoot changes the root (p's reference is taken, not taken over).
func (fs *FSContext) SetRoot(p Path) {
	fs.replace(func(pl *fsPlace) { pl.root = p })
}

// SetCwd changes the working directory.
func (fs *FSContext) SetCwd(p Path) {
	fs.replace(func(pl *fsPlace) { pl.cwd = p })
}

func (fs *FSContext) replace(f func(*fsPlace)) {
	fs.mu.Lock()
	old := fs.place.Load()
	n := *old
	f(&n)
	n.root.IncRef()
	n.cwd.IncRef()
	fs.place.Store(&n)
	fs.mu.Unlock()
	old.root.DecRef()
	old.cwd.DecRef()
}

// ReplacePaths changes root and working directory where they are from to to: for pivot_root and
// for a new mount namespace.
func (fs *FSContext) ReplacePaths(swap func(Path) Path) {
	fs.replace(func(pl *fsPlace) {
		pl.root, pl.cwd = swap(pl.root), swap(pl.cwd)
	})
}

// Chdir is chdir(2) and (with path "" and AT_EMPTY_PATH semantics) fchdir(2).
func (fs *FSContext) Chdir(ctx Context, start Path, path string) error {
	flags := LookupFollow | LookupDirectory
	if path == "" {
		flags |= LookupEmpty
	}
	p, err := Lookup(ctx, start, path, flags)
	if err != nil {
		return err
	}
	defer p.DecRef()
	if err := Permission(ctx, p.Inode(), MayExec); err != nil {
		return err
	}
	fs.SetCwd(p)
	return nil
}

// Chroot is chroot(2). The caller has checked CAP_SYS_CHROOT.
func (fs *FSContext) Chroot(ctx Context, start Path, path string) error {
	p, err := Lookup(ctx, start, path, LookupFollow|LookupDirectory)
	if err != nil {
		return err
	}
	defer p.DecRef()
	if err := Permission(ctx, p.Inode(), MayExec); err != nil {
		return err
	}
	if c := ctx.Cred(); !c.Has(unix.CAP_SYS_CHROOT) {
		return unix.EPERM
	}
	fs.SetRoot(p)
	return nil
}
