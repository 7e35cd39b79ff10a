package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
)

// region is what a guest asked for (Linux: a VMA). Guarded by the address
// space's mu.
type region struct {
	start, end uint64
	prot       platform.Prot
	maxProt    platform.Prot
	shared     bool
	flags      regionFlags
	file       *MapFile // nil: anonymous
	off        uint64   // of start in the file
	name       string
	policy     Policy // mbind(2)

	// For faults: where the next one is if the region is touched in order, how
	// many pages the last one brought, how many came out of order.
	next   uint64
	around int
	misses int
	resv   [2]*placed // the reservations used last
}

type regionFlags uint32

const (
	flagGrowsDown regionFlags = 1 << iota
	flagLocked
	flagLockOnFault
	flagNoReserve
	flagAccount // counts in Committed_AS
	flagDontFork
	flagWipeOnFork
	flagDontDump
	flagHugePage
	flagNoHugePage
	flagMergeable
	flagSequential
	flagRandom
	flagSpecial // made by the kernel: cannot grow
	flagHeap
	flagStack
	flagMayWrite // counted as a writable mapping of the file
	flagSealed   // mseal(2)
)

// anonymous reports whether pages of r that are not there are zero.
func (r *region) anonymous() bool { return r.file == nil || r.file.Cache == nil }

func (r *region) pages() int64 { return int64(r.end-r.start) >> PageShift }

// fileIdx is the page of the file at addr.
func (r *region) fileIdx(addr uint64) int64 { return int64((r.off + addr - r.start) >> PageShift) }

// mergeable reports whether b, which begins where a ends, may become one with it.
func mergeable(a, b *region) bool {
	if a.end != b.start || a.prot != b.prot || a.maxProt != b.maxProt || a.shared != b.shared ||
		a.flags != b.flags || a.name != b.name || a.policy != b.policy || a.flags&flagSpecial != 0 {
		return false
	}
	if a.file == b.file {
		return a.file == nil || a.off+(a.end-a.start) == b.off
	}
	return a.file != nil && b.file != nil && a.file.Cache == b.file.Cache &&
		a.file.Owner != nil && a.file.Owner == b.file.Owner && a.off+(a.end-a.start) == b.off
}

// find is the region that contains addr, or nil.
func (as *AddressSpace) find(addr uint64) *region {
	var r *region
	as.regions.Descend(addr, func(_ uint64, x *region) bool {
		r = x
		return false
	})
	if r != nil && addr < r.end {
		return r
	}
	return nil
}

// after is the first region that ends after addr, or nil.
func (as *AddressSpace) after(addr uint64) *region {
	if r := as.find(addr); r != nil {
		return r
	}
	var r *region
	as.regions.Ascend(addr, func(_ uint64, x *region) bool {
		r = x
		return false
	})
	return r
}

// before is the last region that starts before addr, or nil.
func (as *AddressSpace) before(addr uint64) *region {
	var r *region
	if addr == 0 {
		return nil
	}
	as.regions.Descend(addr-1, func(_ uint64, x *region) bool {
		r = x
		return false
	})
	return r
}

// overlapping are the regions that have a part in [lo, hi).
func (as *AddressSpace) overlapping(lo, hi uint64) []*region {
	var rs []*region
	if r := as.find(lo); r != nil && r.start < lo {
		rs = append(rs, r)
	}
	as.regions.Ascend(lo, func(k uint64, r *region) bool {
		if k >= hi {
			return false
		}
		rs = append(rs, r)
		return true
	})
	return rs
}

// covered reports whether regions cover all of [lo, hi).
func covered(rs []*region, lo, hi uint64) bool {
	for _, r := range rs {
		if r.start > lo {
			return false
		}
		lo = r.end
	}
	return lo >= hi
}

// hold adds a reference to r's file.
func (r *region) hold() {
	if r.file != nil {
		r.file.refs.Add(1)
	}
}

// mapCounted notes r with its page cache.
func (as *AddressSpace) mapCounted(r *region) error {
	if r.anonymous() {
		return nil
	}
	if err := r.file.Cache.addMap(as, r.flags&flagMayWrite != 0); err != nil {
		return err
	}
	return nil
}

// insert adds r, which overlaps nothing, and accounts for it. r holds a reference
// to its file already. It fails if the file refuses writable mappings, or the platform the addresses.
func (as *AddressSpace) insert(r *region) error {
	if r.shared && r.maxProt&platform.Write != 0 && !r.anonymous() && r.flags&flagSpecial == 0 {
		r.flags |= flagMayWrite
	}
	if err := as.reserve(r.start, r.end); err != nil {
		return err
	}
	if err := as.mapCounted(r); err != nil {
		return err
	}
	as.regions.Set(r.start, r)
	as.account(r, r.pages())
	return nil
}

// reserve is called before there is memory in a range: what somebody else has left there is taken away.
func (as *AddressSpace) reserve(lo, hi uint64) error {
	if err := as.claim(lo, hi); err != nil {
		return err
	}
	if as.heir != nil && as.heir.Left(lo, hi) && (as.kept.lo > lo || hi > as.kept.hi) {
		as.heir.Settle(lo, hi)
	}
	return nil
}

// claim tells the platform, if it wants to know, that there will be memory in a range.
func (as *AddressSpace) claim(lo, hi uint64) error {
	if as.placed.lo <= lo && hi <= as.placed.hi {
		return nil
	}
	if p, ok := as.pas.(platform.Placer); ok {
		if err := p.Reserve(lo, hi); err != nil {
			return unix.ENOMEM
		}
	}
	return nil
}

// account adds n pages to what r's kind of region counts in.
func (as *AddressSpace) account(r *region, n int64) {
	as.totalVM += n
	as.peakVM = max(as.peakVM, as.totalVM)
	switch {
	case r.flags&flagGrowsDown != 0:
		as.stackVM += n
	case r.file != nil && r.prot&(platform.Exec|platform.Write) == platform.Exec:
		as.execVM += n
	case isData(r.shared, r.prot, r.flags):
		as.dataVM += n
	}
	if r.flags&flagLocked != 0 {
		as.lockedVM += n
		as.m.mlocked.Add(n)
	}
	if r.flags&flagAccount != 0 {
		as.m.committed.Add(n)
	}
}

// isData reports whether a region counts for RLIMIT_DATA.
func isData(shared bool, prot platform.Prot, fl regionFlags) bool {
	return !shared && prot&platform.Write != 0 && fl&flagGrowsDown == 0
}

// remove takes r out and accounts for it. The file's reference goes to dead.
func (as *AddressSpace) remove(r *region, dead *[]*MapFile) {
	as.regions.Delete(r.start)
	as.account(r, -r.pages())
	as.uncount(r)
	if r.file != nil {
		*dead = append(*dead, r.file)
	}
}

// uncount tells the page cache that r is gone.
func (as *AddressSpace) uncount(r *region) {
	if r.anonymous() {
		return
	}
	c := r.file.Cache
	c.delMap(as)
	if r.flags&flagMayWrite != 0 {
		as.pas.After(c.delWritable)
	}
}

// release drops references to files; no lock is held.
func release(dead []*MapFile) {
	for _, f := range dead {
		if f.refs.Add(-1) == 0 && f.Release != nil {
			f.Release()
		}
	}
}

// split cuts r at addr, which lies within it, and returns the part from there on.
func (as *AddressSpace) split(r *region, addr uint64) *region {
	n := &region{
		start: addr, end: r.end, prot: r.prot, maxProt: r.maxProt, shared: r.shared,
		flags: r.flags, file: r.file, off: r.off, name: r.name, policy: r.policy, misses: r.misses,
	}
	if r.file != nil {
		n.off += addr - r.start
	}
	n.hold()
	if !n.anonymous() {
		c := n.file.Cache
		c.mapMu.Lock()
		c.maps[as]++
		if n.flags&flagMayWrite != 0 {
			c.writable++
		}
		c.mapMu.Unlock()
	}
	r.end = addr
	as.regions.Set(n.start, n)
	return n
}

// trim takes [lo, hi) off one end of the region that it is a part of, and accounts for that. It reports false, and
// does nothing, if there is no such region, or if it would be gone or in two pieces.
func (as *AddressSpace) trim(lo, hi uint64) bool {
	r := as.find(lo)
	if r == nil || hi > r.end || (lo == r.start) == (hi == r.end) {
		return false
	}
	as.account(r, -int64(hi-lo)>>PageShift)
	if lo != r.start {
		r.end = lo
		return true
	}
	as.regions.Delete(lo)
	if r.file != nil {
		r.off += hi - lo
	}
	r.start, r.next, r.around, r.resv = hi, 0, 0, [2]*placed{}
	as.regions.Set(hi, r)
	return true
}

// carve splits regions so that none crosses lo or hi, and returns those between.
// It returns nil and false when that would make too many.
func (as *AddressSpace) carve(lo, hi uint64) ([]*region, bool) {
	cuts := 0
	if r := as.find(lo); r != nil && r.start < lo {
		cuts++
	}
	if r := as.find(hi - 1); r != nil && r.end > hi {
		cuts++
	}
	if as.regions.Len()+cuts > maxRegions {
		return nil, false
	}
	if r := as.find(lo); r != nil && r.start < lo {
		as.split(r, lo)
	}
	if r := as.find(hi - 1); r != nil && r.end > hi {
		as.split(r, hi)
	}
	return as.overlapping(lo, hi), true
}

// merge joins regions in and around [lo, hi) where they are alike.
func (as *AddressSpace) merge(lo, hi uint64, dead *[]*MapFile) {
	a := as.before(lo)
	if a == nil || a.end < lo {
		a = as.after(lo)
	}
	for a != nil && a.start <= hi {
		b, ok := as.regions.Get(a.end)
		if !ok {
			a = as.after(a.end)
			continue
		}
		if !mergeable(a, b) {
			a = b
			continue
		}
		as.regions.Delete(b.start)
		as.uncount(b)
		if b.file != nil {
			*dead = append(*dead, b.file)
		}
		a.end = b.end
		a.misses = max(a.misses, b.misses) // a split gave both the same
	}
}
