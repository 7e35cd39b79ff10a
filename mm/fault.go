package mm

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// want is what a fault must be able to do.
type want struct {
	access platform.Access
	force  bool   // ptrace: rights do not matter, a private copy does
	kernel bool   // for the sentry's own access: the platform need not be told
	only   extent // unless it is empty: all that the file has in memory here, and no more
}

// needPage says that a page of c must be read in, with no lock held.
type needPage struct {
	c    *PageCache
	idx  int64
	file *MapFile // held
}

var (
	errNeedPage = errors.New("page is not in the cache")
	errNoFrame  = errors.New("no free frame")
	errSegv     = errors.New("no access")
	errSegvMap  = errors.New("not mapped")
	errBus      = errors.New("beyond the end of the file")
)

// HandleFault makes the access of a guest possible. Nil means that the guest may
// go on; a *FaultError is the signal that it gets; ErrOOM means that there is no
// memory and nothing could be killed; other errors are the platform's.
func (as *AddressSpace) HandleFault(addr usermem.Addr, access platform.Access) error {
	err := as.fault(uint64(addr), want{access: access})
	if err == unix.EAGAIN {
		return nil // something was killed; the guest tries again, or dies
	}
	return err
}

// fault is HandleFault for any purpose. EAGAIN means that memory was short and the
// OOM killer has killed something.
func (as *AddressSpace) fault(addr uint64, w want) error {
	page := addr &^ (PageSize - 1)
	major := false
	for try := 0; ; try++ {
		var need needPage
		as.mu.Lock()
		err := as.err
		if err == nil {
			err = as.faultLocked(page, w, &need)
		}
		as.noteRSS()
		as.mu.Unlock()
		switch err {
		case nil:
			if major {
				as.majFlt.Add(1)
				as.m.majFlt.Add(1)
			} else {
				as.minFlt.Add(1)
				as.m.minFlt.Add(1)
			}
			return nil
		case errNeedPage:
			major = true
			err := need.c.fillAround(need.idx)
			release([]*MapFile{need.file})
			if err == unix.ENOMEM {
				if err := as.short(); err != nil {
					return err
				}
			} else if err != nil {
				return &FaultError{int(unix.SIGBUS), BusAdrErr, usermem.Addr(addr)}
			}
		case errNoFrame:
			if err := as.short(); err != nil {
				return err
			}
		case errSegv:
			return &FaultError{int(unix.SIGSEGV), SegvAccErr, usermem.Addr(addr)}
		case errSegvMap:
			return &FaultError{int(unix.SIGSEGV), SegvMapErr, usermem.Addr(addr)}
		case errBus:
			return &FaultError{int(unix.SIGBUS), BusAdrErr, usermem.Addr(addr)}
		default:
			return err
		}
		if try > 1000 {
			// Pages go as fast as they come.
			return unix.EAGAIN
		}
	}
}

// short finds memory for a guest: nil if there is some, EAGAIN if something was
// killed for it.
func (as *AddressSpace) short() error {
	if as.m.makeRoom(1) {
		return nil
	}
	if as.m.kill() {
		runtime.Gosched()
		time.Sleep(time.Millisecond)
		return unix.EAGAIN
	}
	if as.m.makeRoom(1) {
		return nil
	}
	return ErrOOM
}

// faultLocked handles a fault at addr, page aligned. mu is held.
func (as *AddressSpace) faultLocked(addr uint64, w want, need *needPage) error {
	if as.root == NoFrame {
		return errSegvMap
	}
	r := as.find(addr)
	if r == nil {
		if r = as.growStack(addr); r == nil {
			return errSegvMap
		}
	}
	ok := r.prot != platform.None
	switch w.access {
	case platform.AccessWrite:
		ok = r.prot&platform.Write != 0
	case platform.AccessExec:
		ok = r.prot&platform.Exec != 0
	}
	if !ok && !(w.force && as.forceable(r, w)) {
		return errSegv
	}
	t := as.makeLeaf(addr)
	if t == nil {
		return errNoFrame
	}
	i := pageIdx(addr)
	e := t[i]
	if e == 0 {
		if r.anonymous() {
			return as.faultAnon(r, t, addr, w)
		}
		return as.faultFile(r, t, addr, w, need)
	}
	if w.access == platform.AccessWrite && e&pteWrite == 0 {
		return as.faultWrite(r, t, addr, w)
	}
	if w.kernel {
		return nil // it goes by the page tables
	}
	return as.showAround(r, t, addr)
}

// forceable reports whether ptrace may access r although its rights do not allow.
func (as *AddressSpace) forceable(r *region, w want) bool {
	if w.access == platform.AccessWrite {
		return !r.shared || r.prot&platform.Write != 0
	}
	return true
}

// showAround gives the platform what it lacks around addr, whose entry is as it
// should be: the whole run of consecutive frames, and some of its neighbours.
func (as *AddressSpace) showAround(r *region, t *table, addr uint64) error {
	i := pageIdx(addr)
	base := addr &^ leafMask
	lo, hi := 0, 512
	if r.start > base {
		lo = pageIdx(r.start)
	}
	if r.end < base+leafSpan {
		hi = pageIdx(r.end)
	}
	t[i] &^= pteShown
	a, b := i, i+1
	same := func(x, y int) bool {
		return t[y]&ptePresent != 0 && t[x]&pteRights == t[y]&pteRights &&
			int64(t[x]&pteFrame)-int64(t[y]&pteFrame) == int64(x-y)<<PageShift
	}
	for a > lo && same(a, a-1) {
		a--
	}
	for b < hi && same(b-1, b) {
		b++
	}
	// One call for the run, whether parts of it are shown already or not.
	for k := a; k < b; k++ {
		t[k] &^= pteShown
	}
	a, b = min(a, max(i&^(minPageRun-1), lo)), max(b, min(i|(minPageRun-1)+1, hi))
	return as.show(base+uint64(a)<<PageShift, base+uint64(b)<<PageShift)
}

// block is the range of pages to bring in for a fault at addr: more when the
// region is touched in order or at very many places, one when memory is short. It lies
// in one last-level table.
func (as *AddressSpace) block(r *region, addr uint64, first, most int) (lo, hi uint64) {
	n := first
	if addr == r.next && r.around > 0 {
		n = min(r.around*2, most)
	} else {
		r.misses++
		n = min(max(first, first<<min(r.misses/64, 9)), most)
	}
	switch {
	case r.flags&(flagRandom|flagLockOnFault) != 0:
		n = 1
	case r.flags&flagHugePage != 0:
		n = most
	case r.flags&flagNoHugePage != 0:
		n = min(n, minPageRun)
	}
	if used := as.m.inUse(); used > as.m.limit-as.m.limit/32 {
		n = 1
	} else if used > as.m.limit-as.m.limit/8 {
		n = min(n, minPageRun)
	}
	r.around = n
	size := uint64(n) << PageShift
	lo = max(addr&^(size-1), r.start)
	hi = min(addr&^(size-1)+size, r.end)
	if whole := r.end - r.start; n == minPageRun && whole <= minPageRun*3/2*PageSize && r.start&^leafMask == (r.end-1)&^leafMask {
		lo, hi = r.start, r.end // rather than leave some pages of a small region to another fault
	}
	r.next = hi
	return lo, hi
}

// program reports whether r is a part of a program or library: private, of a file that is executable here or close by. What
// is there of one is shown at once, and its data is copied some pages at a time.
func (as *AddressSpace) program(r *region) bool {
	if r.shared || r.anonymous() {
		return false
	}
	if r.prot&platform.Exec != 0 {
		return true
	}
	of := func(x *region) bool { return x != nil && !x.anonymous() && x.file.Cache == r.file.Cache }
	const near = 3 // segments
	for k, x := 0, as.before(r.start); k < near && of(x); k, x = k+1, as.before(x.start) {
		if x.prot&platform.Exec != 0 {
			return true
		}
	}
	for k, x := 0, as.after(r.end); k < near && of(x); k, x = k+1, as.after(x.end) {
		if x.prot&platform.Exec != 0 {
			return true
		}
	}
	return false
}

// ShowProgram brings in what is likely to be touched at once of a program that has just been mapped at [lo, hi), as far as that takes
// no input: faults do the rest. What begins before lo is looked at if it is of a file and not to be written.
func (as *AddressSpace) ShowProgram(lo, hi uint64) {
	var held []*MapFile
	as.mu.Lock()
	if as.root == NoFrame {
		as.mu.Unlock()
		return
	}
	for _, r := range as.overlapping(lo, hi) {
		if !as.program(r) && r.end-r.start > smallData || r.start < lo && (r.anonymous() || r.prot&platform.Write != 0) {
			continue
		}
		if r.prot&platform.Read == 0 {
			continue
		}
		w := want{access: platform.AccessRead}
		if r.prot&platform.Write != 0 && r.end-r.start <= smallData {
			w.access = platform.AccessWrite
		}
		if t, _ := as.leaf(r.start); t != nil && t[pageIdx(r.start)]&pteShown != 0 {
			continue // with the end of it, which had to be cleared
		}
		end := r.end // what is only read is shown to its end
		if r.prot&platform.Write != 0 || r.end-r.start > largeText {
			end = r.start + 1
		}
		as.showLeaves(r.start, end, w, &held)
	}
	as.noteRSS()
	as.mu.Unlock()
	release(held)
}

// showLeaves brings in what a fault at the beginning of each last-level table's part of [lo, hi) brings, as far as that takes no input. What is to be
// released without mu is appended to held.
func (as *AddressSpace) showLeaves(lo, hi uint64, w want, held *[]*MapFile) {
	for a := lo; a < hi; a = (a | leafMask) + 1 {
		var need needPage
		if as.faultLocked(a, w, &need) == errNeedPage {
			*held = append(*held, need.file)
		}
	}
}

// largeText is how large the text of a program, or what it only reads, may be to be shown whole.
const largeText = 16 * leafSpan

// smallData is how large the data of a program, or a file, may be to be brought in when it is mapped.
const smallData = 16 * PageSize

// showData is ShowProgram for a small region that has just been mapped at [lo, hi): of a program's data, the zero pages behind it
// included, or of a file that is only read.
func (as *AddressSpace) showData(lo, hi uint64) {
	var need needPage
	as.mu.Lock()
	if r := as.find(lo); as.root != NoFrame && r != nil && r.start == lo && r.end == hi && lo&^leafMask == (hi-1)&^leafMask {
		const other = flagLocked | flagLockOnFault | flagNoReserve | flagRandom
		w := want{access: platform.AccessWrite}
		data := as.program(r)
		if p := as.before(lo); r.anonymous() && p != nil && p.end == lo && p.prot&platform.Write != 0 {
			data = as.program(p)
		}
		if r.prot&platform.Write == 0 {
			w.access, data = platform.AccessRead, !r.anonymous() && r.file.Cache.backing != nil
		}
		for a := lo; data && r.flags&other == 0 && a < hi; a += PageSize {
			if t, _ := as.leaf(a); t != nil && t[pageIdx(a)] != 0 {
				continue
			}
			if as.faultLocked(a, w, &need) != nil {
				break
			}
		}
		as.noteRSS()
	}
	as.mu.Unlock()
	if need.file != nil {
		release([]*MapFile{need.file})
	}
}

// takeRun allocates up to n frames for consecutive addresses, by position where
// addr lies in a reservation, as many as are consecutive.
func (as *AddressSpace) takeRun(r *region, addr uint64, n int, raw *rawFrames) (Frame, int) {
	if as.m.full() {
		return NoFrame, 0
	}
	for g := range as.resvs {
		for try := 0; try < 2; try++ {
			p := as.placeFor(r, addr, g)
			if p == nil {
				break
			}
			f, got, dead := as.m.allocAt(p.res, int((addr-p.start)>>PageShift), n, kindAnon, raw)
			if got > 0 {
				return f, got
			}
			if !dead {
				break
			}
			if q, _ := as.resvs[g].Get(p.start); q == p { // not one that has been made since, of which r has not heard
				as.resvs[g].Delete(p.start)
			}
			r.resv[g] = nil
		}
	}
	return as.m.allocSpan(n, kindAnon, raw, false)
}

// placeFor is the reservation of generation g for addr, made if need be; nil if
// the surroundings are too small to be worth one. Generation 1 takes the copies
// made while the frames of generation 0 are shared after a fork.
func (as *AddressSpace) placeFor(r *region, addr uint64, g int) *placed {
	if p := r.resv[g]; p != nil && p.start <= addr && addr < p.end() {
		return p
	}
	t := &as.resvs[g]
	var prev, next *placed
	t.Descend(addr, func(_ uint64, p *placed) bool {
		prev = p
		return false
	})
	if prev != nil && addr < prev.end() {
		r.resv[g] = prev
		return prev
	}
	t.Ascend(addr, func(_ uint64, p *placed) bool {
		next = p
		return false
	})
	// How far memory like this reaches: the region and its private neighbours,
	// which are often one allocator's arena with parts not yet readable.
	s, e := r.start, r.end
	for k := 0; k < 8 && e-s < 64<<20; k++ {
		b := as.before(s)
		if b == nil || b.end != s || b.shared || !b.anonymous() {
			break
		}
		s = b.start
	}
	for k := 0; k < 8 && e-s < 128<<20; k++ {
		b, ok := as.regions.Get(e)
		if !ok || b.shared || !b.anonymous() {
			break
		}
		e = b.end
	}
	for o := maxOrder; o >= 4; o-- {
		size := uint64(PageSize) << o
		ws := addr &^ (size - 1)
		inside := ws >= s && ws+size <= e
		if !inside && (r.flags&(flagHeap|flagGrowsDown) == 0 || o != 9 && (o < 9 || size > e-s)) {
			// A heap and a stack will grow, so they may look beyond their ends.
			continue
		}
		if prev != nil && prev.end() > ws || next != nil && next.start < ws+size {
			continue
		}
		res := as.m.reserve(o)
		if res == nil {
			continue
		}
		p := &placed{ws, res}
		t.Set(ws, p)
		r.resv[g] = p
		return p
	}
	return nil
}

// dropPlaces ends the reservations that no region of [lo, hi) or around it needs.
func (as *AddressSpace) dropPlaces(lo, hi uint64) {
	for g := range as.resvs {
		t := &as.resvs[g]
		if t.Len() == 0 {
			continue
		}
		var gone []*placed
		check := func(_ uint64, p *placed) bool {
			if p.start >= hi {
				return false
			}
			if p.end() > lo && (p.start >= lo && p.end() <= hi || as.after(p.start) == nil || as.after(p.start).start >= p.end()) {
				gone = append(gone, p)
			}
			return true
		}
		t.Descend(lo, func(k uint64, p *placed) bool {
			if k < lo {
				check(k, p)
			}
			return k >= lo
		})
		t.Ascend(lo, check)
		for _, p := range gone {
			t.Delete(p.start)
			as.m.dissolve(p.res)
		}
	}
}

// faultAnon brings zero pages.
func (as *AddressSpace) faultAnon(r *region, t *table, addr uint64, w want) error {
	if r.pages() <= eagerPages && as.habit < eagerFrom {
		as.habit += eagerTouch
	}
	lo, hi := as.block(r, addr, minPageRun, blockPages)
	if err := as.populateAnon(r, t, lo, hi, addr); err != nil {
		return err
	}
	if r.misses < manyMisses || r.around < blockPages || r.flags&(flagNoReserve|flagRandom|flagNoHugePage) != 0 ||
		as.m.inUse() > as.m.limit/4*3 {
		return nil
	}
	// A very large region, touched at random, would take the host's last
	// mappings. Fill the gaps faster than it makes them; the host gives memory to
	// what is really touched only.
	for a := max(lo&^(bulk-1), r.start&^leafMask+leafSpan); a < min(lo&^(bulk-1)+bulk, r.end&^leafMask); a += leafSpan {
		t := as.makeLeaf(a)
		if t == nil || t[0] != 0 {
			continue
		}
		if as.populateAnon(r, t, a, a+leafSpan, a) != nil {
			break
		}
	}
	return nil
}

// manyMisses is how many faults out of order make a region one that is touched at
// random all over.
const (
	manyMisses = 640
	bulk       = 8 * leafSpan
)

// populateAnon fills the empty entries of [lo, hi), in one table; the page at must is the one that
// has to succeed.
func (as *AddressSpace) populateAnon(r *region, t *table, lo, hi, must uint64) error {
	short := false
	for a := lo; a < hi; {
		i := pageIdx(a)
		if t[i] != 0 {
			a += PageSize
			continue
		}
		n := 1
		for a+uint64(n)<<PageShift < hi && t[i+n] == 0 {
			n++
		}
		f, got := as.takeRun(r, a, n, nil)
		if got == 0 {
			short = true
			break
		}
		fl := as.pteFlags(r, f, false)
		for k := 0; k < got; k++ {
			t[i+k] = (f + Frame(k)).Offset() | fl
		}
		as.rss[kindAnon].Add(int64(got))
		a += uint64(got) << PageShift
	}
	if short && t[pageIdx(must)] == 0 {
		if f, got := as.takeRun(r, must, 1, nil); got != 0 {
			as.set(t, pageIdx(must), f, as.pteFlags(r, f, false))
		} else {
			_ = as.show(lo, hi)
			return errNoFrame
		}
	}
	return as.show(lo, hi)
}

// faultFile brings pages of a file.
func (as *AddressSpace) faultFile(r *region, t *table, addr uint64, w want, need *needPage) error {
	c := r.file.Cache
	idx := r.fileIdx(addr)
	private := !r.shared && w.access == platform.AccessWrite
	first := 2 * minPageRun
	program := w.only.hi != 0 || as.program(r)
	if program {
		first = blockPages
	} else if c.backing == nil && !c.anon {
		// Pages that a mapping brings count as the file's: no more than asked for.
		first = 1
	}
	var lo, hi uint64
	if w.only.hi != 0 {
		lo, hi = max(addr&^leafMask, w.only.lo), min((addr|leafMask)+1, w.only.hi)
	} else {
		lo, hi = as.block(r, addr, first, blockPages)
	}

	c.mu.Lock()
	sp := pagesOf(c.size.Load())
	if idx >= sp {
		c.mu.Unlock()
		return errBus
	}
	from := idx - int64((addr-lo)>>PageShift)
	n := min(int64(hi-lo)>>PageShift, sp-from)
	if c.backing == nil {
		var err error
		k := 0
		if !program {
			k, _ = c.ensure(from, int(n))
		}
		if int64(k) <= idx-from {
			// Only the page itself, then.
			_, err = c.ensure(idx, 1)
		}
		if err != nil {
			c.mu.Unlock()
			if err == errShort {
				return errNoFrame
			}
			return errBus
		}
	}
	fs := as.scratch[:n]
	var ch *chunk
	for k := range fs {
		x := from + int64(k)
		i := uint(x & (chunkPages - 1))
		if k == 0 || i == 0 {
			ch, _, _ = c.lookup(x)
		}
		fs[k] = NoFrame
		if ch == nil || t[pageIdx(lo)+k] != 0 {
			continue
		}
		if f := ch.frames[i]; f != NoFrame {
			c.m.IncRef(f)
			fs[k] = f
			c.touch(ch, 1<<i)
		}
	}
	at := int(idx - from)
	if fs[at] == NoFrame {
		c.mu.Unlock()
		for _, f := range fs {
			if f != NoFrame {
				c.m.DecRef(f)
			}
		}
		*need = needPage{c, idx, r.file}
		r.hold()
		return errNeedPage
	}
	dirty := false
	if r.shared && w.access == platform.AccessWrite && c.backing != nil {
		as.storeTo(c, idx)
		dirty = true
	}
	c.mu.Unlock()

	set := int64(0)
	for k, f := range fs {
		if f != NoFrame {
			t[pageIdx(lo)+k] = f.Offset() | as.pteFlags(r, f, dirty && k == at)
			set++
		}
	}
	as.count(fs[at], set) // all are of one kind
	if dirty {
		c.m.caches.add(c)
		c.m.caches.flushLater()
	}
	if private {
		// Neighbours that are not copied are shown when they are touched.
		return as.faultWrite(r, t, addr, w)
	}
	return as.show(lo, lo+uint64(n)<<PageShift)
}

// storeTo marks a page as written through a mapping. c.mu is held.
func (as *AddressSpace) storeTo(c *PageCache, idx int64) {
	if ch, i, f := c.lookup(idx); f != NoFrame {
		c.setDirty(ch, i)
		ch.wmapped |= 1 << i
	}
}

// faultWrite makes a page that is there writable: by a copy, unless nobody else
// has it.
func (as *AddressSpace) faultWrite(r *region, t *table, addr uint64, w want) error {
	i := pageIdx(addr)
	e := t[i]
	if r.shared {
		c := r.file.Cache
		f := frameOf(e)
		if c.backing == nil {
			t[i] = f.Offset() | as.pteFlags(r, f, true)
			return as.show(addr, addr+PageSize)
		}
		// In order: mark some more, since they will be written next.
		n := 1
		if addr == r.next && r.around > 0 && r.around < 512 {
			n = min(max(r.around*2, 2), 64)
		}
		r.around = n
		hi := min(addr+uint64(n)<<PageShift, r.end, addr&^leafMask+leafSpan)
		c.mu.Lock()
		a := addr
		for ; a < hi; a += PageSize {
			x := &t[pageIdx(a)]
			if *x&ptePresent == 0 || *x&pteWrite != 0 {
				break
			}
			g := frameOf(*x)
			if _, _, have := c.lookup(r.fileIdx(a)); have != g {
				// The file lost this page and the visit that unmaps it is
				// under way.
				if a == addr {
					c.mu.Unlock()
					as.drop(as.zap(addr, addr+PageSize, nil, nil))
					return unix.EAGAIN
				}
				break
			}
			as.storeTo(c, r.fileIdx(a))
			*x = g.Offset() | as.pteFlags(r, g, true)
		}
		c.mu.Unlock()
		r.next = a
		c.m.caches.add(c)
		c.m.caches.flushLater()
		return as.show(addr, a)
	}

	// Private: neighbours that are there too are copied with it, more of them
	// when this goes on in order.
	n := 4
	program := as.program(r)
	if program {
		n = 8
	}
	if addr == r.next && r.around > 0 {
		n = min(max(r.around*2, n), 64)
	}
	if w.force || as.m.inUse() > as.m.limit-as.m.limit/16 {
		n = 1
	}
	size := uint64(n) << PageShift
	lo, hi := max(addr&^(size-1), r.start), min(addr&^(size-1)+size, r.end)
	if program && n > 1 && r.end-r.start <= 16*PageSize && r.start&^leafMask == (r.end-1)&^leafMask {
		lo, hi = r.start, r.end
	}
	r.around, r.next = n, hi
	var fs []frameRun
	var err error
	// Unasked only what is anonymous: a file's page that was not written to goes on following the file. The data of a program is
	// taken as it is when it is first written to: no program lives on when its file changes under it.
	copyable := func(e uint64) bool {
		return e&ptePresent != 0 && (program || as.m.kinds[frameOf(e)] == uint8(kindAnon))
	}
	// The page itself first, in case there is no room for more; where there is, all in one, so that the copies can be consecutive.
	var raw rawFrames
	order := [2]int{0, 1}
	if n > 1 && as.m.inUse() < as.m.limit-as.m.limit/8 {
		order = [2]int{1, 0}
	}
	for _, pass := range order {
		a, end := addr, addr+PageSize
		if pass == 1 {
			a, end = lo, hi
		}
		for a < end {
			k := pageIdx(a)
			x := t[k]
			if x == 0 || x&pteWrite != 0 || pass == 1 && !copyable(x) {
				a += PageSize
				continue
			}
			if as.owns(frameOf(x)) {
				t[k] = as.privateEntry(r, frameOf(x), w)
				a += PageSize
				continue
			}
			m := 1
			for a+uint64(m)<<PageShift < end {
				y := t[k+m]
				if !copyable(y) || y&pteWrite != 0 || as.owns(frameOf(y)) {
					break
				}
				m++
			}
			nf, got := as.takeRun(r, a, m, &raw)
			if got == 0 {
				if pass == 0 {
					err = errNoFrame
				}
				break
			}
			for j := 0; j < got; j++ {
				old := frameOf(t[k+j])
				copy(as.m.Bytes(nf+Frame(j)), as.m.Bytes(old))
				as.count(old, -1)
				fs = addRun(fs, old)
				as.set(t, k+j, nf+Frame(j), 0)
				t[k+j] = as.privateEntry(r, nf+Frame(j), w)
			}
			a += uint64(got) << PageShift
		}
		if err != nil || n == 1 {
			break
		}
	}
	serr := as.show(lo, hi)
	as.drop(fs)
	if w.force && err == nil && serr == nil {
		serr = as.pas.Sync()
	}
	if err == nil {
		err = serr
	}
	return err
}

// privateEntry is the entry for a frame that only this page has.
func (as *AddressSpace) privateEntry(r *region, f Frame, w want) uint64 {
	return f.Offset() | as.pteFlags(r, f, false)
}

// growStack extends a region that grows down to addr, if the next one above is
// such a region and the gap below allows.
func (as *AddressSpace) growStack(addr uint64) *region {
	r := as.after(addr)
	if r == nil || r.flags&flagGrowsDown == 0 || addr < as.lo {
		return nil
	}
	try := func(start uint64) bool {
		if int64((r.end-start)>>PageShift) > as.limit(unix.RLIMIT_STACK) {
			return false
		}
		if p := as.before(r.start); p != nil && p.prot != platform.None && p.flags&flagGrowsDown == 0 {
			if start < p.end || start-p.end < stackGapLen {
				return false
			}
		} else if p != nil && start < p.end {
			return false
		}
		n := int64(r.start-start) >> PageShift
		if as.totalVM+n > as.limit(unix.RLIMIT_AS) || as.overcommitted(n) {
			return false
		}
		if r.flags&flagLocked != 0 && !as.mayLockAny() && as.lockedVM+n > as.limit(rlimitMemlock) {
			return false
		}
		return true
	}
	start := addr
	if !try(start) {
		return nil
	}
	// Some pages more, so that each fault does not bring but one.
	if more := addr &^ (minPageRun*PageSize - 1); more >= as.lo && try(more) {
		start = more
	}
	if as.reserve(start, r.start) != nil {
		return nil
	}
	as.regions.Delete(r.start)
	n := int64(r.start-start) >> PageShift
	r.start = start
	as.regions.Set(r.start, r)
	as.account(r, n)
	return r
}

// populate brings all pages of [lo, hi) in, as MAP_POPULATE and mlock do. mu is not held.
// It stops at the first that cannot be had, with EFAULT, ENOMEM or EHWPOISON's like.
func (as *AddressSpace) populate(lo, hi uint64, w want) error {
	for a := lo; a < hi; {
		as.mu.RLock()
		done := as.present(a, hi, w)
		as.mu.RUnlock()
		a = done
		if a >= hi {
			return nil
		}
		err := as.fault(a, w)
		if err == unix.EAGAIN {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// present is the end of the pages from a on that w needs no fault for.
func (as *AddressSpace) present(a, hi uint64, w want) uint64 {
	if as.root == NoFrame {
		return a
	}
	for a < hi {
		t, end := as.leaf(a)
		if t == nil {
			return a
		}
		for end = min(end, hi); a < end; a += PageSize {
			e := t[pageIdx(a)]
			if e&ptePresent == 0 || w.access == platform.AccessWrite && e&pteWrite == 0 {
				return a
			}
		}
	}
	return a
}
