package mm

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// The heap of brk(2). What is mapped depends on the page where the heap ends, and only where in it brk(2) says: that a leaf call may change, without the
// lock, as long as the page stays the same (LeafBrk). Whoever holds the lock so relies on the page, and not on the byte.

// brk is where the heap ends. LeafBrk changes it by compare-and-swap, everybody else with AddressSpace.mu.
type brk struct{ word atomic.Uint64 }

// brkWhole is in the word when leaf calls are to leave it alone, for good: PR_SET_MM has changed what they would look at besides.
const brkWhole = 1 << 63

//go:nosplit
func (b *brk) end() uint64 { return b.word.Load() &^ brkWhole }

// set makes it end elsewhere. AddressSpace.mu is held.
func (b *brk) set(end uint64) { b.word.Store(end | b.word.Load()&brkWhole) }

// settle returns the end, which no leaf call changes any more.
func (b *brk) settle() uint64 { return b.word.Or(brkWhole) &^ brkWhole }

// LeafBrk is brk(2) where nothing else has to change, and no limit is to be looked at: what is below the heap asks, and what is in the page where it
// ends moves it. It may be used in a leaf call of a program that runs here. If it returns false it has done nothing.
//
//go:nosplit
//go:norace
func (as *AddressSpace) LeafBrk(addr uint64) (uint64, bool) {
	end, start := as.brk.word.Load(), as.layout.StartBrk
	switch {
	case end&brkWhole != 0 || start == 0:
	case addr < start:
		return end, as.brk.word.Load() == end
	case roundUp(addr) == roundUp(end) && as.brk.word.CompareAndSwap(end, addr):
		return addr, true
	}
	return 0, false
}

// SetBrk sets where the heap begins; it is empty then.
func (as *AddressSpace) SetBrk(start usermem.Addr) {
	as.mu.Lock()
	as.layout.StartBrk = uint64(start)
	as.brk.set(uint64(start))
	as.mu.Unlock()
}

// Brk is brk(2): it returns the new end of the heap, or the old one on failure.
func (as *AddressSpace) Brk(addr usermem.Addr) usermem.Addr {
	var dead []*MapFile
	as.mu.Lock()
	oldEnd := roundUp(as.brk.end())
	ok, warm := as.brkLocked(uint64(addr), &dead)
	if !ok {
		addr = usermem.Addr(as.brk.end())
	}
	as.mu.Unlock()
	release(dead)
	if newEnd := roundUp(uint64(addr)); warm && newEnd > oldEnd {
		_ = as.warm(oldEnd, newEnd)
	}
	return addr
}

func (as *AddressSpace) brkLocked(addr uint64, dead *[]*MapFile) (ok, warm bool) {
	l := &as.layout
	if as.root == NoFrame || l.StartBrk == 0 || addr < l.StartBrk || addr > as.hi {
		return false, false
	}
	data := int64(addr-l.StartBrk+(l.EndData-l.StartData)) >> PageShift
	if data > as.limit(unix.RLIMIT_DATA) {
		return false, false
	}
	oldEnd, newEnd := roundUp(as.brk.end()), roundUp(addr)
	switch {
	case newEnd < oldEnd:
		if as.unmapLocked(newEnd, oldEnd, dead) != nil {
			return false, false
		}
	case newEnd > oldEnd:
		n := int64(newEnd-oldEnd) >> PageShift
		if newEnd > as.hi || len(as.overlapping(oldEnd, min(newEnd+PageSize, as.hi))) > 0 ||
			!as.free(oldEnd, newEnd) ||
			as.totalVM+n > as.limit(unix.RLIMIT_AS) || as.dataVM+n > as.limit(unix.RLIMIT_DATA) ||
			as.overcommitted(n) || as.regions.Len() >= maxRegions {
			return false, false
		}
		fl := flagHeap | flagAccount | as.lockFuture
		if fl&flagLocked != 0 && !as.mayLockAny() && as.lockedVM+n > as.limit(rlimitMemlock) {
			return false, false
		}
		r := &region{
			start: oldEnd, end: newEnd, prot: platform.Read | platform.Write,
			maxProt: platform.Read | platform.Write | platform.Exec, flags: fl,
		}
		if as.insert(r) != nil {
			return false, false
		}
		as.merge(oldEnd, newEnd, dead)
		as.eagerHeap(oldEnd, newEnd)
		warm = fl&(flagLocked|flagLockOnFault) == flagLocked
	}
	as.brk.set(addr)
	return true, warm
}
