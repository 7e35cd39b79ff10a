package flat

import (
	"slices"
	"time"

	"gosv.dev/platform"
)

// To map a page and unmap it costs the host two changes of its own tree of mappings, which is most of what mmap(2) and munmap(2)
// of a little memory cost a guest. A program that does so again and again gets windows: ranges that stay mapped on the host while
// their pages come and go, as userfaultfd(2) allows. What is not there is not looked for in the flat memory, for the range is
// registered; an access is a SIGBUS, which is the guest's fault like any other.
//
// A window is made when something is shown where the same was shown and hidden not long ago.

// window is a range of a home's place that the host maps, readable and writable, to the flat memory from off on.
type window struct {
	span
	off uint64
}

// same tells whether off is shown at addr where w continues.
func (w window) same(addr, off uint64) bool { return off-addr == w.off-w.lo }

// windows are a home's. No two of them overlap.
type windows struct {
	all    []window  // the oldest first
	recent [4]window // hidden last
	next   int
}

// mostWindows is how many there may be: each may keep a mapping of the host's, which has room for some ten thousand.
const mostWindows = 16

// has tells whether all of [lo, hi) is in windows. off is what is shown at lo, or anything if shows is not set.
func (ws *windows) has(lo, hi uint64, off uint64, shows bool) bool {
	for i := 0; i < len(ws.all) && lo < hi; i++ {
		w := ws.all[i]
		if w.lo <= lo && lo < w.hi && (!shows || w.same(lo, off)) {
			off += w.hi - lo
			lo = w.hi
			i = -1
		}
	}
	return lo >= hi
}

// overlap tells whether there are windows in s.
func (ws *windows) overlap(s span) bool {
	return slices.ContainsFunc(ws.all, func(w window) bool { return w.overlaps(s.lo, s.hi) })
}

// cut ends what windows have in [lo, hi), where the host's mapping is about to change.
func (ws *windows) cut(lo, hi uint64) {
	if !ws.overlap(span{lo, hi}) {
		return
	}
	var left []window
	for _, w := range ws.all {
		if !w.overlaps(lo, hi) {
			left = append(left, w)
			continue
		}
		if w.lo < lo {
			left = append(left, window{span{w.lo, lo}, w.off})
		}
		if hi < w.hi {
			left = append(left, window{span{hi, w.hi}, w.off + hi - w.lo})
		}
	}
	ws.all = left
}

// note remembers what has been hidden.
func (ws *windows) note(w window) {
	ws.recent[ws.next%len(ws.recent)] = w
	ws.next++
}

// noted tells whether what is shown now was hidden not long ago.
func (ws *windows) noted(lo, hi, off uint64) bool {
	return slices.ContainsFunc(ws.recent[:], func(w window) bool { return w.contains(lo, hi) && w.same(lo, off) })
}

// add makes a window of a range that the host maps and that is registered. It returns one that must go for it, or an empty one.
func (ws *windows) add(w window) (old window) {
	ws.all = append(ws.all, w)
	if len(ws.all) > mostWindows {
		old = ws.all[0]
		ws.all = slices.Delete(ws.all, 0, 1)
	}
	return old
}

// canBeWindow tells whether memory with these rights may be in a window.
func (as *addressSpace) canBeWindow(lo, hi uint64, prot platform.Prot) bool {
	const rights = platform.Read | platform.Write | platform.Exec
	return as.p.pages.works() && prot&rights == platform.Read|platform.Write && as.place.contains(lo, hi)
}

// showInWindow shows flat memory where windows are, and tells whether it did. mu is held.
func (as *addressSpace) showInWindow(addr, length, off uint64, prot platform.Prot) bool {
	if !as.canBeWindow(addr, addr+length, prot) || !as.windows.has(addr, addr+length, off, true) {
		return false
	}
	// What the flat memory has no page for yet is mapped instead, and so is what is there in part.
	return as.p.pages.show(addr, length) == 0
}

// makeWindow makes one of what has just been mapped, if it will probably be of use. mu is held.
func (as *addressSpace) makeWindow(addr, length, off uint64, prot platform.Prot) {
	if !as.canBeWindow(addr, addr+length, prot) || !as.windows.noted(addr, addr+length, off) || as.p.pages.register(addr, length) != 0 {
		return
	}
	if old := as.windows.add(window{span{addr, addr + length}, off}); old.hi != 0 {
		as.unmapHidden(old.lo, old.hi)
	}
}

// unmapHidden ends the host's mapping of what is hidden in a range. It is, or will be, the turn of as. mu is held.
func (as *addressSpace) unmapHidden(lo, hi uint64) {
	as.maps.Gaps(lo, hi, func(lo, hi uint64) { hostUnmap(lo, hi-lo) })
}

// hideInWindow hides flat memory where windows are, and tells whether it did. mu is held.
func (as *addressSpace) hideInWindow(lo, hi uint64) bool {
	return as.windows.has(lo, hi, 0, false) && as.p.pages.hide(lo, hi-lo) == 0
}

// closeWindows ends all windows. mu is held.
func (as *addressSpace) closeWindows() {
	for _, w := range as.windows.all {
		hostUnmap(w.lo, w.hi-w.lo)
	}
	as.windows = windows{}
}

// lost has the host show a page again that it should show but does not: one in a window, or that was in one, and that the host has
// taken away for a while. It tells whether it did.
func (c *context) lost(as *addressSpace, addr uint64) bool {
	if c.losses++; c.lostAt != addr || time.Since(c.lostSince) > lossTime {
		c.lostAt, c.lostSince, c.losses = addr, time.Now(), 0
	}
	return c.losses < mostLosses && as.showLost(addr)
}

// mostLosses is how often in lossTime a page can be lost before the guest is told: the host may be unable to give it.
const (
	mostLosses = 1000
	lossTime   = time.Second
)

func (as *addressSpace) showLost(addr uint64) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	m, ok := as.maps.At(addr)
	return ok && !as.moved.Load() && as.turn.Load() == as && as.p.pages.works() && as.hostShow(addr, pageSize, m.Off, m.Prot) == 0
}
