package mm

import (
	"slices"

	"gosv.dev/platform"
)

// A page table entry, as the processor has it:
//
//	63   NX
//	51-12 frame number
//	9    pteShown: the platform has been given this entry (ours)
//	8    ptePark: the frame is kept but the region allows no access (not present only)
//	6,5  dirty, accessed
//	2,1,0 user, write, present
//
// An entry of zero is empty; any other holds a reference to its frame.
const (
	ptePresent  = 1 << 0
	pteWrite    = 1 << 1
	pteUser     = 1 << 2
	pteAccessed = 1 << 5
	pteDirty    = 1 << 6
	ptePark     = 1 << 8
	pteShown    = 1 << 9
	pteNX       = 1 << 63

	pteFrame  = 1<<52 - 1<<12
	pteRights = ptePresent | pteWrite | pteNX
	pteTable  = ptePresent | pteWrite | pteUser | pteAccessed
)

func frameOf(e uint64) Frame { return Frame(e & pteFrame >> PageShift) }

func protOf(e uint64) platform.Prot {
	if e&ptePresent == 0 {
		return platform.None
	}
	p := platform.Read
	if e&pteWrite != 0 {
		p |= platform.Write
	}
	if e&pteNX == 0 {
		p |= platform.Exec
	}
	return p
}

const (
	leafSpan = uint64(blockSize)
	leafMask = leafSpan - 1
)

func pageIdx(addr uint64) int { return int(addr >> PageShift & 511) }

// leaf is the last-level table for addr, or nil, and the end of the addresses
// that the answer holds for.
func (as *AddressSpace) leaf(addr uint64) (*table, uint64) {
	t := as.m.table(as.root)
	for shift := uint(39); ; shift -= 9 {
		e := t[addr>>shift&511]
		if e == 0 {
			return nil, (addr>>shift + 1) << shift
		}
		t = as.m.table(frameOf(e))
		if shift == 21 {
			return t, (addr | leafMask) + 1
		}
	}
}

// makeLeaf is leaf, which makes missing tables. It returns nil when memory is short.
func (as *AddressSpace) makeLeaf(addr uint64) *table {
	t := as.m.table(as.root)
	for shift := uint(39); ; shift -= 9 {
		e := &t[addr>>shift&511]
		if *e == 0 {
			f, n := as.m.allocSpan(1, kindTable, nil, true)
			if n == 0 {
				return nil
			}
			as.tables++
			*e = f.Offset() | pteTable
		}
		t = as.m.table(frameOf(*e))
		if shift == 21 {
			return t
		}
	}
}

// freeLeaf takes the last-level table for addr, whose entries are all empty, out
// of the page tables.
func (as *AddressSpace) freeLeaf(addr uint64, fs []frameRun) []frameRun {
	t := as.m.table(as.root)
	for shift := uint(39); ; shift -= 9 {
		e := &t[addr>>shift&511]
		if *e == 0 {
			return fs
		}
		f := frameOf(*e)
		if shift == 21 {
			*e = 0
			as.tables--
			return addRun(fs, f)
		}
		t = as.m.table(f)
	}
}

// freeTables gives back all tables and what they hold; the platform shows nothing any more.
func (as *AddressSpace) freeTables() {
	var fs []frameRun
	var gone [nKinds]int64
	var walk func(f Frame, level int)
	walk = func(f Frame, level int) {
		t := as.m.table(f)
		for _, e := range t {
			if e == 0 {
				continue
			}
			if level > 1 {
				walk(frameOf(e), level-1)
			} else {
				g := frameOf(e)
				gone[as.m.kinds[g]]++
				fs = addRun(fs, g)
			}
		}
		fs = addRun(fs, f)
		if len(fs) > 1024 {
			as.m.decRefRuns(fs)
			fs = fs[:0]
		}
	}
	walk(as.root, 4)
	as.uncountAll(&gone)
	as.m.decRefRuns(fs)
	as.root = NoFrame
	as.tables = 0
}

// count adds n to the resident pages of f's kind.
func (as *AddressSpace) count(f Frame, n int64) {
	k := as.m.kinds[f]
	as.rss[k].Add(n)
	if k != uint8(kindAnon) {
		as.m.mapped.Add(n)
	}
}

// uncountAll takes pages, by kind, off the resident ones.
func (as *AddressSpace) uncountAll(gone *[nKinds]int64) {
	for k, n := range gone {
		if n == 0 {
			continue
		}
		as.rss[k].Add(-n)
		if kind(k) != kindAnon {
			as.m.mapped.Add(-n)
		}
	}
}

// set writes the entry for a page that is empty.
func (as *AddressSpace) set(t *table, i int, f Frame, flags uint64) {
	t[i] = f.Offset() | flags
	as.count(f, 1)
}

// pteFlags is what an entry for frame f in region r may say.
func (as *AddressSpace) pteFlags(r *region, f Frame, dirty bool) uint64 {
	if r.prot == platform.None {
		return ptePark
	}
	fl := uint64(ptePresent | pteUser | pteAccessed)
	if r.prot&platform.Exec == 0 {
		fl |= pteNX
	}
	if r.prot&platform.Write != 0 {
		switch {
		case !r.shared:
			if as.owns(f) {
				fl |= pteWrite | pteDirty
			}
		case r.file.Cache.backing == nil || dirty:
			fl |= pteWrite | pteDirty
		}
	}
	return fl
}

// zap empties the entries of [lo, hi) and has the platform forget them. It
// returns the frames that lost a reference. keep, if not nil, says which frames stay.
func (as *AddressSpace) zap(lo, hi uint64, fs []frameRun, keep func(Frame) bool) []frameRun {
	var first, last uint64 // of what the platform shows
	var gone [nKinds]int64
	for a := lo; a < hi; {
		t, end := as.leaf(a)
		whole := t != nil && a&leafMask == 0 && end <= hi && keep == nil
		end = min(end, hi)
		if t != nil {
			for i := pageIdx(a); a < end; a, i = a+PageSize, i+1 {
				e := t[i]
				if e == 0 || keep != nil && keep(frameOf(e)) {
					continue
				}
				if e&pteShown != 0 {
					if last == 0 {
						first = a
					}
					last = a + PageSize
				}
				t[i] = 0
				gone[as.m.kinds[frameOf(e)]]++
				fs = addRun(fs, frameOf(e))
			}
			if whole {
				fs = as.freeLeaf(end-PageSize, fs)
			}
		}
		a = end
	}
	as.uncountAll(&gone)
	if last != 0 {
		as.noteErr(as.pas.Unmap(first, last-first))
	}
	return fs
}

// drop gives up a reference of each frame when the changes so far are in force.
func (as *AddressSpace) drop(fs []frameRun) {
	if len(fs) > 0 {
		if p, ok := as.pas.(platform.Prompt); ok && p.InForce() {
			as.m.decRefRuns(fs)
			return
		}
		m, later := as.m, slices.Clone(fs) // fs may be as.runs
		as.pas.After(func() { m.decRefRuns(later) })
	}
}

// show gives the platform the entries of [lo, hi) that it does not have, a call
// for each run of equal rights and consecutive frames.
func (as *AddressSpace) show(lo, hi uint64) error {
	var start, n uint64
	var off uint64
	var prot platform.Prot
	for a := lo; a < hi; {
		t, end := as.leaf(a)
		end = min(end, hi)
		if t != nil {
			for i := pageIdx(a); a < end; a, i = a+PageSize, i+1 {
				e := t[i]
				if e&(ptePresent|pteShown) != ptePresent {
					continue
				}
				o, p := e&pteFrame, protOf(e)
				if n > 0 && start+n == a && off+n == o && prot == p {
					n += PageSize
					continue
				}
				if n > 0 {
					if err := as.mapRun(start, n, off, prot); err != nil {
						return err
					}
				}
				start, n, off, prot = a, PageSize, o, p
			}
		}
		a = end
	}
	if n > 0 {
		return as.mapRun(start, n, off, prot)
	}
	return nil
}

// mapRun is one Map. When the platform can take no more mappings, all are dropped:
// faults bring back those that are used.
func (as *AddressSpace) mapRun(addr, n, off uint64, prot platform.Prot) error {
	if r := as.find(addr); r != nil && !r.shared {
		prot |= platform.Private
	}
	err := as.pas.Map(addr, n, off, prot)
	if err != nil {
		if uerr := as.pas.Unmap(as.lo, as.hi-as.lo); uerr != nil {
			return err
		}
		as.setShown(as.lo, as.hi, false)
		if err = as.pas.Map(addr, n, off, prot); err != nil {
			return err
		}
	}
	if prot&platform.Exec != 0 {
		as.m.noteText(off, n)
	}
	as.setShown(addr, addr+n, true)
	return nil
}

// setShown changes the bit pteShown of the present entries in a range.
func (as *AddressSpace) setShown(lo, hi uint64, on bool) {
	for a := lo; a < hi; {
		t, end := as.leaf(a)
		end = min(end, hi)
		if t != nil {
			for i := pageIdx(a); a < end; a, i = a+PageSize, i+1 {
				if on && t[i]&ptePresent != 0 {
					t[i] |= pteShown
				} else if !on {
					t[i] &^= pteShown
				}
			}
		}
		a = end
	}
}

// reprotect makes the entries of [lo, hi), a part of r, agree with r's rights, and
// has the platform change those that it shows.
func (as *AddressSpace) reprotect(r *region, lo, hi uint64) {
	var start, n uint64
	var prot platform.Prot
	flush := func() {
		if n == 0 {
			return
		}
		if prot == platform.None {
			as.noteErr(as.pas.Unmap(start, n))
		} else if err := as.pas.Protect(start, n, prot); err != nil {
			// Too many host mappings, maybe: a fault brings the pages back.
			if as.pas.Unmap(start, n) != nil {
				as.noteErr(err)
			}
			as.setShown(start, start+n, false)
		}
		n = 0
	}
	for a := lo; a < hi; {
		t, end := as.leaf(a)
		end = min(end, hi)
		if t != nil {
			for i := pageIdx(a); a < end; a, i = a+PageSize, i+1 {
				e := t[i]
				if e == 0 {
					continue
				}
				f := frameOf(e)
				dirty := e&pteDirty != 0 && e&pteWrite != 0
				ne := f.Offset() | as.pteFlags(r, f, dirty)
				if e&pteShown != 0 && ne&ptePresent != 0 {
					ne |= pteShown
				}
				t[i] = ne
				if e&pteShown == 0 || e&pteRights == ne&pteRights {
					continue
				}
				p := protOf(ne)
				if n > 0 && start+n == a && prot == p {
					n += PageSize
					continue
				}
				flush()
				start, n, prot = a, PageSize, p
			}
		}
		a = end
	}
	flush()
}
