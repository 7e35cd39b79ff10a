package flat

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/tidwall/btree"
	"golang.org/x/sys/unix"

	"gosv.dev/platform/shown"
)

// Processes share the sentry's addresses. Each that begins with an exec gets a range of its own, in which its memory is placed
// unless it asks for something else; what it asks for elsewhere it gets if nobody has it.

const (
	placesLo  = 0x4000_0000_0000
	placesHi  = 0x5f00_0000_0000
	placeSize = 64 << 30
	// Linux puts position-independent programs between pieLo and pieHi, and some look whether they are there (ThreadSanitizer). These places are taken first.
	pieLo, pieHi = 0x5500_0000_0000, 0x5680_0000_0000
	// margin at both ends of a place is for trampolines.
	margin = 16 << 20
)

// pie is 1 for a place between pieLo and pieHi, 0 for others.
func pie(at uint64) int {
	if pieLo <= at && at < pieHi {
		return 1
	}
	return 0
}

type span struct{ lo, hi uint64 }

// overlaps tells whether it has a part of [lo, hi).
func (s span) overlaps(lo, hi uint64) bool { return s.lo < hi && lo < s.hi }

// cover makes it larger, if need be, so that addr is in it.
func (s *span) cover(addr uint64) {
	if s.hi == 0 {
		s.lo = addr
	}
	s.lo, s.hi = min(s.lo, addr), max(s.hi, addr+1)
}

// extend adds a range that comes after all others to them.
func extend(all []span, lo, hi uint64) []span {
	if n := len(all); n > 0 && all[n-1].hi == lo {
		all[n-1].hi = hi
		return all
	}
	return append(all, span{lo, hi})
}

// contains tells whether all of [lo, hi) is in it.
func (s span) contains(lo, hi uint64) bool { return s.lo <= lo && hi <= s.hi }

// mustUnmap unmaps it from the sentry's process: addresses of a guest's.
func (s span) mustUnmap() {
	if e := hostUnmap(s.lo, s.hi-s.lo); e != 0 {
		panic(fmt.Sprintf("flat: unmapping addresses of a process: %v", e))
	}
}

// places knows which addresses of the process belong to whom.
type places struct {
	text  *textMemory
	mu    sync.Mutex
	free  []place // in no order, those last that were given back last
	taken btree.Map[uint64, taken]
	left  shown.Map // what programs have left outside of places, in ranges that are taken by nobody
}

// place is one that can be taken.
type place struct {
	at              uint64
	known           bool   // it was taken before: the sentry has nothing there
	program, random uint64 // of the home that had it last, if left is not empty
	left            shown.Map
	rw              rewritten
}

type taken struct {
	hi   uint64
	by   *home // nil: there is only what a program has left
	room bool  // it is places, which nobody can take meanwhile
}

func (l *places) init(text *textMemory) {
	l.text = text
	// The sentry's heap, and what the host's kernel finds room for, grow from where they are: not there, nor next to it.
	own := sentryAddrs()
	near := func(at uint64) bool {
		return slices.ContainsFunc(own, func(a uint64) bool { return a+placeSize >= at && a < at+2*placeSize })
	}
	var all []uint64
	for at := uint64(placesHi - placeSize); at >= placesLo; at -= placeSize {
		if !near(at) {
			all = append(all, at)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	l.free = make([]place, len(all))
	for i, at := range all {
		l.free[i].at = at
	}
}

// take gives h a place for a program, if there is one: the one that it had before, or else one in which nothing is left, best where Linux would put it.
func (l *places) take(h *home, program uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var others []place // in which somebody has something
	defer func() { l.free = append(l.free, others...) }()
	for len(l.free) > 0 {
		best, rank := 0, 0 // the oldest, if other programs have left something in all
		for i := range l.free {
			r := 0
			switch p := &l.free[i]; {
			case p.left.Len() != 0 && p.program == program:
				r = 3
			case p.left.Len() == 0:
				r = 1 + pie(p.at)
			}
			if r > 0 && r >= rank {
				best, rank = i, r
			}
		}
		p := l.free[best]
		l.free = slices.Delete(l.free, best, best+1)
		if l.overlaps(p.at, p.at+placeSize) {
			others = append(others, p)
			continue
		}
		if !p.usable() {
			continue
		}
		if p.program != program {
			l.discard(&p)
		}
		l.taken.Set(p.at, taken{hi: p.at + placeSize, by: h})
		h.inherit(&p, program)
		return true
	}
	return false
}

// usable tells whether the sentry itself has nothing in a place. To ask the host costs two calls, and an interrupt of the other processors.
func (p *place) usable() bool { return p.known || hostFree(p.at, placeSize) }

// room gives h n bytes, or more, in addition to its place: places side by side.
func (l *places) room(h *home, n uint64) (span, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*place, len(l.free))
	for i := range l.free {
		all[i] = &l.free[i]
	}
	slices.SortFunc(all, func(a, b *place) int { return cmp.Compare(a.at, b.at) })
	first := 0
	for i, p := range all {
		if l.overlaps(p.at, p.at+placeSize) || !p.usable() {
			first = i + 1
			continue
		}
		if i > first && all[i-1].at+placeSize != p.at {
			first = i
		}
		if uint64(i+1-first)*placeSize < n {
			continue
		}
		s := span{all[first].at, p.at + placeSize}
		for _, p := range all[first : i+1] {
			l.discard(p)
		}
		if hostHold(s.lo, s.hi-s.lo, mapFixedNoReplace) != 0 {
			return span{}, false
		}
		l.free = slices.DeleteFunc(l.free, func(p place) bool { return s.contains(p.at, p.at+placeSize) })
		l.taken.Set(s.lo, taken{hi: s.hi, by: h, room: true})
		h.outside.Store(true)
		return s, true
	}
	return span{}, false
}

// drop gives back a range outside of the owner's place. mu is held.
func (l *places) drop(s span) {
	s.mustUnmap()
	if t, _ := l.taken.Delete(s.lo); t.room {
		for at := s.lo; at < s.hi; at += placeSize {
			l.free = append(l.free, place{at: at, known: true})
		}
	}
}

// overlaps tells whether anybody has a part of [lo, hi). mu is held.
func (l *places) overlaps(lo, hi uint64) bool {
	found := false
	l.taken.Descend(hi-1, func(_ uint64, t taken) bool {
		found = t.hi > lo
		return false
	})
	return found
}

// claim makes [lo, hi) h's own, whose mu is held. False if a part of it is somebody else's, or the sentry's.
func (l *places) claim(h *home, lo, hi uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var mine []span
	ok := true
	l.taken.Descend(hi-1, func(at uint64, t taken) bool {
		if t.hi <= lo {
			return false
		}
		ok = t.by == h || t.by == nil
		mine = append(mine, span{at, t.hi})
		return ok
	})
	if !ok {
		return false
	}
	h.outside.Store(true)
	for i := range mine {
		mine[i] = l.adopt(h, mine[i], lo, hi)
	}
	// mine goes down; the gaps between must be free.
	at := hi
	var gaps []span
	for _, m := range mine {
		if m.hi < at {
			gaps = append(gaps, span{m.hi, at})
		}
		at = m.lo
	}
	if at > lo {
		gaps = append(gaps, span{lo, at})
	}
	for i, g := range gaps {
		if hostHold(g.lo, g.hi-g.lo, mapFixedNoReplace) != 0 {
			for _, g := range gaps[:i] {
				hostUnmap(g.lo, g.hi-g.lo)
			}
			return false
		}
	}
	for _, g := range gaps {
		l.taken.Set(g.lo, taken{hi: g.hi, by: h})
	}
	return true
}

// rivals are the others who have a part of [lo, hi).
func (l *places) rivals(h *home, lo, hi uint64) []*home {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*home
	l.taken.Descend(hi-1, func(_ uint64, t taken) bool {
		if t.hi <= lo {
			return false
		}
		if t.by != h && t.by != nil && !slices.Contains(all, t.by) {
			all = append(all, t.by)
		}
		return true
	})
	return all
}

// has is which ranges with a part in [lo, hi) are h's.
func (l *places) has(h *home, lo, hi uint64) []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hasLocked(h, lo, hi)
}

func (l *places) hasLocked(h *home, lo, hi uint64) []span {
	var all []span
	l.taken.Descend(hi-1, func(at uint64, t taken) bool {
		if t.hi <= lo {
			return false
		}
		if t.by == h {
			all = append(all, span{at, t.hi})
		}
		return true
	})
	return all
}

// give makes a range that has an owner somebody else's.
func (l *places) give(s span, to *home) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, _ := l.taken.Get(s.lo)
	t.by = to
	l.taken.Set(s.lo, t)
}

// abandon gives back what h has outside of its place, where it shows nothing any more.
func (l *places) abandon(h *home) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.hasLocked(h, 0, math.MaxUint64) {
		if !h.place.overlaps(m.lo, m.hi) {
			l.drop(m)
		}
	}
}

// release gives back what an address space has that is the last of its home. What is left behind stays, if it shows what it should. Nobody else
// can have the addresses meanwhile. as.mu is held.
func (l *places) release(as *addressSpace, leave bool) {
	h := as.home
	// The place is the last: what is outside of it may have trampolines there, and somebody may wait for it.
	for _, s := range l.has(h, 0, math.MaxUint64) {
		if s == h.place {
			continue
		}
		l.mu.Lock()
		if l.left.Len() >= mostLeftOver {
			l.discardElsewhere()
		}
		if leave && s.hi <= placesLo && as.leaveSpan(s, &l.left) {
			l.taken.Set(s.lo, taken{hi: s.hi})
		} else {
			l.drop(s)
		}
		l.mu.Unlock()
	}
	as.p.wakeAcquirers()
	if h.place.hi == 0 {
		as.forget()
		return
	}
	p := place{at: h.place.lo, known: true}
	if leave {
		p = as.leaveBehind()
	} else {
		h.place.mustUnmap()
	}
	as.forget()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken.Delete(p.at)
	l.free = append(l.free, p)
	n, oldest := 0, 0
	for i := len(l.free) - 1; i >= 0; i-- {
		if l.free[i].left.Len() != 0 {
			n, oldest = n+1, i
		}
	}
	if n > mostLeft {
		l.discard(&l.free[oldest])
	}
}

const mapFixedNoReplace = 0x100000

// hostHold maps a range so that nobody can access it and nothing else is put there.
func hostHold(addr, length uint64, fixed uintptr) unix.Errno {
	return hostMap(addr, length, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|fixed, ^uintptr(0), 0)
}

// hostFree tells whether the process has nothing mapped in a range.
func hostFree(addr, length uint64) bool {
	return hostHold(addr, length, mapFixedNoReplace) == 0 && hostUnmap(addr, length) == 0
}
