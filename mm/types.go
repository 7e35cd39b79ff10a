package mm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// PageSize is the size of a frame.
const (
	PageSize  = 4096
	PageShift = 12
)

// Frame is the number of a frame of the flat memory; it lies at this number
// times PageSize in the memfd.
type Frame uint32

// NoFrame is never allocated.
const NoFrame Frame = 0

// Offset is where the frame lies in the memfd.
func (f Frame) Offset() uint64 { return uint64(f) << PageShift }

// ErrOOM is returned when there is no memory for a guest, nothing could be
// reclaimed, and the OOM killer found nothing to kill.
var ErrOOM = errors.New("out of memory")

// Values of si_code for the faults that FaultError reports.
const (
	SegvMapErr  = 1 // SEGV_MAPERR
	SegvAccErr  = 2 // SEGV_ACCERR
	BusAdrErr   = 2 // BUS_ADRERR
	BusObjErr   = 3 // BUS_OBJERR
	minPageRun  = 16
	blockPages  = 512
	blockSize   = blockPages * PageSize
	maxRegions  = 65530 // vm.max_map_count
	stackGapLen = 256 * PageSize
)

// FaultError is a fault that the guest gets as a signal.
type FaultError struct {
	Signal int // unix.SIGSEGV or unix.SIGBUS
	Code   int32
	Addr   usermem.Addr
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("fault at %#x: signal %d code %d", uint64(e.Addr), e.Signal, e.Code)
}

// Stats is how the memory is used, in bytes, as /proc/meminfo has it.
type Stats struct {
	Total, Free, Available  uint64
	Anon                    uint64 // AnonPages
	Cached                  uint64 // page cache, Shmem included
	Shmem                   uint64 // memory-only files, shared anonymous memory
	Mapped                  uint64
	PageTables              uint64
	Dirty, Writeback        uint64
	Other                   uint64 // frames of the sentry's other users
	Kernel                  uint64 // the sentry's heap that is counted for guests
	Committed               uint64 // Committed_AS
	Mlocked                 uint64
	PgFault, PgMajFault     uint64
	PgAlloc, PgFree         uint64
	Reservations, DirtyFree uint64 // for tests and metrics
}

// A Shrinker is a cache that can give memory back. Shrinkers are asked in order
// of priority, low numbers first. Shrink frees up to target bytes and returns how
// many it freed; hard means that the next step is to kill something. It is called
// with no lock of an address space held, maybe under a page cache's wmu and ioMu;
// it must not allocate frames, nor wait for a guest.
type Shrinker interface {
	Name() string
	Priority() int
	Shrink(target int64, hard bool) (freed int64)
}

// Backing is where the pages of a file come from and go to. dst and src may be
// several pages long; offsets are page aligned, src ends at the end of the file.
// ReadPage returns less than len(dst) at the end of file only. Calls for one
// PageCache may come at the same time, but not for the same page. WritePage may
// be called because memory is short: it must not wait for a guest.
type Backing interface {
	ReadPage(off int64, dst []byte) (int, error)
	WritePage(off int64, src []byte) error
}

// Truncater may be implemented by a Backing whose size follows PageCache.Truncate.
// It is called while no other call of the backing is under way; an error leaves
// the file as it was.
type Truncater interface {
	Truncate(size int64) error
}

// Holer may be implemented by a Backing that can tell data and holes and make holes.
type Holer interface {
	PunchHole(off, n int64) error
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
}

// MapFile is what a guest maps: one for each mmap call. Once MMap succeeded it
// belongs to mm, which calls Release when the last region of it is gone.
type MapFile struct {
	// Cache is the file's pages; nil maps anonymous memory (/dev/zero).
	Cache *PageCache
	// Name is the path that /proc/PID/maps shows. It is called with no lock
	// of mm held.
	Name     func() string
	Dev, Ino uint64
	// MaxProt is the rights that a mapping may have: without Write for a
	// shared mapping of a file that is not open for writing, without Exec on
	// a noexec mount. Private mappings may always have Write.
	MaxProt platform.Prot
	// Owner, if not nil, is the open file. It must be comparable: neighbouring
	// regions are merged when it is equal.
	Owner any
	// Release, if not nil, is called once with no lock held; it may block.
	Release func()

	refs atomic.Int32
}

// Regions is how many regions map the file, those of forked address spaces included;
// a fault that reads the file in counts for a moment, too.
func (f *MapFile) Regions() int { return int(f.refs.Load()) }

// MMapOpts are the arguments of mmap(2), and what the kernel's own callers need.
type MMapOpts struct {
	Addr   usermem.Addr
	Length uint64
	Prot   int // unix.PROT_*
	Flags  int // unix.MAP_*
	File   *MapFile
	Offset uint64
	Name   string // for /proc/PID/maps, instead of nothing
	// Stack marks the process's stack: "[stack]".
	Stack bool
	// Below limits where the address may be chosen, when not zero.
	Below usermem.Addr
	// Keep begins the mapping of a program in this range, in pieces; Settle ends it.
	Keep bool
}

// SpecialOpts describe a mapping that the kernel makes (vDSO, vvar). The pages
// belong to Cache, which must outlive the address space's use of it.
type SpecialOpts struct {
	Addr   usermem.Addr // hint; zero lets mm choose
	Length uint64
	Prot   int
	Cache  *PageCache
	Offset uint64
	Name   string // "[vdso]"
}

// RegionInfo describes a region, for /proc/PID/maps and for the kernel's own use.
type RegionInfo struct {
	Start, End usermem.Addr
	Prot       platform.Prot
	MaxProt    platform.Prot
	Shared     bool
	GrowsDown  bool
	Locked     bool
	NoReserve  bool
	DontFork   bool
	WipeOnFork bool
	DontDump   bool
	HugePage   bool
	NoHugePage bool
	Mergeable  bool
	Sealed     bool
	Sequential bool
	Random     bool
	Special    bool // vDSO and the like
	File       *MapFile
	Offset     uint64
	Policy     Policy
	Name       string // path, "[heap]", "[stack]", "[vdso]", "[anon:x]" or empty
}

// Policy is where pages are to come from (mbind(2), set_mempolicy(2)). It is kept and told: all
// memory is on one node. The zero value is the default policy.
type Policy struct {
	Mode  uint16 // MPOL_* with its flags
	Nodes uint64 // as get_mempolicy(2) shows them
}

// Smaps is what /proc/PID/smaps tells about a region, in bytes.
type Smaps struct {
	Rss, Pss, PssDirty         uint64
	SharedClean, SharedDirty   uint64
	PrivateClean, PrivateDirty uint64
	Referenced, Anonymous      uint64
	Locked                     uint64
}

// Usage is what /proc/PID/status tells about an address space, in bytes, and the fault counters.
type Usage struct {
	VmPeak, VmSize, VmLck, VmPin, VmHWM, VmRSS uint64
	RssAnon, RssFile, RssShmem                 uint64
	VmData, VmStk, VmExe, VmLib, VmPTE         uint64
	MinFlt, MajFlt                             uint64
}

// Statm is /proc/PID/statm, in pages.
type Statm struct{ Size, Resident, Shared, Text, Lib, Data, Dt uint64 }

// FutexKey identifies the word that a futex is. It is comparable and keeps what
// it names from being reused.
type FutexKey struct {
	as    *AddressSpace
	cache *PageCache
	pos   uint64
}

// Private reports whether the key is for one address space only.
func (k FutexKey) Private() bool { return k.as != nil }

// Layout is where the parts of a program are (struct prctl_mm_map).
type Layout struct {
	StartCode, EndCode uint64
	StartData, EndData uint64
	StartBrk, Brk      uint64
	StartStack         uint64
	ArgStart, ArgEnd   uint64
	EnvStart, EnvEnd   uint64
}
