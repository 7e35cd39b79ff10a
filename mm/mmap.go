package mm

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// Flags of mmap(2) that are accepted with MAP_SHARED_VALIDATE.
const knownMapFlags = unix.MAP_SHARED | unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS |
	unix.MAP_DENYWRITE | unix.MAP_EXECUTABLE | unix.MAP_GROWSDOWN | unix.MAP_LOCKED | unix.MAP_NORESERVE |
	unix.MAP_POPULATE | unix.MAP_NONBLOCK | unix.MAP_STACK | unix.MAP_HUGETLB | unix.MAP_FIXED_NOREPLACE |
	unix.MAP_32BIT | unix.MAP_HUGE_MASK<<unix.MAP_HUGE_SHIFT

const protBits = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC

// anonIno numbers shared anonymous memory, for /proc/PID/maps.
var anonIno atomic.Uint64

// request is a checked MMapOpts.
type request struct {
	r       *region
	hint, n uint64
	flags   int
	below   uint64
	keep    bool
}

// MMap is mmap(2). When it succeeds, o.File is mm's.
func (as *AddressSpace) MMap(o MMapOpts) (usermem.Addr, error) {
	q, err := as.check(&o)
	if err != nil {
		return 0, err
	}
	own := q.r.file
	var dead []*MapFile
	as.mu.Lock()
	keeping := as.kept.hi != 0
	addr, err := as.mmapLocked(&q, &dead)
	switch {
	case keeping:
	case err != nil:
		as.settle()
	case !o.Keep:
		as.showKept(addr, addr+q.n, &dead)
	}
	locked := err == nil && q.r.flags&(flagLocked|flagLockOnFault) == flagLocked
	as.mu.Unlock()
	release(dead)
	if err != nil {
		if own != nil && o.File == nil {
			own.Release()
		}
		return 0, err
	}
	if (locked || o.Flags&(unix.MAP_POPULATE|unix.MAP_NONBLOCK) == unix.MAP_POPULATE) && o.Prot&protBits != 0 {
		// Errors do not matter: the mapping is there.
		_ = as.warm(addr, addr+q.n)
	}
	if o.Flags&unix.MAP_TYPE == unix.MAP_PRIVATE {
		fixed := o.Flags&unix.MAP_FIXED != 0
		switch {
		case own != nil && o.Prot&unix.PROT_EXEC != 0 && fixed:
			// The text of a library, and in front of it what its symbols are found by.
			as.ShowProgram(addr-1, addr+q.n)
		case q.n > smallData:
		case fixed && o.Prot == unix.PROT_READ|unix.PROT_WRITE || own != nil && !fixed && o.Prot == unix.PROT_READ:
			// Its data, most of which is relocated; and a small file that is read rather than mapped for later.
			as.showData(addr, addr+q.n)
		}
	}
	return usermem.Addr(addr), nil
}

// warm brings pages in, writable where the region is.
func (as *AddressSpace) warm(lo, hi uint64) error {
	for lo < hi {
		as.mu.RLock()
		r := as.after(lo)
		var start, end uint64
		w := want{access: platform.AccessRead}
		ok := false
		if r != nil {
			start, end, ok = r.start, r.end, r.prot != platform.None
			if !r.shared && r.prot&platform.Write != 0 || r.shared && r.prot&platform.Write != 0 && !r.anonymous() && r.file.Cache.backing == nil {
				w.access = platform.AccessWrite
			}
		}
		as.mu.RUnlock()
		if r == nil || start >= hi {
			return unix.ENOMEM
		}
		if !ok || start > lo {
			return unix.ENOMEM
		}
		if err := as.populate(lo, min(end, hi), w); err != nil {
			return err
		}
		lo = end
	}
	return nil
}

func (as *AddressSpace) check(o *MMapOpts) (request, error) {
	n := roundUp(o.Length)
	switch {
	case o.Length == 0:
		return request{}, unix.EINVAL
	case n == 0 || n > as.hi:
		return request{}, unix.ENOMEM
	case o.Offset&(PageSize-1) != 0:
		return request{}, unix.EINVAL
	case o.Offset+n < o.Offset:
		return request{}, unix.EOVERFLOW
	}
	fl := o.Flags
	if fl&unix.MAP_FIXED_NOREPLACE != 0 {
		fl |= unix.MAP_FIXED
	}
	r := &region{prot: platform.Prot(o.Prot & protBits), maxProt: platform.Read | platform.Write | platform.Exec, name: o.Name}
	kind := fl & unix.MAP_TYPE
	if o.File == nil || o.File.Cache == nil {
		if o.File != nil && kind != unix.MAP_PRIVATE && kind != unix.MAP_SHARED && kind != unix.MAP_SHARED_VALIDATE {
			return request{}, unix.EINVAL
		}
	}
	switch kind {
	case unix.MAP_SHARED_VALIDATE:
		if o.File != nil && fl&^(knownMapFlags|unix.MAP_TYPE) != 0 {
			return request{}, unix.EOPNOTSUPP
		}
		if o.File == nil {
			return request{}, unix.EINVAL
		}
		r.shared = true
	case unix.MAP_SHARED:
		r.shared = true
	case unix.MAP_PRIVATE:
	default:
		return request{}, unix.EINVAL
	}
	if fl&unix.MAP_HUGETLB != 0 && fl&unix.MAP_ANONYMOUS != 0 {
		return request{}, unix.ENOMEM // no huge pages are set aside
	}
	if fl&unix.MAP_GROWSDOWN != 0 {
		if r.shared || o.File != nil {
			return request{}, unix.EINVAL
		}
		r.flags |= flagGrowsDown
	}
	if o.Stack {
		r.flags |= flagGrowsDown | flagStack
	}
	if fl&unix.MAP_LOCKED != 0 {
		if !as.mayLock() {
			return request{}, unix.EPERM
		}
		r.flags |= flagLocked
	}
	if fl&unix.MAP_NORESERVE != 0 {
		r.flags |= flagNoReserve
	}
	if f := o.File; f != nil {
		if f.Cache != nil && o.Offset+n > 1<<63-1 {
			return request{}, unix.EOVERFLOW
		}
		max := f.MaxProt
		if r.prot&platform.Exec != 0 && max&platform.Exec == 0 {
			return request{}, unix.EPERM
		}
		if r.shared {
			if r.prot&platform.Write != 0 && max&platform.Write == 0 {
				return request{}, unix.EACCES
			}
		} else {
			max |= platform.Write
		}
		r.maxProt = max
		r.file, r.off = f, o.Offset
		if f.Cache == nil && r.shared {
			// /dev/zero: shared anonymous memory.
			r.file, r.off = as.sharedAnon(n, f), 0
			o.File = nil
		}
	} else if r.shared {
		r.file, r.off = as.sharedAnon(n, nil), 0
	}
	if r.prot&platform.Write != 0 && !r.shared && r.flags&flagNoReserve == 0 || r.shared && o.File == nil && r.flags&flagNoReserve == 0 {
		r.flags |= flagAccount
	}
	return request{r: r, hint: uint64(o.Addr), n: n, flags: fl, below: uint64(o.Below), keep: o.Keep}, nil
}

// sharedAnon is a file for MAP_SHARED|MAP_ANONYMOUS; dev is the device it was
// mapped from, if any.
func (as *AddressSpace) sharedAnon(n uint64, dev *MapFile) *MapFile {
	c := as.m.NewPageCache(nil, int64(n))
	c.anon = true
	f := &MapFile{
		Cache:   c,
		Name:    func() string { return "/dev/zero (deleted)" },
		Dev:     1,
		Ino:     anonIno.Add(1),
		MaxProt: platform.Read | platform.Write | platform.Exec,
	}
	f.Release = func() {
		c.Release()
		if dev != nil && dev.Release != nil {
			dev.Release()
		}
	}
	return f
}

func (as *AddressSpace) mmapLocked(q *request, dead *[]*MapFile) (uint64, error) {
	r, n := q.r, q.n
	if as.root == NoFrame {
		return 0, unix.ENOMEM
	}
	if as.lockFuture != 0 {
		r.flags |= as.lockFuture
	}
	np := int64(n >> PageShift)
	if r.flags&flagLocked != 0 && !as.mayLockAny() && as.lockedVM+np > as.limit(rlimitMemlock) {
		return 0, unix.EAGAIN
	}
	if as.regions.Len() >= maxRegions {
		return 0, unix.ENOMEM
	}
	addr, err := as.place(q)
	if err != nil {
		return 0, err
	}
	freed := int64(0)
	if q.flags&unix.MAP_FIXED != 0 {
		for _, x := range as.overlapping(addr, addr+n) {
			freed += int64(min(x.end, addr+n)-max(x.start, addr)) >> PageShift
		}
	}
	if as.totalVM-freed+np > as.limit(unix.RLIMIT_AS) {
		return 0, unix.ENOMEM
	}
	if isData(r.shared, r.prot, r.flags) && as.dataVM+np > as.limit(unix.RLIMIT_DATA) {
		return 0, unix.ENOMEM
	}
	if r.flags&flagAccount != 0 && as.overcommitted(np) {
		return 0, unix.ENOMEM
	}
	if r.shared && r.maxProt&platform.Write != 0 && !r.anonymous() {
		c := r.file.Cache
		c.mapMu.Lock()
		denied := c.writable < 0
		c.mapMu.Unlock()
		if denied {
			return 0, unix.EPERM
		}
	}
	if q.keep || r.file != nil && !r.shared && r.prot&platform.Write == 0 {
		as.keep(addr, addr+n)
	}
	if freed > 0 {
		if err := as.unmapLocked(addr, addr+n, dead); err != nil {
			return 0, err
		}
	}
	r.start, r.end = addr, addr+n
	r.hold()
	if err := as.insert(r); err != nil {
		if r.file != nil {
			r.file.refs.Add(-1)
		}
		return 0, err
	}
	as.merge(addr, addr+n, dead)
	if n <= eagerPages<<PageShift && as.habit > 0 {
		if as.habit--; as.habit >= eagerFrom {
			as.eager(addr, addr+n)
		}
	}
	return addr, nil
}

// A program that goes on mapping a few pages and touching them gets them with the mapping: the fault would cost more than the
// pages. That is seen from what is in them when they are unmapped, or else from some mappings now and then that do not get them.
const (
	eagerPages = 4   // most pages that come with a mapping
	eagerFrom  = 128 // habit from which they do
	eagerFirst = 8   // how many do of a new program: what the dynamic linker and the C library begin with
	eagerTouch = 16  // what the touch of a small mapping adds to it; each that is made takes one off, and one that was used puts it back
)

// eager brings in what a fault in [lo, hi), just mapped, would bring, if that is plain memory and there is enough.
func (as *AddressSpace) eager(lo, hi uint64) {
	r := as.find(lo)
	const other = flagGrowsDown | flagNoReserve | flagLocked | flagLockOnFault
	if r == nil || r.shared || !r.anonymous() || r.prot != platform.Read|platform.Write || r.flags&other != 0 ||
		lo&^leafMask != (hi-1)&^leafMask || as.m.used.Load() > as.m.limit-as.m.limit/8 {
		return
	}
	if t := as.makeLeaf(lo); t != nil {
		_ = as.populateAnon(r, t, lo, hi, lo)
	}
}

// eagerHeap is eager for a heap that has grown from lo to hi, if it was touched to its end before: malloc(3) lets it grow by little, and
// uses it at once.
func (as *AddressSpace) eagerHeap(lo, hi uint64) {
	const most = 64 * PageSize
	if t, _ := as.leaf(lo - 1); t == nil || t[pageIdx(lo-1)] == 0 || hi-lo > most {
		return
	}
	for lo < hi {
		next := min(hi, (lo|leafMask)+1)
		as.eager(lo, next)
		lo = next
	}
}

// wasUsed tells whether there is something in the beginning of a page of anonymous memory.
func (as *AddressSpace) wasUsed(addr uint64) bool {
	t, _ := as.leaf(addr)
	if t == nil || t[pageIdx(addr)] == 0 {
		return false
	}
	f := frameOf(t[pageIdx(addr)])
	const some = 64
	return as.m.kinds[f] == uint8(kindAnon) && slices.ContainsFunc(as.m.RunBytes(f, 1)[:some], func(b byte) bool { return b != 0 })
}

// place chooses the address.
func (as *AddressSpace) place(q *request) (uint64, error) {
	a, n := q.hint, q.n
	if q.flags&unix.MAP_FIXED != 0 {
		switch {
		case a&(PageSize-1) != 0:
			return 0, unix.EINVAL
		case a > as.hi || n > as.hi-a:
			return 0, unix.ENOMEM
		case a < as.lo:
			return 0, unix.EPERM
		}
		if q.flags&unix.MAP_FIXED_NOREPLACE != 0 && len(as.overlapping(a, a+n)) > 0 {
			return 0, unix.EEXIST
		}
		return a, nil
	}
	if a = a &^ (PageSize - 1); a != 0 {
		a = max(a, as.lo)
		if a < as.hi && n <= as.hi-a && as.free(a, a+n) && (q.flags&unix.MAP_32BIT == 0 || a+n <= 1<<32) && as.suits(a, n) {
			return a, nil
		}
	}
	if q.flags&unix.MAP_32BIT != 0 {
		if a := as.gapUp(n, max(0x40000000, as.lo), min(0x80000000, as.hi)); a != 0 {
			return a, nil
		}
		return 0, unix.ENOMEM
	}
	if a := as.gap(n, q.below); a != 0 {
		return a, nil
	}
	return 0, unix.ENOMEM
}

// suits tells whether n bytes from a on, where a program would like to have them, are where memory is best put, or may be.
func (as *AddressSpace) suits(a, n uint64) bool {
	in := func(x extent) bool { return x.lo <= a && a < x.hi && n <= x.hi-a }
	if in(as.area) || slices.ContainsFunc(as.spaces, func(s space) bool { return in(s.extent) }) {
		return true
	}
	p, ok := as.pas.(platform.Placer)
	if !ok {
		return false
	}
	if as.refused++; !p.Suits(a, a+n, as.refused > mostRefused) {
		return false
	}
	as.refused = 0
	return true
}

// mostRefused is how many addresses in a row that it would like to have a program does not get before it is taken to insist.
const mostRefused = 16

// free reports whether [lo, hi) is free and not in the guard of a stack.
func (as *AddressSpace) free(lo, hi uint64) bool {
	r := as.after(lo)
	if r == nil {
		return true
	}
	guard := uint64(0)
	if r.flags&flagGrowsDown != 0 {
		guard = stackGapLen
	}
	return r.start >= hi && r.start-hi >= guard
}

// gap finds room for n bytes, below an address if that is not zero.
func (as *AddressSpace) gap(n, below uint64) uint64 {
	if below != 0 && !as.legacy {
		a, _ := as.gapDown(n, as.area.lo, min(below, as.area.hi))
		return a
	}
	for i := range as.spaces {
		if a := as.spaces[i].gap(as, n); a != 0 {
			return a
		}
	}
	p, ok := as.pas.(platform.Placer)
	if !ok {
		return 0
	}
	lo, hi := p.Room(n)
	hi = min(hi, as.hi)
	more := newSpace(extent{max(lo, as.lo), hi}, hi)
	a := more.gap(as, n)
	if a != 0 {
		as.spaces = append(as.spaces, more)
	}
	return a
}

// gap finds the highest room for n bytes below base, or else the lowest above.
func (s *space) gap(as *AddressSpace, n uint64) uint64 {
	top, largest := s.base, uint64(0)
	if n > s.holeMax {
		top, largest = s.holeTop, s.holeMax
	}
	a, l := as.gapDown(n, s.lo, top)
	s.holeTop, s.holeMax = max(a, s.lo), max(l, largest)
	if a == 0 {
		a = as.gapUp(n, s.base, s.hi)
	}
	return a
}

// freed tells the spaces of a gap.
func (as *AddressSpace) freed(lo, hi uint64) {
	for i := range as.spaces {
		s := &as.spaces[i]
		if hi <= s.lo || s.base <= lo {
			continue
		}
		top := s.base
		if r := as.after(hi); r != nil {
			top = min(top, r.start)
		}
		s.holeTop = max(s.holeTop, top)
	}
}

// gapDown is the highest gap of n bytes in [lo, top), and the size of the largest
// that was too small.
func (as *AddressSpace) gapDown(n, lo, top uint64) (uint64, uint64) {
	cur, found, largest := top, uint64(0), uint64(0)
	room := func(r *region, floor uint64) bool {
		end := cur
		if r != nil && r.flags&flagGrowsDown != 0 {
			end -= min(end, stackGapLen)
		}
		if end < floor {
			return false
		}
		if end-floor >= n {
			found = end - n
			return true
		}
		largest = max(largest, end-floor)
		return false
	}
	above, _ := as.regions.Get(top)
	done := false
	as.regions.Descend(top, func(_ uint64, r *region) bool {
		if r.start >= top {
			return true
		}
		if r.end < cur && room(above, max(r.end, lo)) {
			done = true
			return false
		}
		cur, above = min(cur, r.start), r
		return cur > lo
	})
	if !done && cur > lo {
		room(above, lo)
	}
	return found, largest
}

// gapUp is the lowest gap of n bytes in [lo, hi).
func (as *AddressSpace) gapUp(n, lo, hi uint64) uint64 {
	if lo >= hi {
		return 0
	}
	cur := lo
	if r := as.find(lo); r != nil {
		cur = r.end
	}
	found := false
	as.regions.Ascend(cur, func(_ uint64, r *region) bool {
		guard := uint64(0)
		if r.flags&flagGrowsDown != 0 {
			guard = stackGapLen
		}
		if r.start >= cur && r.start-cur >= n+guard {
			found = true
			return false
		}
		cur = max(cur, r.end)
		return cur < hi
	})
	_ = found
	if cur < hi && hi-cur >= n {
		return cur
	}
	return 0
}

// MUnmap is munmap(2).
func (as *AddressSpace) MUnmap(addr usermem.Addr, length uint64) error {
	lo, hi, ok := span(addr, length)
	if !ok || hi == lo || hi > as.hi || lo > as.hi {
		return unix.EINVAL
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.unmapLocked(lo, hi, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

// unmapLocked removes every region and page of [lo, hi).
func (as *AddressSpace) unmapLocked(lo, hi uint64, dead *[]*MapFile) error {
	if as.sealed(lo, hi) {
		return unix.EPERM
	}
	var rs []*region
	if !as.trim(lo, hi) {
		var ok bool
		if rs, ok = as.carve(lo, hi); !ok {
			return unix.ENOMEM
		}
		if len(rs) == 0 {
			return nil
		}
	}
	if hi-lo <= eagerPages<<PageShift && as.habit < eagerFrom+eagerTouch && as.wasUsed(lo) {
		as.habit++
	}
	fs := as.zap(lo, hi, as.runs[:0], nil)
	for _, r := range rs {
		as.remove(r, dead)
	}
	as.dropPlaces(lo, hi)
	as.drop(fs)
	as.freed(lo, hi)
	return nil
}

// MProtect is mprotect(2).
func (as *AddressSpace) MProtect(addr usermem.Addr, length uint64, prot int) error {
	const grows = unix.PROT_GROWSDOWN | unix.PROT_GROWSUP
	const protSem = 8
	g := prot & grows
	if g == grows {
		return unix.EINVAL
	}
	lo, hi, ok := span(addr, length)
	if lo&(PageSize-1) != 0 {
		return unix.EINVAL
	}
	if length == 0 {
		return nil
	}
	if !ok || hi <= lo {
		return unix.ENOMEM
	}
	if prot&^(protBits|protSem|grows) != 0 {
		return unix.EINVAL
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.protectLocked(lo, hi, platform.Prot(prot&protBits), g, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

func (as *AddressSpace) protectLocked(lo, hi uint64, prot platform.Prot, grows int, dead *[]*MapFile) error {
	r := as.after(lo)
	if r == nil {
		return unix.ENOMEM
	}
	if grows == unix.PROT_GROWSDOWN {
		if r.start >= hi {
			return unix.ENOMEM
		}
		if r.flags&flagGrowsDown == 0 {
			return unix.EINVAL
		}
		lo = r.start
	} else {
		if r.start > lo {
			return unix.ENOMEM
		}
		if grows == unix.PROT_GROWSUP {
			return unix.EINVAL
		}
	}
	first := lo
	defer func() { as.merge(first, hi, dead) }()
	for lo < hi {
		r := as.find(lo)
		if r == nil {
			return unix.ENOMEM
		}
		end := min(r.end, hi)
		if r.flags&flagSealed != 0 {
			return unix.EPERM
		}
		if r.prot == prot {
			lo = end
			continue
		}
		if prot&^r.maxProt != 0 {
			return unix.EACCES
		}
		n := int64(end-lo) >> PageShift
		nf := r.flags
		if prot&platform.Write != 0 && !r.shared {
			if !isData(r.shared, r.prot, r.flags) && isData(r.shared, prot, r.flags) && as.dataVM+n > as.limit(unix.RLIMIT_DATA) {
				return unix.ENOMEM
			}
			if r.flags&(flagNoReserve|flagAccount) == 0 {
				if as.overcommitted(n) {
					return unix.ENOMEM
				}
				nf |= flagAccount
			}
		}
		rs, ok := as.carve(lo, end)
		if !ok {
			return unix.ENOMEM
		}
		r = rs[0]
		as.account(r, -r.pages())
		r.prot, r.flags = prot, nf
		as.account(r, r.pages())
		as.reprotect(r, lo, end)
		lo = end
	}
	return nil
}

// MapSpecial maps pages that the kernel provides, for the vDSO and its data.
func (as *AddressSpace) MapSpecial(o SpecialOpts) (usermem.Addr, error) {
	if o.Length == 0 || o.Offset&(PageSize-1) != 0 || o.Cache == nil {
		return 0, unix.EINVAL
	}
	r := &region{
		prot: platform.Prot(o.Prot & protBits), name: o.Name, flags: flagSpecial | flagDontDump,
		maxProt: platform.Read | platform.Write | platform.Exec,
		file:    &MapFile{Cache: o.Cache}, off: o.Offset,
	}
	if o.Prot&unix.PROT_EXEC != 0 {
		r.flags &^= flagDontDump
	}
	var dead []*MapFile
	as.mu.Lock()
	addr, err := as.mmapLocked(&request{r: r, hint: uint64(o.Addr), n: roundUp(o.Length)}, &dead)
	as.mu.Unlock()
	release(dead)
	return usermem.Addr(addr), err
}
