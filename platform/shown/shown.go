// Package shown keeps account of what an address space of a platform shows where, in the way the host's kernel does: neighbours that
// continue each other are one mapping.
//
// No locks: who uses a Map protects it.
package shown

import (
	"github.com/tidwall/btree"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
)

// Mapping is what is shown from an address to End: the flat memory from Off on.
type Mapping struct {
	End, Off uint64
	Prot     platform.Prot
}

// Map is all mappings. The zero Map is empty.
type Map struct {
	tree btree.Map[uint64, Mapping] // by start

	// Changes counts the changes but those of Replace.
	Changes uint64
}

// Len is the number of mappings.
func (m *Map) Len() int { return m.tree.Len() }

// Clear forgets all.
func (m *Map) Clear() {
	m.tree.Clear()
	m.Changes++
}

// Clone is a copy.
func (m *Map) Clone() Map { return Map{tree: *m.tree.Copy()} }

// Scan calls f for each mapping, in order, until it returns false.
func (m *Map) Scan(f func(lo uint64, v Mapping) bool) { m.tree.Scan(f) }

// At is what is shown at addr; Off is that of addr.
func (m *Map) At(addr uint64) (v Mapping, ok bool) {
	m.tree.Descend(addr, func(at uint64, x Mapping) bool {
		if x.End > addr {
			x.Off += addr - at
			v, ok = x, true
		}
		return false
	})
	return v, ok
}

// Overlaps tells whether anything is shown in [lo, hi).
func (m *Map) Overlaps(lo, hi uint64) bool {
	found := false
	m.tree.Descend(hi-1, func(_ uint64, v Mapping) bool {
		found = v.End > lo
		return false
	})
	return found
}

// from calls f for the mappings that have a part in [lo, hi), in order and whole.
func (m *Map) from(lo, hi uint64, f func(at uint64, v Mapping)) {
	start := lo
	m.tree.Descend(lo, func(at uint64, v Mapping) bool {
		if v.End > lo {
			start = at
		}
		return false
	})
	m.tree.Ascend(start, func(at uint64, v Mapping) bool {
		if at >= hi {
			return false
		}
		f(at, v)
		return true
	})
}

// Each calls f for the parts of mappings in [lo, hi), in order.
func (m *Map) Each(lo, hi uint64, f func(lo uint64, v Mapping)) {
	m.from(lo, hi, func(at uint64, v Mapping) {
		start := max(at, lo)
		f(start, Mapping{min(v.End, hi), v.Off + start - at, v.Prot})
	})
}

// Gaps calls f for the parts of [lo, hi) where nothing is shown, in order.
func (m *Map) Gaps(lo, hi uint64, f func(lo, hi uint64)) {
	m.Each(lo, hi, func(at uint64, v Mapping) {
		if lo < at {
			f(lo, at)
		}
		lo = v.End
	})
	if lo < hi {
		f(lo, hi)
	}
}

// Differing calls f for the parts of mappings that o does not show in the same way, in order; Off is that of the part.
func (m *Map) Differing(o *Map, f func(lo, hi uint64, v Mapping)) {
	m.tree.Scan(func(at uint64, v Mapping) bool {
		next := at // so far it is the same, or has been told
		part := func(lo, hi uint64) {
			if lo < hi {
				f(lo, hi, Mapping{hi, v.Off + lo - at, v.Prot})
			}
		}
		o.from(at, v.End, func(oat uint64, ov Mapping) {
			if ov.Prot == v.Prot && ov.Off-oat == v.Off-at {
				part(next, max(at, oat))
				next = min(v.End, ov.End)
			}
		})
		part(next, v.End)
		return true
	})
}

// piece is a mapping with its start.
type piece struct {
	at uint64
	v  Mapping
}

// cut takes [lo, hi) out, and appends the mappings that had a part in it, as they were, to old.
func (m *Map) cut(lo, hi uint64, old []piece) []piece {
	m.Changes++
	m.from(lo, hi, func(at uint64, v Mapping) { old = append(old, piece{at, v}) })
	for _, p := range old {
		m.tree.Delete(p.at)
	}
	for _, p := range old {
		if p.at < lo {
			m.tree.Set(p.at, Mapping{lo, p.v.Off, p.v.Prot})
		}
		if p.v.End > hi {
			m.tree.Set(hi, Mapping{p.v.End, p.v.Off + hi - p.at, p.v.Prot})
		}
	}
	return old
}

// Map makes [lo, hi) show the flat memory from off on, in place of what it showed.
func (m *Map) Map(lo, hi, off uint64, prot platform.Prot) {
	var buf [8]piece
	m.cut(lo, hi, buf[:0])
	m.tree.Set(lo, Mapping{hi, off, prot})
	m.join(lo)
	m.join(hi)
}

// Replace is Map where something else is shown now, with the same rights: it is made for what changes back and forth, and joins nothing.
func (m *Map) Replace(lo, hi, off uint64, prot platform.Prot) {
	if v, ok := m.tree.Get(lo); ok && v.End == hi && v.Prot == prot {
		m.tree.Set(lo, Mapping{hi, off, prot})
		return
	}
	var buf [8]piece
	m.cut(lo, hi, buf[:0])
	m.tree.Set(lo, Mapping{hi, off, prot})
}

// Unmap makes [lo, hi) show nothing.
func (m *Map) Unmap(lo, hi uint64) {
	var buf [8]piece
	m.cut(lo, hi, buf[:0])
}

// Protect gives what is shown in [lo, hi) other rights. What is private stays so.
func (m *Map) Protect(lo, hi uint64, prot platform.Prot) {
	var buf [8]piece
	for _, p := range m.cut(lo, hi, buf[:0]) {
		a, b := max(p.at, lo), min(p.v.End, hi)
		m.tree.Set(a, Mapping{b, p.v.Off + a - p.at, prot | p.v.Prot&platform.Private})
	}
	m.join(lo)
	m.join(hi)
}

// join merges the mappings that meet at addr.
func (m *Map) join(addr uint64) {
	right, ok := m.tree.Get(addr)
	if !ok {
		return
	}
	m.tree.Descend(addr-1, func(at uint64, v Mapping) bool {
		if v.End == addr && v.Prot == right.Prot && v.Off+addr-at == right.Off {
			m.tree.Delete(addr)
			m.tree.Set(at, Mapping{right.End, v.Off, v.Prot})
		}
		return false
	})
}

// HostProt is a set of rights as mmap(2) has it.
func HostProt(p platform.Prot) uint64 {
	var v uint64
	if p&platform.Read != 0 {
		v |= unix.PROT_READ
	}
	if p&platform.Write != 0 {
		v |= unix.PROT_WRITE
	}
	if p&platform.Exec != 0 {
		v |= unix.PROT_EXEC
	}
	return v
}
