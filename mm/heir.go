package mm

import "gosv.dev/platform"

// On some platforms what an ended program had may still be mapped on the host (platform.Heir). A mapping that is probably the same again is
// shown at once, and only what is left then of the earlier one is taken away.

// keep lets what is left in [lo, hi), where something of a program is about to be mapped, stay until settle. mu is held.
func (as *AddressSpace) keep(lo, hi uint64) {
	if as.heir == nil || as.kept.hi != 0 || hi-lo > mostKept {
		return
	}
	if as.claim(lo, hi) == nil && as.heir.Left(lo, hi) {
		as.kept = extent{lo, hi}
		as.heir.Keep(lo, hi)
	}
}

// mostKept is how large a program or library may be for that.
const mostKept = 2 * largeText

// settle takes away what is left where keep began, but for what has been shown since. mu is held.
func (as *AddressSpace) settle() {
	if k := as.kept; k.hi != 0 {
		as.kept = extent{}
		as.heir.Settle(k.lo, k.hi)
	}
}

// Settle must be called when a program has been mapped where MMapOpts.Keep was set, before it runs.
func (as *AddressSpace) Settle() {
	as.mu.Lock()
	as.settle()
	as.mu.Unlock()
}

// showKept shows what has just been mapped at [lo, hi) where something is left that it may be, and settles. mu is held.
func (as *AddressSpace) showKept(lo, hi uint64, held *[]*MapFile) {
	if as.kept.hi == 0 {
		return
	}
	if r := as.find(lo); r != nil && r.prot&platform.Read != 0 {
		as.heir.EachLeft(lo, hi, func(lo, hi uint64) {
			as.showLeaves(lo, hi, want{access: platform.AccessRead, only: extent{lo, hi}}, held)
		})
	}
	as.settle()
}
