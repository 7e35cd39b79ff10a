package vfs

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Timespec is a point in time or a duration as inodes have it.
type Timespec = unix.Timespec

// Now is the current time of day, for inode times: that of SetNow or the host's clock.
func Now() Timespec {
	if ns := coarseNow.Load(); ns != 0 {
		return unix.NsecToTimespec(ns)
	}
	return unix.NsecToTimespec(time.Now().UnixNano())
}

// coarseNow is in nanoseconds since 1970, or 0.
var coarseNow atomic.Int64

// SetNow makes Now tell a time that the caller goes on setting every few milliseconds, as Linux takes the times of files
// from its last timer interrupt; zero makes it read the clock each time.
func SetNow(t time.Time) {
	if t.IsZero() {
		coarseNow.Store(0)
		return
	}
	coarseNow.Store(t.UnixNano())
}

// Attr is what stat(2) tells of an inode.
type Attr struct {
	Mode    uint32 // type and permission bits, S_IF* | 07777
	Nlink   uint32
	UID     uint32 // kernel ids (of the initial user namespace)
	GID     uint32
	Rdev    uint64 // as unix.Mkdev
	Size    int64
	Blocks  int64 // of 512 bytes
	BlkSize int32
	Atime   Timespec
	Mtime   Timespec
	Ctime   Timespec
	Btime   Timespec // zero: unknown
	Flags   uint64   // STATX_ATTR_*
}

// SetAttr is a change of attributes: only those in Valid.
type SetAttr struct {
	Valid AttrMask
	Mode  uint32 // permission bits
	UID   uint32
	GID   uint32
	Size  int64
	Atime Timespec
	Mtime Timespec
	// File is the open file that ftruncate and the like go through, or nil.
	File *File
}

// AttrMask says which fields a SetAttr changes.
type AttrMask uint32

const (
	AttrMode AttrMask = 1 << iota
	AttrUID
	AttrGID
	AttrSize
	AttrAtime // to the value given; AttrAtimeNow: to the time of the change
	AttrMtime
	AttrAtimeNow
	AttrMtimeNow
	AttrKillPriv // drop setuid, setgid and file capabilities: the content or the owner changes
)

// Inode is one file of any type. The file system that owns it gives Ops and
// fills the attributes; package vfs checks permissions, holds locks and notification
// marks. Inodes are counted: every dentry and open file holds a reference; when the
// last goes, Ops.Evict runs.
type Inode struct {
	Ops InodeOps
	SB  *Superblock // immutable
	Ino uint64      // immutable

	refs atomic.Int64

	// NoMount: nothing can be mounted here. Set before the inode is in use.
	NoMount bool

	// opFlags says which optional interfaces Ops implements; immutable.
	opFlags uint8

	// mu protects attr. modeBits and attrFlags repeat Mode and Flags for readers without the lock.
	mu        sync.RWMutex
	attr      Attr
	modeBits  atomic.Uint32
	attrFlags atomic.Uint64
	// noSec: a write has nothing to strip (no setuid bits, no file capabilities).
	noSec atomic.Bool

	// aux is what other packages attach: the pipe of a FIFO, the socket bound to a name.
	auxMu sync.Mutex
	aux   any

	// DirMu is held by package vfs over every change of a directory (for write)
	// and over lookups that ask the file system (for read). Linux: i_rwsem of a
	// directory. Rename takes the superblock's rename lock first, then both
	// directories, ancestors first.
	DirMu sync.RWMutex

	// WriteMu serializes writes to a regular file (Linux: i_rwsem). Package vfs holds it
	// over Write and Allocate of FileOps and over SetAttr of the size: a file system
	// must not take it there.
	WriteMu sync.Mutex

	// linkMu is held over changes of the number of links, so that a file whose last name
	// goes is not given a new one.
	linkMu sync.Mutex
	// linkable: made by O_TMPFILE without O_EXCL, may get a first name.
	linkable atomic.Bool

	// locks and marks are made on demand.
	locks atomic.Pointer[fileLocks]
	marks atomic.Pointer[notifyMarks]
	// writers counts open files that may write (negative: execution denies writing, ETXTBSY).
	writers atomic.Int64
	// readers counts open files that may only read, for leases.
	readers atomic.Int64
}

const (
	opRevalidate = 1 << iota
	opPermission
	opMagicLink
)

// NewInode returns an inode with one reference, the caller's.
func NewInode(sb *Superblock, ino uint64, ops InodeOps, attr Attr) *Inode {
	i := &Inode{Ops: ops, SB: sb, Ino: ino, attr: attr}
	i.refs.Store(1)
	i.modeBits.Store(attr.Mode)
	i.attrFlags.Store(attr.Flags)
	if _, ok := ops.(Revalidator); ok {
		i.opFlags |= opRevalidate
	}
	if _, ok := ops.(Permissioner); ok {
		i.opFlags |= opPermission
	}
	if _, ok := ops.(MagicLink); ok {
		i.opFlags |= opMagicLink
	}
	return i
}

// Aux is what another package has attached to the inode, or what make returns, which
// is attached then. With a nil make it may be nil. Evict of the inode's Ops is where it ends.
func (i *Inode) Aux(make func() any) any {
	i.auxMu.Lock()
	defer i.auxMu.Unlock()
	if i.aux == nil && make != nil {
		i.aux = make()
	}
	return i.aux
}

// SetAux replaces what is attached.
func (i *Inode) SetAux(v any) {
	i.auxMu.Lock()
	i.aux = v
	i.auxMu.Unlock()
}

// IncRef takes another reference; the caller has one already.
func (i *Inode) IncRef() { i.refs.Add(1) }

// TryIncRef takes a reference unless the last one has gone.
func (i *Inode) TryIncRef() bool {
	for {
		n := i.refs.Load()
		if n == 0 {
			return false
		}
		if i.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// DecRef drops a reference.
func (i *Inode) DecRef() {
	switch n := i.refs.Add(-1); {
	case n == 0:
		i.evictMarks()
		i.evictLocks()
		i.Ops.Evict(i)
	case n < 0:
		panic("vfs: inode reference dropped twice")
	}
}

// Attr is a copy of the cached attributes; GetAttr of Ops is the truth for file
// systems whose attributes change elsewhere.
func (i *Inode) Attr() Attr {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.attr
}

// UpdateAttr changes the cached attributes under the inode's lock.
func (i *Inode) UpdateAttr(f func(*Attr)) {
	i.mu.Lock()
	f(&i.attr)
	if i.attr.Mode != i.modeBits.Load() {
		i.modeBits.Store(i.attr.Mode)
		i.noSec.Store(false)
	}
	if i.attr.Flags != i.attrFlags.Load() {
		i.attrFlags.Store(i.attr.Flags)
	}
	i.mu.Unlock()
}

// Mode is the type and permission bits.
func (i *Inode) Mode() uint32 { return i.modeBits.Load() }

// owner is the user and group.
func (i *Inode) owner() (uid, gid uint32) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.attr.UID, i.attr.GID
}

// Size is the cached size.
func (i *Inode) Size() int64 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.attr.Size
}

// Refs is the number of references, for tests and debugging.
func (i *Inode) Refs() int64 { return i.refs.Load() }

// Type is Mode & S_IFMT; it never changes.
func (i *Inode) Type() uint32 { return i.Mode() & unix.S_IFMT }

// IsDir, IsSymlink and IsRegular ask for the type.
func (i *Inode) IsDir() bool     { return i.Type() == unix.S_IFDIR }
func (i *Inode) IsSymlink() bool { return i.Type() == unix.S_IFLNK }
func (i *Inode) IsRegular() bool { return i.Type() == unix.S_IFREG }

// InodeOps is what a file system does for an inode. Embed DefaultInodeOps for the
// answers of what it does not support.
//
// Package vfs has checked types, permissions, read-only mounts, name length, sticky
// bits and existence before it calls; it holds DirMu of the directories involved and
// updates the dentry cache after. The file system updates attributes (times, nlink, size).
// New inodes are returned with one reference, which the dentry takes over.
type InodeOps interface {
	// Lookup finds name in dir; ENOENT if it is not there.
	Lookup(ctx Context, dir *Inode, name string) (*Inode, error)
	// Create makes a regular file; Mknod a node of type mode&S_IFMT (FIFO, device,
	// socket or regular); mode includes the type and has the umask applied.
	Create(ctx Context, dir *Inode, name string, mode uint32) (*Inode, error)
	Mknod(ctx Context, dir *Inode, name string, mode uint32, rdev uint64) (*Inode, error)
	Mkdir(ctx Context, dir *Inode, name string, mode uint32) (*Inode, error)
	Symlink(ctx Context, dir *Inode, name, target string) (*Inode, error)
	// Link gives target the further name; returns the inode for the dentry (mostly target, reference taken).
	Link(ctx Context, dir *Inode, name string, target *Inode) (*Inode, error)
	Unlink(ctx Context, dir *Inode, name string, victim *Inode) error
	Rmdir(ctx Context, dir *Inode, name string, victim *Inode) error
	// Rename moves; victim is what newName names now, or nil. flags are RENAME_*
	// (NOREPLACE has been checked, EXCHANGE swaps, WHITEOUT leaves a 0,0 device).
	Rename(ctx Context, oldDir *Inode, oldName string, src *Inode, newDir *Inode, newName string, victim *Inode, flags uint32) error
	// Tmpfile makes a file without a name (O_TMPFILE), nlink 0.
	Tmpfile(ctx Context, dir *Inode, mode uint32) (*Inode, error)

	Readlink(ctx Context, i *Inode) (string, error)

	// Open makes the operations for a new file description; f has flags, mount
	// and dentry set. Not called for O_PATH, FIFOs, and device nodes.
	Open(ctx Context, i *Inode, f *File) (FileOps, error)

	GetAttr(ctx Context, i *Inode) (Attr, error)
	// SetAttr applies what is valid in a; permissions have been checked.
	SetAttr(ctx Context, i *Inode, a *SetAttr) error

	GetXattr(ctx Context, i *Inode, name string) ([]byte, error) // ENODATA, EOPNOTSUPP
	SetXattr(ctx Context, i *Inode, name string, value []byte, flags int) error
	ListXattr(ctx Context, i *Inode) ([]string, error)
	RemoveXattr(ctx Context, i *Inode, name string) error

	// Evict frees what the inode holds: no reference is left.
	Evict(i *Inode)
}

// A MagicLink is a symbolic link that leads to a path which need not have a name
// (/proc/PID/fd/N). InodeOps of such a link implement it besides Readlink.
type MagicLink interface {
	// Follow returns where the link leads, with a reference taken (Path.IncRef).
	Follow(ctx Context, i *Inode) (Path, error)
}

// A Permissioner decides itself about access (Linux: i_op->permission). mask is of May*.
// It may be called without a reference on i, so also while or after i is evicted.
type Permissioner interface {
	Permission(ctx Context, i *Inode, mask uint32) error
}

// A Revalidator is a directory whose names may change without package vfs: it is asked
// about a cached dentry before use (Linux: d_revalidate); i is nil for a name that was
// not there. False drops the dentry, and Lookup is called. A reference on dir and i is held.
type Revalidator interface {
	Revalidate(ctx Context, dir *Inode, name string, i *Inode) bool
}

// DefaultInodeOps answers what Linux answers where an operation is not there.
type DefaultInodeOps struct{}

func (DefaultInodeOps) Lookup(Context, *Inode, string) (*Inode, error) { return nil, unix.ENOTDIR }
func (DefaultInodeOps) Create(Context, *Inode, string, uint32) (*Inode, error) {
	return nil, unix.EACCES
}
func (DefaultInodeOps) Mknod(Context, *Inode, string, uint32, uint64) (*Inode, error) {
	return nil, unix.EPERM
}
func (DefaultInodeOps) Mkdir(Context, *Inode, string, uint32) (*Inode, error) {
	return nil, unix.EPERM
}
func (DefaultInodeOps) Symlink(Context, *Inode, string, string) (*Inode, error) {
	return nil, unix.EPERM
}
func (DefaultInodeOps) Link(Context, *Inode, string, *Inode) (*Inode, error) {
	return nil, unix.EPERM
}
func (DefaultInodeOps) Unlink(Context, *Inode, string, *Inode) error { return unix.EPERM }
func (DefaultInodeOps) Rmdir(Context, *Inode, string, *Inode) error  { return unix.EPERM }
func (DefaultInodeOps) Rename(Context, *Inode, string, *Inode, *Inode, string, *Inode, uint32) error {
	return unix.EPERM
}
func (DefaultInodeOps) Tmpfile(Context, *Inode, uint32) (*Inode, error) {
	return nil, unix.EOPNOTSUPP
}
func (DefaultInodeOps) Readlink(Context, *Inode) (string, error)            { return "", unix.EINVAL }
func (DefaultInodeOps) Open(Context, *Inode, *File) (FileOps, error)        { return nil, unix.ENXIO }
func (DefaultInodeOps) GetAttr(_ Context, i *Inode) (Attr, error)           { return i.Attr(), nil }
func (DefaultInodeOps) SetAttr(Context, *Inode, *SetAttr) error             { return unix.EPERM }
func (DefaultInodeOps) GetXattr(Context, *Inode, string) ([]byte, error)    { return nil, unix.EOPNOTSUPP }
func (DefaultInodeOps) SetXattr(Context, *Inode, string, []byte, int) error { return unix.EOPNOTSUPP }
func (DefaultInodeOps) ListXattr(Context, *Inode) ([]string, error)         { return nil, nil }
func (DefaultInodeOps) RemoveXattr(Context, *Inode, string) error           { return unix.EOPNOTSUPP }
func (DefaultInodeOps) Evict(*Inode)                                        {}
