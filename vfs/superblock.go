package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// FileSystemType is a kind of file system that can be mounted (Linux: struct file_system_type).
type FileSystemType struct {
	Name string
	// NoDev: needs no block device; /proc/filesystems says so.
	NoDev bool
	// UserNS: may be mounted with CAP_SYS_ADMIN in a user namespace.
	UserNS bool
	// Mount makes or finds a file system, and returns it with a reference (and its Root
	// set). flags are MS_RDONLY and the like; data the options, separated by commas.
	Mount func(ctx Context, source string, flags uint64, data string) (*Superblock, error)
	// Reconfigure is remount; nil: only flags can be changed.
	Reconfigure func(ctx Context, sb *Superblock, flags uint64, data string) error
	// CheckOption looks at one option, "key" or "key=value", that fsconfig(2) adds; nil: they are
	// looked at when the file system is made.
	CheckOption func(ctx Context, option string) error
	// ShowOptions is what /proc/mounts shows besides the flags, without a leading comma; may be nil.
	ShowOptions func(sb *Superblock) string
}

// Superblock is one file system that is mounted somewhere (Linux: struct super_block).
type Superblock struct {
	Type       *FileSystemType
	Root       *Dentry // set by MakeRoot
	Dev        uint64  // st_dev
	Source     string
	Magic      int64 // statfs f_type
	MaxNameLen int
	BlockSize  int64
	MaxBytes   int64 // largest file, MaxInt64 at most
	Data       any   // the file system's own
	UserNS     *cred.UserNamespace
	// StatFS answers statfs(2); nil: only type and name length are known.
	StatFS func() unix.Statfs_t
	// SyncFS writes back everything; nil: nothing to do.
	SyncFS func(ctx Context) error
	// Kill is called when the last mount has gone and the dentries have been dropped.
	Kill func(sb *Superblock)
	// InodeFlags: chattr(1) may set the flags append, immutable and nodump, which are kept in
	// the inodes' cached attributes (Attr.Flags).
	InodeFlags bool
	// NoNegative: do not cache that a name does not exist.
	NoNegative bool

	// renameMu is held by renames from one directory to another, so that who is whose
	// ancestor holds still.
	renameMu  sync.Mutex
	renameSeq atomic.Uint64 // odd while a rename is under way

	flags   atomic.Uint64 // MS_RDONLY, MS_SYNCHRONOUS ...
	refs    atomic.Int64
	nextIno atomic.Uint64
	writers atomic.Int64 // open files that may write
	watched atomic.Int32 // notification marks on inodes, so that nobody looks for none

	// The dentries that may be dropped: a clock.
	lruMu     sync.Mutex
	lruHead   Dentry // sentinel
	lruCount  int
	MaxCached int // dentries kept; 0: defaultMaxCached
}

const defaultMaxCached = 1 << 16

var anonDev atomic.Uint64

// NewAnonDev is a new device number 0:n for a file system without a device.
func NewAnonDev() uint64 { return unix.Mkdev(0, uint32(anonDev.Add(1)+20)) }

// NewSuperblock returns a file system with a new anonymous device number and one
// reference. The caller sets what else it has, and its root with MakeRoot.
func NewSuperblock(t *FileSystemType, source string, magic int64) *Superblock {
	sb := &Superblock{Type: t, Source: source, Magic: magic, Dev: NewAnonDev(),
		MaxNameLen: 255, BlockSize: 4096, MaxBytes: 1<<63 - 1}
	sb.lruHead.lruNext, sb.lruHead.lruPrev = &sb.lruHead, &sb.lruHead
	sb.refs.Store(1)
	return sb
}

// NewIno is an inode number that has not been used.
func (sb *Superblock) NewIno() uint64 { return sb.nextIno.Add(1) }

// MakeRoot sets the root directory, and takes over i's reference.
func (sb *Superblock) MakeRoot(i *Inode) {
	sb.Root = newRoot(sb, "/", i)
	sb.Root.pin()
}

// Flags are the file system's MS_* flags (MS_RDONLY, MS_SYNCHRONOUS, MS_DIRSYNC, MS_LAZYTIME ...).
func (sb *Superblock) Flags() uint64 { return sb.flags.Load() }

// SetFlags replaces them.
func (sb *Superblock) SetFlags(f uint64) { sb.flags.Store(f) }

// ReadOnly tells whether nothing may be changed.
func (sb *Superblock) ReadOnly() bool { return sb.flags.Load()&unix.MS_RDONLY != 0 }

// IncRef takes a reference; mounts hold one.
func (sb *Superblock) IncRef() { sb.refs.Add(1) }

// TryIncRef takes a reference unless the last has gone.
func (sb *Superblock) TryIncRef() bool {
	for {
		n := sb.refs.Load()
		if n <= 0 {
			return false
		}
		if sb.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// DecRef drops a reference; after the last one the file system is shut down.
func (sb *Superblock) DecRef() {
	if n := sb.refs.Add(-1); n > 0 {
		return
	} else if n < 0 {
		panic("vfs: superblock reference dropped twice")
	}
	sb.ShrinkDentries(1 << 62)
	if sb.Root != nil {
		sb.Root.drop()
		sb.Root.forEachChild((*Dentry).drop)
		sb.Root.set(dUnhashed)
		sb.Root.unpin()
	}
	if sb.Kill != nil {
		sb.Kill(sb)
	}
}

func (sb *Superblock) lruAdd(d *Dentry) {
	sb.lruMu.Lock()
	if !d.inLRU && !d.has(dUnhashed) {
		h := &sb.lruHead
		d.lruNext, d.lruPrev = h.lruNext, h
		h.lruNext.lruPrev = d
		h.lruNext = d
		d.inLRU = true
		sb.lruCount++
	}
	max := sb.MaxCached
	if max == 0 {
		max = defaultMaxCached
	}
	over := sb.lruCount - max
	sb.lruMu.Unlock()
	if over > 0 {
		sb.ShrinkDentries(over + max/64)
	}
}

func (sb *Superblock) lruRemove(d *Dentry) {
	sb.lruMu.Lock()
	sb.lruUnlink(d)
	sb.lruMu.Unlock()
}

func (sb *Superblock) lruUnlink(d *Dentry) {
	if d.inLRU {
		d.lruPrev.lruNext, d.lruNext.lruPrev = d.lruNext, d.lruPrev
		d.lruNext, d.lruPrev, d.inLRU = nil, nil, false
		sb.lruCount--
	}
}

// ShrinkDentries drops up to n cached dentries that nobody uses, those not looked up
// for longest first, and returns how many it dropped.
func (sb *Superblock) ShrinkDentries(n int) int {
	freed := 0
	// Each turn looks at every dentry once: a dentry that was used lately is spared the first time.
	for turn := 0; turn < 2 && freed < n; turn++ {
		sb.lruMu.Lock()
		left := sb.lruCount
		sb.lruMu.Unlock()
		for ; left > 0 && freed < n; left-- {
			sb.lruMu.Lock()
			d := sb.lruHead.lruPrev
			if d == &sb.lruHead {
				sb.lruMu.Unlock()
				break
			}
			sb.lruUnlink(d)
			sb.lruMu.Unlock()
			if d.used.Swap(false) && turn == 0 || !d.reclaim() {
				sb.lruAddQuiet(d)
				continue
			}
			freed++
		}
	}
	return freed
}

func (sb *Superblock) lruAddQuiet(d *Dentry) {
	sb.lruMu.Lock()
	defer sb.lruMu.Unlock()
	if d.inLRU || d.has(dUnhashed) {
		return
	}
	h := &sb.lruHead
	d.lruNext, d.lruPrev = h.lruNext, h
	h.lruNext.lruPrev = d
	h.lruNext = d
	d.inLRU = true
	sb.lruCount++
}

// Dentries is the number of cached dentries that may be dropped.
func (sb *Superblock) Dentries() int {
	sb.lruMu.Lock()
	defer sb.lruMu.Unlock()
	return sb.lruCount
}

// statFS is statfs(2) with defaults filled in.
func (sb *Superblock) statFS() unix.Statfs_t {
	var s unix.Statfs_t
	if sb.StatFS != nil {
		s = sb.StatFS()
	}
	if s.Type == 0 {
		s.Type = sb.Magic
	}
	if s.Bsize == 0 {
		s.Bsize = sb.BlockSize
	}
	if s.Frsize == 0 {
		s.Frsize = s.Bsize
	}
	if s.Namelen == 0 {
		s.Namelen = int64(sb.MaxNameLen)
	}
	if s.Fsid == (unix.Fsid{}) {
		s.Fsid.Val[0] = int32(sb.Dev)
		s.Fsid.Val[1] = int32(sb.Dev >> 32)
	}
	return s
}
