package vfs

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs/cred"
)

// DeviceOpener opens a device node: i is the node, f the file that is being made.
type DeviceOpener func(ctx Context, i *Inode, f *File) (FileOps, error)

// FIFOOpener opens a FIFO: it finds (or makes) the pipe that belongs to i (see
// Inode.Aux), and waits for the other end as fifo(7) says.
type FIFOOpener func(ctx Context, i *Inode, f *File) (FileOps, error)

// Registry is what a sandbox has of each kind once: the file system types, device
// drivers and hooks it knows, and the lock over all its mount namespaces.
type Registry struct {
	// Hooks of other packages; set before the first use.
	OpenFIFO FIFOOpener
	// ForEachFS calls f with the FSContext of every task (pivot_root moves them all).
	ForEachFS func(f func(*FSContext))
	// Memory is what the data that files keep for guests is charged to; nil: nothing.
	Memory *mm.Memory

	// Values of /proc/sys/fs.
	ProtectedSymlinks  atomic.Int32
	ProtectedHardlinks atomic.Int32
	ProtectedFIFOs     atomic.Int32
	ProtectedRegular   atomic.Int32
	LeaseBreakTime     atomic.Int32 // seconds
	MountMax           atomic.Int32
	NROpen             atomic.Int32
	PipeMaxSize        atomic.Int32
	PipePagesSoft      atomic.Int64
	PipePagesHard      atomic.Int64
	EpollWatchesMax    atomic.Int64
	InotifyEventsMax   atomic.Int32

	// Users counts what the values above limit for a user.
	Users cred.UserCounts

	mu       sync.RWMutex
	types    []*FileSystemType
	chars    []devRange
	blocks   []devRange
	sbs      map[*Superblock]int // mounted: number of mounts
	mountMu  sync.RWMutex        // over all mount trees; Linux: namespace_sem
	mountSeq atomic.Uint64       // changes of any mount tree
	mountID  atomic.Int64
	uniqueID atomic.Uint64
	groupIDs idPool
	mounts   map[*Mount]struct{} // attached to a mountpoint; under mountMu
	nsIno    atomic.Uint64
	lockList lockRegistry
}

type devRange struct {
	major, minor, count uint32
	open                DeviceOpener
	name                string
}

// NewRegistry returns one without file systems and devices.
func NewRegistry() *Registry {
	r := &Registry{sbs: make(map[*Superblock]int), mounts: make(map[*Mount]struct{})}
	r.ProtectedSymlinks.Store(1)
	r.ProtectedHardlinks.Store(1)
	r.LeaseBreakTime.Store(45)
	r.MountMax.Store(100000)
	r.NROpen.Store(1 << 20)
	r.PipeMaxSize.Store(1 << 20)
	r.PipePagesSoft.Store(16384)
	r.EpollWatchesMax.Store(1 << 20)
	r.InotifyEventsMax.Store(16384)
	r.mountID.Store(20)
	r.uniqueID.Store(1 << 31)
	r.nsIno.Store(0xF0000000)
	return r
}

// Register makes t known.
func (r *Registry) Register(t *FileSystemType) {
	r.mu.Lock()
	r.types = append(r.types, t)
	r.mu.Unlock()
}

// Lookup finds a type by name, or nil.
func (r *Registry) Lookup(name string) *FileSystemType {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, t := range r.types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// All are the known types in the order of registration, for /proc/filesystems.
func (r *Registry) All() []*FileSystemType {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.types)
}

// RegisterCharDev makes open the driver of the character devices major:minor to
// major:minor+count-1. name is what /proc/devices shows.
func RegisterCharDev(r *Registry, name string, major, minor, count uint32, open DeviceOpener) {
	r.mu.Lock()
	r.chars = append(r.chars, devRange{major, minor, count, open, name})
	r.mu.Unlock()
}

// RegisterBlockDev does the same for block devices.
func RegisterBlockDev(r *Registry, name string, major, minor, count uint32, open DeviceOpener) {
	r.mu.Lock()
	r.blocks = append(r.blocks, devRange{major, minor, count, open, name})
	r.mu.Unlock()
}

// Device is a line of /proc/devices.
type Device struct {
	Major uint32
	Name  string
	Block bool
}

// Devices lists the drivers, one a major number and name.
func (r *Registry) Devices() []Device {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []Device
	for _, b := range []bool{false, true} {
		list := r.chars
		if b {
			list = r.blocks
		}
		for _, d := range list {
			dev := Device{d.major, d.name, b}
			if !slices.Contains(out, dev) {
				out = append(out, dev)
			}
		}
	}
	return out
}

// OpenDevice opens the device rdev of the given type (S_IFCHR, S_IFBLK); ENXIO if there is no driver.
func (r *Registry) OpenDevice(ctx Context, typ uint32, rdev uint64, i *Inode, f *File) (FileOps, error) {
	if r == nil {
		return nil, unix.ENXIO
	}
	major, minor := unix.Major(rdev), unix.Minor(rdev)
	r.mu.RLock()
	list := r.chars
	if typ == unix.S_IFBLK {
		list = r.blocks
	}
	var open DeviceOpener
	for _, d := range list {
		if d.major == major && minor >= d.minor && minor-d.minor < d.count {
			open = d.open
			break
		}
	}
	r.mu.RUnlock()
	if open == nil {
		return nil, unix.ENXIO
	}
	return open(ctx, i, f)
}

// Superblocks are the mounted file systems.
func (r *Registry) Superblocks() []*Superblock {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*Superblock, 0, len(r.sbs))
	for sb := range r.sbs {
		out = append(out, sb)
	}
	return out
}

// ShrinkDentries drops up to n unused dentries of all file systems, each its share: the
// function of the dentry cache's shrinker. It returns how many went.
func (r *Registry) ShrinkDentries(n int) int {
	sbs := r.Superblocks()
	total := 0
	for _, sb := range sbs {
		total += sb.Dentries()
	}
	if total == 0 {
		return 0
	}
	freed := 0
	for _, sb := range sbs {
		freed += sb.ShrinkDentries(int(float64(n)*float64(sb.Dentries())/float64(total)) + 1)
	}
	return freed
}

// dentrySize is about what an unused dentry and its inode take.
const dentrySize = 1024

// DentryShrinker drops unused dentries when memory is short and there is kernel memory to
// be had that way.
type DentryShrinker struct{ *Registry }

// Name implements mm.Shrinker.
func (DentryShrinker) Name() string { return "dentries" }

// Priority implements mm.Shrinker: after the page cache.
func (DentryShrinker) Priority() int { return 1000 }

// Shrink implements mm.Shrinker. Only the next collection of the heap frees memory, so
// none is reported.
func (s DentryShrinker) Shrink(target int64, hard bool) int64 {
	if hard && s.Memory.KernelBytes() > 0 {
		s.ShrinkDentries(int(target / dentrySize))
	}
	return 0
}

// Dentries is the number of cached dentries.
func (r *Registry) Dentries() int {
	n := 0
	for _, sb := range r.Superblocks() {
		n += sb.Dentries()
	}
	return n
}

// SyncAll is sync(2).
func (r *Registry) SyncAll(ctx Context) {
	for _, sb := range r.Superblocks() {
		if sb.SyncFS != nil {
			_ = sb.SyncFS(ctx)
		}
	}
}

func (r *Registry) addSB(sb *Superblock) {
	r.mu.Lock()
	r.sbs[sb]++
	r.mu.Unlock()
}

func (r *Registry) dropSB(sb *Superblock) {
	r.mu.Lock()
	if r.sbs[sb]--; r.sbs[sb] <= 0 {
		delete(r.sbs, sb)
	}
	r.mu.Unlock()
}

// idPool hands out the smallest free number, from 1.
type idPool struct{ used []bool }

func (p *idPool) get() int {
	for i, u := range p.used {
		if !u {
			p.used[i] = true
			return i + 1
		}
	}
	p.used = append(p.used, true)
	return len(p.used)
}

func (p *idPool) put(id int) { p.used[id-1] = false }
