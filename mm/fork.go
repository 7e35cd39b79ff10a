package mm

import (
	"slices"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
)

// Fork makes a copy-on-write copy of as with one user. Pages that both have are
// write-protected, and that is in force when Fork returns. The copy's platform
// shows nothing yet: its first touch of a run of pages shows the run; but if the
// platform lets the copy have the addresses of as, it shows what as shows.
func (as *AddressSpace) Fork() (*AddressSpace, error) {
	if !as.m.makeRoom(1) {
		return nil, unix.ENOMEM
	}
	var pas platform.AddressSpace
	lender, _ := as.pas.(platform.Forker)
	if lender != nil {
		pas = lender.Fork()
	}
	lend := pas != nil
	n, err := newAddressSpace(as.m, as.plat, pas)
	if err != nil {
		return nil, err
	}
	as.mu.Lock()
	n.mu.Lock()
	err = as.forkLocked(n, lend)
	if err == nil && lend {
		if err = n.show(n.lo, n.hi); err == nil {
			err = lender.Lend(pas, as, n)
		}
	}
	n.mu.Unlock()
	as.mu.Unlock()
	if err != nil {
		n.DecUsers()
		return nil, err
	}
	return n, nil
}

// forkLocked copies regions and pages. With files, pages of files in private mappings are copied too, which otherwise come back
// when they are touched. Both locks are held.
func (as *AddressSpace) forkLocked(n *AddressSpace, files bool) error {
	if as.root == NoFrame {
		return unix.ENOMEM
	}
	n.limits.Store(as.limits.Load())
	n.capab.Store(as.capab.Load())
	n.area, n.spaces, n.legacy = as.area, slices.Clone(as.spaces), as.legacy
	n.layout, n.auxv, n.exe = as.layout, as.auxv, as.exe
	n.brk.word.Store(as.brk.word.Load())
	var err error
	as.regions.Scan(func(_ uint64, r *region) bool {
		if r.flags&flagDontFork != 0 {
			n.freed(r.start, r.end)
			return true
		}
		if !r.shared && r.flags&flagAccount != 0 && as.overcommitted(r.pages()) {
			err = unix.ENOMEM // several calls made it larger than any one may
			return false
		}
		c := &region{
			start: r.start, end: r.end, prot: r.prot, maxProt: r.maxProt, shared: r.shared,
			flags: r.flags &^ (flagLocked | flagLockOnFault), file: r.file, off: r.off, name: r.name,
			policy: r.policy, misses: r.misses,
		}
		c.hold()
		if c.shared || c.anonymous() || c.flags&flagMayWrite == 0 {
			c.flags &^= flagMayWrite
		}
		if err = n.insert(c); err != nil {
			if c.file != nil {
				c.file.refs.Add(-1)
			}
			return false
		}
		if r.flags&flagWipeOnFork != 0 && !r.shared && r.anonymous() {
			return true
		}
		// Pages of a shared mapping come back from the page cache when touched.
		if r.shared {
			return true
		}
		err = as.forkPages(n, r, c, files)
		return err == nil
	})
	n.peakVM = n.totalVM
	// In force before the copy runs: threads of as that are running must not
	// write to shared frames any more.
	if serr := as.pas.Sync(); err == nil {
		err = serr
	}
	return err
}

// forkPages shares the private pages of r with the copy c.
func (as *AddressSpace) forkPages(n *AddressSpace, r, c *region, files bool) error {
	var start, end uint64 // to be write-protected
	flush := func() error {
		if end == 0 {
			return nil
		}
		p := r.prot &^ platform.Write
		if p == platform.None {
			p = platform.Read
		}
		a, b := start, end
		end = 0
		err := as.pas.Protect(a, b-a, p|platform.Read)
		if err != nil {
			// Too many host mappings: let faults bring the pages back.
			if err = as.pas.Unmap(a, b-a); err == nil {
				as.setShown(a, b, false)
			}
		}
		return err
	}
	anon := uint8(kindAnon)
	var cache *PageCache
	if files && !r.anonymous() {
		cache = r.file.Cache
		cache.mu.Lock()
		defer cache.mu.Unlock()
	}
	// current tells whether the file still has the page: if not, a visit that takes it away from all who have it may be under way.
	current := func(a uint64, f Frame) bool {
		idx := r.fileIdx(a)
		_, _, have := cache.lookup(idx)
		return have == f && idx < pagesOf(cache.size.Load())
	}
	for a := r.start; a < r.end; {
		t, stop := as.leaf(a)
		stop = min(stop, r.end)
		if t == nil {
			a = stop
			continue
		}
		var d *table
		for ; a < stop; a += PageSize {
			i := pageIdx(a)
			e := t[i]
			if e == 0 {
				continue
			}
			f := frameOf(e)
			if as.m.kinds[f] != anon && (cache == nil || e&pteShown == 0 || !current(a, f)) {
				continue // the file's page: comes back when touched
			}
			if d == nil {
				if d = n.makeLeaf(a); d == nil {
					_ = flush()
					return unix.ENOMEM
				}
			}
			as.m.IncRef(f)
			if e&pteWrite != 0 {
				e &^= pteWrite
				t[i] = e
				if e&pteShown != 0 {
					if end != a {
						if err := flush(); err != nil {
							n.set(d, i, f, e&^(pteFrame|pteShown))
							return err
						}
						start = a
					}
					end = a + PageSize
				}
			}
			n.set(d, i, f, e&^(pteFrame|pteShown))
		}
	}
	return flush()
}
