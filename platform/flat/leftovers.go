package flat

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/shown"
)

// What a program leaves behind. Most programs have been run before: a shell, a compiler, what a script calls again and again. To map a program
// and its libraries, to have the host find each page once more, and to rewrite the same system calls costs as much as all that a small program
// does. So text, and what else is only read, stays mapped when a program has ended, and with it the pages that are rewritten; the next time the
// program is run it gets the same place and is laid out in the same way, and what it maps is there already.
//
// A mapping shows a range of the flat memory, whatever is in it, so one that is left is right if the next program wants to have the same range
// at the same address, and says so by Map. What it maps otherwise, or has at another address, is not shown through what is left (platform.Heir).
// Where a program has nothing, something may be left that it could read, as it could read what other processes have.

// leftovers is what the host shows of an earlier program in the addresses of a home, in part where the home's own program shows the same memory
// with fewer rights.
type leftovers struct {
	maps shown.Map
	keep span        // where it stays when something of the program's own is unmapped
	some atomic.Bool // maps is not empty; changed under mu, read without
}

// add takes in what the host shows.
func (l *leftovers) add(lo uint64, m shown.Mapping) {
	l.maps.Map(lo, m.End, m.Off, m.Prot)
	l.some.Store(true)
}

// cut forgets a range of which something else has become.
func (l *leftovers) cut(lo, hi uint64) {
	if l.some.Load() {
		l.maps.Unmap(lo, hi)
		l.some.Store(l.maps.Len() != 0)
	}
}

func (l *leftovers) clear() {
	l.maps.Clear()
	l.keep = span{}
	l.some.Store(false)
}

// Left implements platform.Heir.
func (as *addressSpace) Left(lo, hi uint64) bool {
	if !as.left.some.Load() {
		return false
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.left.maps.Overlaps(lo, hi)
}

// EachLeft implements platform.Heir.
func (as *addressSpace) EachLeft(lo, hi uint64, f func(lo, hi uint64)) {
	as.mu.Lock()
	left := as.left.maps.Clone() // f changes what is left
	as.mu.Unlock()
	left.Each(lo, hi, func(lo uint64, m shown.Mapping) { f(lo, m.End) })
}

// Keep implements platform.Heir.
func (as *addressSpace) Keep(lo, hi uint64) {
	as.mu.Lock()
	as.left.keep = span{lo, hi}
	as.mu.Unlock()
}

// Settle implements platform.Heir.
func (as *addressSpace) Settle(lo, hi uint64) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.left.keep = span{}
	e := as.settle(lo, hi)
	if n := len(as.stack); e != 0 && n > 0 {
		// The host has no room for more pieces of mappings; a stub may.
		if err := as.stack[n-1].move("too many host mappings"); err != nil {
			as.p.hostRefused(err)
		}
	}
}

// hand makes what is shown in s another home's to show or to hide: text as what is left there. mu is held, and that of the other home.
func (as *addressSpace) hand(s span, to *home) {
	as.host.Each(s.lo, s.hi, func(lo uint64, m shown.Mapping) {
		if as.p.leavable(m) {
			as.restore(lo, m.End, &as.host)
			to.left.add(lo, m)
		} else {
			as.restore(lo, m.End, nil)
			to.host.Map(lo, m.End, m.Off, m.Prot)
		}
	})
	as.left.maps.Each(s.lo, s.hi, to.left.add)
	as.left.cut(s.lo, s.hi)
}

// leavable tells whether what is shown is a file's text, or something else of it that is only read.
func (p *Platform) leavable(m shown.Mapping) bool {
	return m.Prot&(platform.Write|platform.Private) == platform.Private && p.o.OfFile(m.Off)
}

// without is what of parts is to be hidden: not what is left there, where Keep was called.
func (l *leftovers) without(parts []span) []span {
	var some []span
	for _, p := range parts {
		if l.keep.contains(p.lo, p.hi) {
			l.maps.Gaps(p.lo, p.hi, func(lo, hi uint64) { some = append(some, span{lo, hi}) })
		} else {
			some = append(some, p)
		}
	}
	return some
}

// settle hides what is left in [lo, hi) where who can run here shows nothing. mu is held.
func (as *addressSpace) settle(lo, hi uint64) unix.Errno {
	shows := &shown.Map{}
	if n := len(as.stack); n > 0 {
		shows = &as.stack[n-1].maps
	}
	var gone []span
	as.left.maps.Each(lo, hi, func(lo uint64, m shown.Mapping) {
		shows.Gaps(lo, m.End, func(lo, hi uint64) { gone = extend(gone, lo, hi) })
	})
	for _, g := range gone {
		if e := as.hide(g.lo, g.hi); e != 0 {
			return e
		}
	}
	return 0
}

// mustHide is hide where it cannot be done without.
func (as *addressSpace) mustHide(lo, hi uint64) {
	if e := as.hide(lo, hi); e != 0 {
		panic(fmt.Sprintf("flat: hiding %#x+%#x: %v", lo, hi-lo, e))
	}
}

// showRest has the host show flat memory where what is left is something else. mu is held.
func (as *addressSpace) showRest(addr, length, off uint64, prot platform.Prot) unix.Errno {
	var same shown.Map
	as.left.maps.Each(addr, addr+length, func(lo uint64, m shown.Mapping) {
		if m.Off-off == lo-addr && m.Prot&^platform.Exec == prot&^platform.Exec && m.Prot&prot == prot {
			same.Map(lo, m.End, m.Off, m.Prot)
		}
	})
	if same.Len() > mostRest {
		same.Clear()
	}
	var e unix.Errno
	same.Gaps(addr, addr+length, func(lo, hi uint64) {
		if e == 0 {
			e = as.hostShowAll(lo, hi-lo, off+lo-addr, prot)
		}
	})
	same.Scan(func(lo uint64, m shown.Mapping) bool {
		as.review(lo, m.End)
		if m.Prot == prot {
			as.left.cut(lo, m.End)
		}
		return true
	})
	return e
}

// mostRest is in how many pieces something may be left that is to be shown as one mapping.
const mostRest = 4

// review forgets the rewritten pages of [lo, hi), where something is left, that are not what would be made of the text now: it may have been
// written to since. mu is held.
func (as *addressSpace) review(lo, hi uint64) {
	as.rw.copiesIn(lo, hi, func(page uint64, c *textCopy) {
		m, _ := as.left.maps.At(page)
		var b [pageSize]byte
		copy(b[:], as.p.o.Linear[m.Off:])
		ok := true
		for _, p := range c.patches {
			ok = ok && p.Apply(b[:], page)
		}
		if !ok || !bytes.Equal(b[:], as.p.text.bytes(c.frame)) {
			as.restore(page, page+pageSize, &as.left.maps)
		}
	})
}

// mostLeft is in how many free places something is left, at most: it takes mappings of the host's, some dozens each, and there are but 24 places of the best.
const (
	mostLeft      = 16
	mostLeftSlots = 4096 // trampolines of a place that are kept: those of pages that have changed since are not used again
	mostLeftOver  = 256  // mappings that are left at other addresses
)

// leaveBehind makes what the place shows when its last program has ended what is left there, and takes everything else away. mu is held.
func (as *addressSpace) leaveBehind() place {
	p := place{at: as.place.lo, known: true, program: as.program, random: as.random}
	as.eachLeavable(as.place, func(lo uint64, m shown.Mapping) { p.left.Map(lo, m.End, m.Off, m.Prot) })
	rw := &as.rw
	slots := 0
	for _, z := range rw.zones {
		slots += len(z.slots)
	}
	full := slots > mostLeftSlots
	if full {
		as.restore(0, math.MaxUint64, &p.left)
	} else {
		p.left.Gaps(0, math.MaxUint64, func(lo, hi uint64) { as.restore(lo, hi, nil) })
	}
	stays := p.left.Clone()
	rw.zones = slices.DeleteFunc(rw.zones, func(z *zone) bool {
		if full || !as.place.contains(z.lo, z.hi) {
			z.drop(as.p.text)
			return true
		}
		if n := uint64(len(z.frames)) * pageSize; n != 0 {
			stays.Map(z.lo, z.lo+n, 0, platform.Exec)
		}
		return false
	})
	var e unix.Errno
	stays.Gaps(as.place.lo, as.place.hi, func(lo, hi uint64) {
		if e == 0 && (full || as.maps.Overlaps(lo, hi) || as.left.maps.Overlaps(lo, hi) || as.windows.overlap(span{lo, hi})) {
			e = hostUnmap(lo, hi-lo)
		}
	})
	p.rw, *rw = *rw, rewritten{}
	p.rw.id, p.rw.busy, p.rw.text, p.rw.code = 0, 0, nil, nil
	if e != 0 {
		// The host has no room for more pieces of mappings.
		as.place.mustUnmap()
		as.p.places.discard(&p)
	}
	return p
}

// eachLeavable calls f for what the last program shows of s that can be left.
func (as *addressSpace) eachLeavable(s span, f func(lo uint64, m shown.Mapping)) {
	as.maps.Each(s.lo, s.hi, func(lo uint64, m shown.Mapping) {
		if as.p.leavable(m) {
			f(lo, m)
		}
	})
}

// leaveSpan is leaveBehind for addresses outside of the place, which are nobody's from then on. It tells whether anything is left, and nothing
// else mapped. mu is held.
func (as *addressSpace) leaveSpan(s span, left *shown.Map) bool {
	if as.inZones(s.lo, s.hi) {
		return false
	}
	as.eachLeavable(s, func(lo uint64, m shown.Mapping) { left.Map(lo, m.End, m.Off, m.Prot) })
	if !left.Overlaps(s.lo, s.hi) {
		return false
	}
	as.restore(s.lo, s.hi, left)
	var e unix.Errno
	left.Gaps(s.lo, s.hi, func(lo, hi uint64) {
		if e == 0 {
			e = as.hide(lo, hi)
		}
	})
	if e != 0 {
		left.Unmap(s.lo, s.hi)
	}
	return e == 0
}

// inherit makes what is left in p, which has become h's place, what is left in h.
func (h *home) inherit(p *place, program uint64) {
	h.place = span{p.at, p.at + placeSize}
	if h.program, h.random = program, p.random; h.random == 0 {
		h.random = rand.Uint64()
	}
	h.rw = p.rw
	h.left.maps = p.left
	h.left.some.Store(p.left.Len() != 0)
}

// discard unmaps what is left in a place. mu is held.
func (l *places) discard(p *place) {
	if p.left.Len() != 0 || len(p.rw.zones) != 0 {
		span{p.at, p.at + placeSize}.mustUnmap()
		p.rw.drop(l.text)
	}
	*p = place{at: p.at, known: p.known}
}

// discardElsewhere unmaps what is left outside of places. mu is held.
func (l *places) discardElsewhere() {
	var all []span
	l.taken.Scan(func(at uint64, t taken) bool {
		if t.by == nil {
			all = append(all, span{at, t.hi})
		}
		return true
	})
	for _, s := range all {
		s.mustUnmap()
		l.taken.Delete(s.lo)
	}
	l.left.Clear()
}

// close unmaps all that is left.
func (l *places) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.free {
		l.discard(&l.free[i])
	}
	l.discardElsewhere()
}

// adopt makes the part in [lo, hi) of a range h's, with what is left there, if it is nobody's, and returns what is h's of the range then. mu is
// held, and h.mu.
func (l *places) adopt(h *home, s span, lo, hi uint64) span {
	if t, _ := l.taken.Get(s.lo); t.by != nil {
		return s
	}
	l.taken.Delete(s.lo)
	if s.lo < lo {
		l.taken.Set(s.lo, taken{hi: lo})
		s.lo = lo
	}
	if hi < s.hi {
		l.taken.Set(hi, taken{hi: s.hi})
		s.hi = hi
	}
	l.taken.Set(s.lo, taken{hi: s.hi, by: h})
	l.left.Each(s.lo, s.hi, h.left.add)
	l.left.Unmap(s.lo, s.hi)
	return s
}
