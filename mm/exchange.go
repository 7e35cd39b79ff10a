package mm

import (
	"bytes"

	"gosv.dev/platform"
)

// Two processes that have the same addresses, a program and the child of a fork, differ in a few pages, of which the host shows those of one of them.
// To show the others' costs a change of mappings each time; to give each of them the frames of the other one, with the contents, costs the host nothing.

// TryLock implements platform.Memory.
func (as *AddressSpace) TryLock() bool { return as.mu.TryLock() }

// Unlock implements platform.Memory.
func (as *AddressSpace) Unlock() { as.mu.Unlock() }

// Exchange implements platform.Memory.
func (as *AddressSpace) Exchange(shown platform.Memory, lo, hi uint64, has func(lo, hi, off uint64)) uint64 {
	o := shown.(*AddressSpace)
	if as.root == NoFrame || o.root == NoFrame {
		return lo
	}
	var run frameRun // that o has got, up to a
	a := lo
	for a < hi {
		r := as.find(a)
		from, end := o.leaf(a)
		if r == nil || r.shared || from == nil {
			break
		}
		to := as.makeLeaf(a)
		end = min(end, hi, r.end)
		for to != nil && a < end && as.exchangePage(r, o, &to[pageIdx(a)], &from[pageIdx(a)], a) {
			f := frameOf(from[pageIdx(a)])
			if run.n > 0 && f != run.f+Frame(run.n) {
				has(a-uint64(run.n)<<PageShift, a, run.f.Offset())
				run.n = 0
			}
			if run.n == 0 {
				run.f = f
			}
			run.n++
			a += PageSize
		}
		if a < end {
			break
		}
	}
	if run.n > 0 {
		has(a-uint64(run.n)<<PageShift, a, run.f.Offset())
	}
	return a
}

// exchangePage is Exchange for the page at a, in r of as, of which the entries are mine and its. A page that as has not to itself becomes one first, as if it had
// been written to.
func (as *AddressSpace) exchangePage(r *region, o *AddressSpace, mine, its *uint64, a uint64) bool {
	e := *its
	g := frameOf(e)
	const data = ptePresent | pteNX // of code the platform may show something else
	if e&(data|pteShown) != data|pteShown || !o.owns(g) {
		return false
	}
	fl := as.pteFlags(r, g, false)
	if fl&data != data || (e&^fl|*mine&^e)&pteWrite != 0 {
		return false // the host gives a right that r has not, or not all that there have been
	}
	fl &^= (pteWrite | pteDirty) &^ e
	f := frameOf(*mine)
	switch {
	case *mine != 0 && as.owns(f):
	case *mine == 0 && r.anonymous():
		n := 0
		if f, n = as.takeRun(r, a, 1, nil); n == 0 {
			return false
		}
		as.count(f, 1)
	case *mine != 0 && (as.m.kinds[f] == uint8(kindAnon) || as.program(r)):
		c, n := as.takeRun(r, a, 1, &rawFrames{})
		if n == 0 {
			return false
		}
		copy(as.m.Bytes(c), as.m.Bytes(f))
		as.count(f, -1)
		as.count(c, 1)
		as.m.DecRef(f) // as is not shown
		f = c
	default:
		return false
	}
	swap(as.m.Bytes(f), as.m.Bytes(g))
	*mine = g.Offset() | fl | pteShown
	*its = e&^pteFrame | f.Offset()
	return true
}

// Share implements platform.Memory.
func (as *AddressSpace) Share(with platform.Memory, lo, hi uint64, may func(addr uint64) bool) {
	o := with.(*AddressSpace)
	if as.root == NoFrame || o.root == NoFrame {
		return
	}
	for a := lo; a < hi; a += PageSize {
		t, _ := as.leaf(a)
		u, _ := o.leaf(a)
		if t == nil || u == nil {
			continue
		}
		mine, its := &t[pageIdx(a)], &u[pageIdx(a)]
		f, g := frameOf(*mine), frameOf(*its)
		const not = pteFrame | pteWrite | pteDirty
		if *mine&^not != *its&^not || f == g || !as.owns(f) || !o.owns(g) || !bytes.Equal(as.m.Bytes(f), as.m.Bytes(g)) || !may(a) {
			continue
		}
		*mine &^= pteWrite | pteDirty
		*its = *mine
		as.m.IncRef(f)
		as.m.DecRef(g)
	}
}

// owns tells whether f, which as has, is nobody else's.
func (as *AddressSpace) owns(f Frame) bool {
	return as.m.kinds[f] == uint8(kindAnon) && as.m.Refs(f) == 1
}

// swap exchanges the contents of two pages, most of which are probably equal.
func swap(a, b []byte) {
	var t [PageSize / 8]byte
	for ; len(a) > 0; a, b = a[len(t):], b[len(t):] {
		if x, y := a[:len(t)], b[:len(t)]; !bytes.Equal(x, y) {
			copy(t[:], x)
			copy(x, y)
			copy(y, t[:])
		}
	}
}
