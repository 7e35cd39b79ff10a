package mm

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// AddressSpace is the memory of one guest process (Linux: struct mm_struct).
type AddressSpace struct {
	m      *Memory
	plat   platform.Platform
	pas    platform.AddressSpace
	lo, hi uint64        // what the platform can show
	area   extent        // where memory is placed that asks for no place
	placed extent        // what the platform gave to this address space for it, if it gives any
	random uint64        // of which the addresses are made that are random and do not matter to others
	heir   platform.Heir // pas, if something may be left there of an earlier program
	users  atomic.Int32
	limits atomic.Pointer[func(int) uint64]
	capab  atomic.Pointer[func() bool]

	minFlt, majFlt atomic.Uint64
	rss            [nKinds]atomic.Int64 // pages; changed under mu
	hwm            atomic.Int64
	brk            brk

	// mu guards what follows. Copies to and from guest memory hold it for
	// reading, everything else for writing.
	mu      sync.RWMutex
	root    Frame // top-level page table; NoFrame when torn down
	tables  int64
	regions btree.Map[uint64, *region] // by start
	resvs   [2]btree.Map[uint64, *placed]
	kept    extent // what is left of an earlier program there is to be looked at later
	scratch [blockPages]Frame
	runs    [8]frameRun // what an munmap takes away
	err     error       // of a platform call that could not be reported

	totalVM, peakVM, dataVM, stackVM, execVM, lockedVM int64 // pages
	lockFuture                                         regionFlags
	habit                                              int // of touching small mappings, see eager
	refused                                            int // addresses that the program would have liked, and has not got since it got some

	legacy bool    // memory is placed bottom-up
	spaces []space // where it is placed, in order: in area, then in what the platform gives in addition

	layout Layout // but for Brk, which is brk
	auxv   []uint64
	exe    any
}

// placed is a reservation and the address of its first page.
type placed struct {
	start uint64
	res   *reservation
}

func (p *placed) end() uint64 { return p.start + uint64(p.res.pages())<<PageShift }

// extent is [lo, hi).
type extent struct{ lo, hi uint64 }

// space is a range in which memory is placed from base down, or else from there up, and what is known of the gaps below base.
type space struct {
	extent
	base    uint64
	holeTop uint64 // no gap of holeMax+1 or more between here and base
	holeMax uint64
}

// NewAddressSpace makes an empty address space with one user.
func NewAddressSpace(m *Memory, p platform.Platform) (*AddressSpace, error) {
	return newAddressSpace(m, p, nil)
}

// newAddressSpace is NewAddressSpace with what p has made for it, unless that is nil.
func newAddressSpace(m *Memory, p platform.Platform, pas platform.AddressSpace) (*AddressSpace, error) {
	if pas == nil {
		var err error
		if pas, err = p.NewAddressSpace(); err != nil {
			return nil, fmt.Errorf("address space of platform %s: %w", p.Name(), err)
		}
	}
	as := &AddressSpace{m: m, plat: p, pas: pas, random: rand.Uint64()}
	as.heir, _ = pas.(platform.Heir)
	as.lo, as.hi = p.Range()
	if as.lo < arch.MinAddr {
		as.lo = arch.MinAddr
	}
	if as.hi > arch.MaxAddr {
		as.hi = arch.MaxAddr
	}
	as.area.lo, as.area.hi = as.lo, as.hi
	f, n := m.allocSpan(1, kindTable, nil, true)
	if n == 0 && m.makeRoom(1) {
		f, n = m.allocSpan(1, kindTable, nil, true)
	}
	if n == 0 {
		pas.Release()
		return nil, unix.ENOMEM
	}
	as.root, as.tables = f, 1
	as.users.Store(1)
	as.pickLayout(8<<20, true, false)
	return as, nil
}

// PickLayout chooses where mmap places things, for a new program with the given
// stack limit: top-down below the stack, or bottom-up as it was in old times. The platform may
// have a place for it, perhaps one that has had the same program before (platform.Placer).
func (as *AddressSpace) PickLayout(stackLimit uint64, randomize, legacy bool, program uint64) {
	if p, ok := as.pas.(platform.Placer); ok {
		var own bool
		if as.area.lo, as.area.hi, as.random, own = p.Place(program); own {
			as.placed = as.area
		}
	}
	as.pickLayout(stackLimit, randomize, legacy)
	as.habit = eagerFrom + eagerFirst
}

// Placed tells whether [addr, addr+n) is in a range that nobody else but this address space can have memory in, so that the addresses
// are good for the sentry too where the platform shows them to it: what is not there is a fault.
//
//go:nosplit
func (as *AddressSpace) Placed(addr, n uint64) bool {
	return addr >= as.placed.lo && addr < as.placed.hi && n <= as.placed.hi-addr
}

// Area is where memory is placed that asks for no place: all that the platform can show, or the place that it has for
// this address space.
func (as *AddressSpace) Area() (lo, hi uint64) { return as.area.lo, as.area.hi }

// Random is what a random address is to be made of at which a program's file is mapped; PickLayout chose it.
func (as *AddressSpace) Random() uint64 { return as.random >> 28 }

// HeapStart is from where on the heap may begin of a program that has memory up to end: from there on, or from the beginning of its place if it has
// one and is not in it, so that programs that have the same addresses need not take turns for more than what is linked there.
func (as *AddressSpace) HeapStart(end uint64) uint64 {
	if as.placed.hi != 0 && (end < as.placed.lo || end >= as.placed.hi) {
		return as.placed.lo
	}
	return end
}

// StackRandom is how far below the end of the area the stack may begin at random: as on Linux, but near in a small area, so that
// libraries are in reach of its end.
func (as *AddressSpace) StackRandom() uint64 {
	if as.area.hi-as.area.lo > 1<<40 {
		return 16 << 30
	}
	return 256 << 20
}

func (as *AddressSpace) pickLayout(stackLimit uint64, randomize, legacy bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	var rnd uint64
	if randomize {
		rnd = as.random % (1 << 28) << PageShift
	}
	size := as.area.hi - as.area.lo
	if size > 1<<40 {
		rnd %= size / 8
	} else {
		rnd %= 512 << 20
	}
	rnd &^= PageSize - 1
	as.legacy = legacy
	if legacy {
		base := (as.area.lo+size/3+PageSize)&^(PageSize-1) + rnd
		as.spaces = []space{newSpace(extent{base, as.area.hi}, base)}
		return
	}
	gap := stackLimit
	pad := as.StackRandom() + 1<<20 // with the guard
	if gap+pad > gap {
		gap += pad
	}
	gap = min(max(gap, 128<<20), size/6*5)
	as.spaces = []space{newSpace(as.area, (as.area.hi-gap-rnd)&^(PageSize-1))}
}

func newSpace(x extent, base uint64) space { return space{extent: x, base: base, holeTop: base} }

// Memory is the flat memory that as is in.
func (as *AddressSpace) Memory() *Memory { return as.m }

// Platform is the platform's side of as, for Switch.
func (as *AddressSpace) Platform() platform.AddressSpace { return as.pas }

// IncUsers adds a user (CLONE_VM); the caller is one.
func (as *AddressSpace) IncUsers() { as.users.Add(1) }

// TryIncUsers adds a user unless the last one is gone.
func (as *AddressSpace) TryIncUsers() bool {
	for {
		n := as.users.Load()
		if n <= 0 {
			return false
		}
		if as.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Users is the number of users.
func (as *AddressSpace) Users() int { return int(as.users.Load()) }

// DecUsers removes a user. The last one tears everything down; no platform
// context may be using as any more.
func (as *AddressSpace) DecUsers() {
	if n := as.users.Add(-1); n > 0 {
		return
	} else if n < 0 {
		panic("mm: address space with too few users")
	}
	as.teardown()
}

func (as *AddressSpace) teardown() {
	var dead []*MapFile
	if f, ok := as.pas.(platform.Forker); ok {
		f.Leave()
	}
	as.mu.Lock()
	// The platform first: after that all frames are out of use.
	as.pas.Release()
	as.regions.Scan(func(_ uint64, r *region) bool {
		as.account(r, -r.pages())
		if !r.anonymous() {
			r.file.Cache.delMap(as)
			if r.flags&flagMayWrite != 0 {
				r.file.Cache.delWritable()
			}
		}
		if r.file != nil {
			dead = append(dead, r.file)
		}
		return true
	})
	as.regions.Clear()
	as.freeTables()
	for g := range as.resvs {
		as.resvs[g].Scan(func(_ uint64, p *placed) bool {
			as.m.dissolve(p.res)
			return true
		})
		as.resvs[g].Clear()
	}
	as.exe = nil
	as.mu.Unlock()
	release(dead)
}

// SetLimits sets the function that tells soft limits by unix.RLIMIT_*.
func (as *AddressSpace) SetLimits(f func(resource int) uint64) { as.limits.Store(&f) }

// SetCapable sets the function that tells whether the user of as may exceed
// RLIMIT_MEMLOCK (CAP_IPC_LOCK).
func (as *AddressSpace) SetCapable(f func() bool) { as.capab.Store(&f) }

// RLIMIT_MEMLOCK is not in package unix for every architecture.
const rlimitMemlock = 8

// limit is a soft limit in pages; no limit is a large number.
func (as *AddressSpace) limit(resource int) int64 {
	f := as.limits.Load()
	if f == nil || *f == nil {
		return 1 << 52
	}
	return int64(min((*f)(resource)>>PageShift, 1<<52))
}

// mayLock reports whether memory may be locked at all.
func (as *AddressSpace) mayLock() bool {
	f := as.limits.Load()
	return f == nil || *f == nil || (*f)(rlimitMemlock) != 0 || as.mayLockAny()
}

func (as *AddressSpace) mayLockAny() bool {
	f := as.capab.Load()
	return f == nil || *f == nil || (*f)()
}

// noteErr keeps the first error of a platform call whose caller cannot report it;
// the next fault does.
func (as *AddressSpace) noteErr(err error) {
	if err != nil && as.err == nil {
		as.err = err
	}
}

// overcommitted reports whether a request of n pages is refused outright
// (overcommit_memory 0).
func (as *AddressSpace) overcommitted(n int64) bool { return n > as.m.limit }

// span checks [addr, addr+length) of a system call and rounds length up.
func span(addr usermem.Addr, length uint64) (lo, hi uint64, ok bool) {
	lo = uint64(addr)
	length = (length + PageSize - 1) &^ (PageSize - 1)
	hi = lo + length
	return lo, hi, lo&(PageSize-1) == 0 && hi >= lo
}

func roundUp(n uint64) uint64 { return (n + PageSize - 1) &^ (PageSize - 1) }

// noteRSS keeps the high-water mark.
func (as *AddressSpace) noteRSS() {
	n := as.rss[kindAnon].Load() + as.rss[kindFile].Load() + as.rss[kindShmem].Load()
	for {
		h := as.hwm.Load()
		if n <= h || as.hwm.CompareAndSwap(h, n) {
			return
		}
	}
}

// unmapCache empties the entries that map pages [lo, hi) of c; cows says whether
// private copies go too.
func (as *AddressSpace) unmapCache(c *PageCache, lo, hi int64, cows bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.root == NoFrame {
		return
	}
	var fs []frameRun
	keep := func(f Frame) bool { return as.m.kinds[f] == uint8(kindAnon) }
	if cows {
		keep = nil
	}
	as.regions.Scan(func(_ uint64, r *region) bool {
		if r.anonymous() || r.file.Cache != c {
			return true
		}
		first := int64(r.off >> PageShift)
		last := first + r.pages()
		a, b := max(first, lo), min(last, hi)
		if a < b {
			fs = as.zap(r.start+uint64(a-first)<<PageShift, r.start+uint64(b-first)<<PageShift, fs, keep)
		}
		return true
	})
	if fs != nil {
		as.drop(fs)
		as.noteErr(as.pas.Sync())
	}
}
