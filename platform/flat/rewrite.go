package flat

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/platform/flat/sites"
	"gosv.dev/platform/shown"
)

// Rewriting of system call sites. A page of text is never written to: a copy with the jump in it, which only this platform knows,
// is mapped in its place in one step. Whatever mm does with the page brings the original back. So the flat memory, other processes,
// processes that have moved and everybody who asks mm see the program as it is.

const pageSize = arch.PageSize

// rewriteAt is the trap at which a site is rewritten. That costs as much as some ten traps, and most of the sites that a short
// program comes by it never sees again. Pages in which many programs trap are another matter (busy.go).
const rewriteAt = 12

// mostNoted is of how many sites something is noted: a program that makes its own code may have any number.
const mostNoted = 4096

// textWindow is how much text on either side of a site is looked at.
const textWindow = 128 << 10

// rewritten is what a home has of rewritten sites. home.mu protects it.
type rewritten struct {
	zones   []*zone
	copies  map[uint64]*textCopy // by the page's address
	cont    map[uint64]uint64    // overwritten addresses, and where a thread goes on instead
	refused map[uint64]bool      // sites that stay as they were
	noted   span                 // copies and refused are of addresses in it
	traps   map[uint64]uint8     // how often others have trapped
	id      uint64               // in busyPages, or 0
	busy    int                  // how many pages it had from there

	text           *sites.Text // of [textLo, textHi), with all patches since
	code           []byte
	textLo, textHi uint64
}

// textCopy is a page with rewritten sites.
type textCopy struct {
	frame   uint64 // in the platform's own memory
	patches []*sites.Patch
}

// zone is where trampolines are: one slot each.
type zone struct {
	lo, hi uint64
	slots  []*slot // by position; the last page may not be full
	frames []uint64
}

// slot is a trampoline.
type slot struct {
	after uint64 // the address after the SYSCALL
	patch sites.Patch
}

// rewrite makes a jump of the SYSCALL before after, which trapped with the number nr, if that can be done.
func (as *addressSpace) rewrite(after, nr uint64) {
	site := after - 2
	as.mu.Lock()
	defer as.mu.Unlock()
	rw := &as.rw
	if as.moved.Load() || as.turn.Load() != as || rw.refused[site] {
		return
	}
	if rw.traps[site] == 0 { // not at each trap of a site
		as.rewriteAhead(site)
	}
	if as.rewriteBusy(site, nr) {
		return
	}
	if n := rw.traps[site] + 1; n < rewriteAt {
		if rw.traps == nil || len(rw.traps) >= mostNoted {
			rw.traps = map[uint64]uint8{}
		}
		rw.traps[site] = n
		return
	}
	delete(rw.traps, site)
	page := site &^ (pageSize - 1)
	if _, ok := as.textFrame(page); !ok || after > page+pageSize {
		return // its contents may change without a word, or are not to be read
	}
	z, at := as.freeSlot(site)
	if z == nil {
		as.refuse(site)
		return
	}
	if rw.text == nil || site < rw.textLo || after > rw.textHi {
		as.readText(page)
	}
	patch, err := rw.text.Plan(site, nr, at)
	if err != nil || patch.Page() < rw.textLo || patch.Page()+pageSize > rw.textHi {
		as.refuse(site)
		return
	}
	if c := rw.copies[patch.Page()]; c != nil && slices.ContainsFunc(c.patches, patch.Buries) {
		as.refuse(site)
		return
	}
	// A context counts before it asks, with mu, where it is to go on: it is seen here, or sees the patch.
	if patch.Inner && len(as.contexts) != 1 {
		return // another time, perhaps
	}
	if err := as.patch(z, patch.Page(), []*sites.Patch{&patch}); err != nil {
		as.p.hostRefused(err)
		as.refuse(site)
	}
}

// refuse notes that a site stays as it is.
func (as *addressSpace) refuse(site uint64) {
	if as.rw.refused == nil || len(as.rw.refused) >= mostNoted {
		as.rw.refused = map[uint64]bool{}
	}
	as.rw.refused[site] = true
	as.rw.noted.cover(site)
}

// readText copies the text around page.
func (as *addressSpace) readText(page uint64) {
	rw := &as.rw
	lo, hi := page, page+pageSize
	readable := func(a uint64) bool {
		m, ok := as.maps.At(a)
		return ok && m.Prot&(platform.Read|platform.Exec) == platform.Read|platform.Exec
	}
	for lo > pageSize && page-lo < textWindow && readable(lo-pageSize) {
		lo -= pageSize
	}
	for hi-page < textWindow && readable(hi) {
		hi += pageSize
	}
	rw.code = slices.Grow(rw.code[:0], int(hi-lo))[:hi-lo]
	copy(rw.code, guestBytes(lo, int(hi-lo)))
	rw.text, rw.textLo, rw.textHi = sites.NewText(rw.code, lo), lo, hi
}

// patch puts patches of one page into force, whose trampolines are the next slots of z. Those that are not for what is in the page now are left
// out.
func (as *addressSpace) patch(z *zone, page uint64, patches []*sites.Patch) error {
	rw := &as.rw
	for need := (len(z.slots) + len(patches) + slotsPerPage - 1) / slotsPerPage; len(z.frames) < need; {
		frame, err := as.p.text.take()
		if err != nil {
			return err
		}
		if e := as.showText(z.lo+uint64(len(z.frames))*pageSize, frame); e != 0 {
			as.p.text.give(frame)
			return fmt.Errorf("mapping trampolines: %w", e)
		}
		z.frames = append(z.frames, frame)
	}
	// The copy of the page first: it may not be what it was a moment ago.
	frame, err := as.p.text.take()
	if err != nil {
		return err
	}
	// Not by the guest's address: what has not been touched there need not be taken away again.
	b := as.p.text.bytes(frame)
	if c := rw.copies[page]; c != nil {
		copy(b, as.p.text.bytes(c.frame))
	} else if off, ok := as.textFrame(page); ok {
		copy(b, as.p.o.Linear[off:])
	} else {
		as.p.text.give(frame)
		return nil // it is none any more
	}
	done := patches[:0]
	for _, patch := range patches {
		n := len(z.slots)
		if patch.TrampAt != z.lo+uint64(n)*sites.TrampSize || !patch.Apply(b, page) {
			continue
		}
		copy(as.p.text.bytes(z.frames[n/slotsPerPage])[n%slotsPerPage*sites.TrampSize:], patch.Tramp)
		z.slots = append(z.slots, &slot{after: patch.Site + 2, patch: *patch})
		done = append(done, patch)
	}
	if len(done) == 0 {
		as.p.text.give(frame)
		rw.text = nil
		return nil
	}
	if e := as.showText(page, frame); e != 0 {
		as.p.text.give(frame)
		return fmt.Errorf("mapping rewritten text: %w", e)
	}
	if rw.copies == nil {
		rw.copies, rw.cont = map[uint64]*textCopy{}, map[uint64]uint64{}
	}
	c := rw.copies[page]
	if c == nil {
		c = &textCopy{}
		rw.copies[page] = c
		rw.noted.cover(page)
	} else {
		as.p.text.give(c.frame)
	}
	c.frame = frame
	c.patches = append(c.patches, done...)
	for _, patch := range done {
		if rw.text != nil {
			patch.Apply(rw.code, rw.textLo)
		}
		for _, m := range slices.Backward(patch.Moves) {
			rw.cont[m.Text] = m.Tramp // of several, the first: it does all
		}
	}
	as.p.rewritten.Add(int64(len(done)))
	return nil
}

// showText maps a page of rewritten text or trampolines, which are about to be run.
func (as *addressSpace) showText(addr, frame uint64) unix.Errno {
	return hostMap(addr, pageSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE, as.p.text.fd, frame)
}

// restore forgets the rewritten pages of [lo, hi). Those that originals has, if it is not nil, are mapped as they were before; otherwise they have been
// mapped or unmapped already. mu is held.
func (as *addressSpace) restore(lo, hi uint64, originals *shown.Map) {
	rw := &as.rw
	if rw.text != nil && lo < rw.textHi && rw.textLo < hi {
		rw.text = nil
	}
	if !rw.noted.overlaps(lo, hi) {
		return
	}
	for site := range rw.refused {
		if lo <= site && site < hi {
			delete(rw.refused, site)
		}
	}
	rw.copiesIn(lo, hi, func(page uint64, c *textCopy) {
		if originals != nil {
			as.mustShow(page, originals)
		}
		for _, p := range c.patches {
			for _, m := range p.Moves {
				delete(rw.cont, m.Text)
			}
		}
		delete(rw.copies, page)
		as.textGen.Add(1)
		as.p.text.give(c.frame)
	})
}

// mustShow maps the original of a rewritten page, if it is to be shown.
func (as *addressSpace) mustShow(page uint64, originals *shown.Map) {
	m, ok := originals.At(page)
	if !ok {
		return
	}
	if e := hostMap(page, pageSize, uintptr(shown.HostProt(m.Prot)), unix.MAP_SHARED|unix.MAP_FIXED, as.p.memFD, m.Off); e != 0 {
		panic(fmt.Sprintf("flat: mapping original text: %v", e))
	}
}

// copiesIn calls f, which may forget it, for each rewritten page in [lo, hi).
func (rw *rewritten) copiesIn(lo, hi uint64, f func(page uint64, c *textCopy)) {
	if len(rw.copies) == 0 || !rw.noted.overlaps(lo, hi) {
		return
	}
	if (hi-lo)/pageSize < uint64(len(rw.copies)) {
		for page := lo; page < hi; page += pageSize {
			if c := rw.copies[page]; c != nil {
				f(page, c)
			}
		}
		return
	}
	for page, c := range rw.copies {
		if lo <= page && page < hi {
			f(page, c)
		}
	}
}

// slotsPerPage is how many trampolines a page has.
const slotsPerPage = pageSize / sites.TrampSize

// freeSlot finds the place of the next trampoline for a site.
func (as *addressSpace) freeSlot(site uint64) (*zone, uint64) {
	rw := &as.rw
	near := func(z *zone) bool {
		const reach = 2<<30 - 1<<20
		return site < z.lo+reach && z.hi < site+reach && len(z.slots) < int(z.hi-z.lo)/sites.TrampSize
	}
	for _, z := range rw.zones {
		if near(z) {
			return z, z.lo + uint64(len(z.slots))*sites.TrampSize
		}
	}
	if len(rw.zones) >= maxZones {
		return nil, 0
	}
	try := func(lo, hi uint64, own bool) *zone {
		z := &zone{lo: lo, hi: hi}
		if !near(z) || as.inZones(lo, hi) || !own && !as.p.places.claim(as.home, lo, hi) || as.settle(lo, hi) != 0 {
			return nil
		}
		rw.zones = append(rw.zones, z)
		return z
	}
	var z *zone
	if as.place.lo <= site && site < as.place.hi {
		if z = try(as.place.lo, as.place.lo+margin, true); z == nil {
			z = try(as.place.hi-margin, as.place.hi, true)
		}
		if z == nil {
			return nil, 0 // too far from both ends
		}
	}
	// A program at an address of its own: in front of it, where its heap does not grow to.
	for back := uint64(2 << 20); z == nil && back <= 1<<30 && site > back+zoneSize+arch.MinAddr; back *= 2 {
		lo := (site - back) &^ (zoneSize - 1)
		if !as.maps.Overlaps(lo, lo+zoneSize) {
			z = try(lo, lo+zoneSize, false)
		}
	}
	if z == nil {
		return nil, 0
	}
	return z, z.lo
}

const (
	maxZones = 16
	zoneSize = 1 << 20
)

// inZones tells whether trampolines are, or will be, in [lo, hi).
func (as *addressSpace) inZones(lo, hi uint64) bool {
	for _, z := range as.rw.zones {
		if lo < z.hi && z.lo < hi {
			return true
		}
	}
	return false
}

// slotAt is the trampoline that addr is in, or nil.
func (as *addressSpace) slotAt(addr uint64) *slot {
	for _, z := range as.rw.zones {
		if z.lo <= addr && addr < z.hi {
			if i := (addr - z.lo) / sites.TrampSize; i < uint64(len(z.slots)) {
				return z.slots[i]
			}
		}
	}
	return nil
}

// original is the program's address for one at which a thread was found.
func (as *addressSpace) original(addr uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	if s := as.slotAt(addr); s != nil {
		return s.patch.Original(addr)
	}
	return addr
}

// afterCall is the address after the SYSCALL of a rewritten site that goes on at resume.
func (as *addressSpace) afterCall(resume uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	if s := as.slotAt(resume); s != nil {
		return s.after
	}
	return resume
}

// goOn is where a thread that is to run at addr must be put.
func (as *addressSpace) goOn(addr uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	if to, ok := as.rw.cont[addr]; ok {
		return to
	}
	return addr
}

// drop gives the memory of copies and trampolines back. Nothing of it is shown any more.
func (rw *rewritten) drop(text *textMemory) {
	for _, c := range rw.copies {
		text.give(c.frame)
	}
	for _, z := range rw.zones {
		z.drop(text)
	}
}

func (z *zone) drop(text *textMemory) {
	for _, f := range z.frames {
		text.give(f)
	}
	z.frames = nil // the slots stay: a thread may yet be found there
}
