package flat

import (
	"slices"

	"gosv.dev/platform"
	"gosv.dev/platform/shown"
)

// What the host shows changes hands when a turn does. A program and the child of its fork differ in what they have written to since: instead of mapping
// that anew each time, they exchange frames and contents (platform.Memory), and the host's mappings stay.

// difference is how two of a family differed when their turn changed last without any change of the host's mappings.
type difference struct {
	a, b   *addressSpace
	ca, cb uint64 // maps.Changes of a and b
	spans  []span // in each the host has one mapping

	turns, shareAt, shareAfter uint64 // how often the turn has changed; when next they share what is equal, and after how many more turns then
}

const (
	// mostExchanged is how much two may differ in, at most, to exchange it.
	mostExchanged = 512 << 10
	// mostChanges is how many mappings of the host's may change with the turn, but now and then. Who takes turns with more than that is better off in a stub.
	mostChanges = 8
	// firstShare is after how many turns pages that are equal are shared again, which costs a change of the host's mappings, and a fault if one of them is
	// written to after all. From then on it is done less and less often, but every mostShareAfter turns.
	firstShare     = 16
	mostShareAfter = 4096
)

// knows tells whether as and from differ as they did. mu is held.
func (x *difference) knows(as, from *addressSpace) bool {
	return x.a == as && x.b == from && x.ca == as.maps.Changes && x.cb == from.maps.Changes ||
		x.a == from && x.b == as && x.ca == from.maps.Changes && x.cb == as.maps.Changes
}

// find makes spans what from shows, and the host, that as does not show in the same way. If from comes back, what as does not show at all counts too: it
// will have pages there. mu is held.
func (x *difference) find(as, from *addressSpace, comesBack bool) {
	x.a, x.b, x.spans = nil, nil, x.spans[:0]
	var size uint64
	add := func(lo, hi uint64) {
		x.spans = append(x.spans, span{lo, hi})
		size += hi - lo
	}
	from.maps.Differing(&as.maps, func(lo, hi uint64, m shown.Mapping) {
		switch {
		case m.Prot&(platform.Private|platform.Exec) != platform.Private || !as.place.contains(lo, hi):
		case comesBack:
			add(lo, hi)
		default:
			as.maps.Each(lo, hi, func(lo uint64, m shown.Mapping) { add(lo, m.End) })
		}
	})
	if size > mostExchanged {
		x.spans = x.spans[:0]
	}
}

// due counts a turn, and tells whether what is equal is to be shared this time. mu is held.
func (x *difference) due() bool {
	x.turns++
	if x.turns <= x.shareAt {
		return false
	}
	x.shareAfter = min(x.shareAfter*2, mostShareAfter)
	x.shareAt = x.turns + x.shareAfter
	return true
}

// run has as take over what the host shows of from in spans, as far as that is possible: they are those where it was afterwards. It tells whether it was in
// all. If share is set pages in which there is the same become common ones again. mu is held.
func (x *difference) run(as, from *addressSpace, share bool) bool {
	all := x.spans
	x.spans = all[:0]
	if !as.memory.TryLock() {
		return len(all) == 0
	}
	defer as.memory.Unlock()
	if !from.memory.TryLock() {
		return len(all) == 0
	}
	defer from.memory.Unlock()
	complete := true
	for _, s := range all {
		m, _ := from.maps.At(s.lo)
		end := as.memory.Exchange(from.memory, s.lo, s.hi, func(lo, hi, off uint64) { from.maps.Replace(lo, hi, off, m.Prot) })
		if s.lo < end {
			as.maps.Replace(s.lo, end, m.Off, m.Prot)
			x.spans = append(x.spans, span{s.lo, end})
		}
		complete = complete && end == s.hi
		if share {
			as.memory.Share(from.memory, s.lo, end, func(addr uint64) bool { return as.shareWith(from, addr) })
		}
	}
	return complete
}

// shareWith makes the page that as shows at addr read-only, and what from shows there. mu is held.
func (as *addressSpace) shareWith(from *addressSpace, addr uint64) bool {
	m, _ := as.maps.At(addr)
	if m.Prot&platform.Write != 0 {
		if as.hostProtect(addr, pageSize, m.Prot&^platform.Write) != 0 {
			return false
		}
		as.maps.Protect(addr, addr+pageSize, m.Prot&^platform.Write)
	}
	from.maps.Map(addr, addr+pageSize, m.Off, m.Prot&^platform.Write)
	return true
}

// showNext has the host show what as shows in place of from, and returns how many of its mappings that changes. mu is held.
func (as *addressSpace) showNext(from *addressSpace) (changes int, err error) {
	x := &as.differ
	if from.moved.Load() || as.memory == nil {
		return as.replace(&from.maps) // in a stub its frames are where they are; and what has just been forked shows the same
	}
	known, comesBack := x.knows(as, from), slices.Contains(as.stack, from)
	if !known {
		x.find(as, from, comesBack)
	}
	share := comesBack && x.due()
	if x.run(as, from, share) && known {
		return 0, nil
	}
	host := from.maps.Clone()
	for _, s := range x.spans {
		as.maps.Each(s.lo, s.hi, func(lo uint64, m shown.Mapping) { host.Map(lo, m.End, m.Off, m.Prot) })
	}
	if changes, err = as.replace(&host); changes == 0 && comesBack && !share {
		x.a, x.b, x.ca, x.cb = as, from, as.maps.Changes, from.maps.Changes
	}
	return changes, err
}

// take makes it the turn of as, which is among those who can run here, in place of from, which sleeps. mu is held.
func (as *addressSpace) take(from *addressSpace) error {
	as.turn.Store(nil)
	from.expel()
	i := slices.Index(as.stack, as)
	as.stack = append(slices.Delete(as.stack, i, i+1), as)
	as.credit = min(as.credit+1, mostCredit)
	changes, err := as.pass(from, as)
	switch {
	case err != nil:
		return err
	case changes <= mostChanges || as.moved.Load() || as.bears():
		return nil
	case as.rank > from.rank:
		return as.move("a fork that has changed much")
	default:
		return from.move("a fork that has changed much")
	}
}
