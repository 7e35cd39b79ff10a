package flat

import (
	"bytes"
	"slices"
	"sync"

	"gosv.dev/platform"
	"gosv.dev/platform/flat/sites"
	"gosv.dev/platform/shown"
)

// Pages of text in which programs call often, such as the one of the dynamic linker with its system calls: what a site costs to rewrite
// is mostly the same for all sites of a page, and no program makes the same call there often enough to have it rewritten for itself. So it is
// noted, by the page of the flat memory, which sites programs have come by; when that was worth it for some programs, all of them are
// rewritten at once when the next program traps there, or, if most programs do, when it traps anywhere in that text. (Where each makes two or three calls
// that is no gain: to map a page amid others costs the host as much as two traps.)
//
// What is noted of one program's text is used for another's only if the page has the same contents, and only patches that depend
// on nothing but that page.

const (
	mostBusy   = 256
	busyHomes  = 3   // programs that must have come to a page
	busyTraps  = 7   // and how often each, on the average, for the page to be a busy one
	busySites  = 32  // most sites of a page
	busyMost   = 256 // pages that are rewritten for one home: trampolines are not used again when a library goes and comes
	busyMargin = 136 // what is looked at around a site must be in the page
)

// busyPages is what is known of all pages.
type busyPages struct {
	mu    sync.Mutex
	homes uint64               // programs so far
	pages map[uint64]*busyPage // by offset in the flat memory
	ahead []uint64             // those that are rewritten ahead, ascending
}

// busyPage is a page of text.
type busyPage struct {
	home         uint64 // who was here last
	since        uint64 // how many programs there had been when counting began
	homes, traps int
	sites        []busySite // in no order
	code         []byte     // the contents, once it is a busy one
	ready        []sites.Patch
}

type busySite struct{ off, nr uint64 }

// trapped notes that the home with that number, which is made if it is 0, has trapped at an offset of a page. It returns the number, and
// what patches there are for the page: for another address, and trampolines elsewhere.
func (b *busyPages) trapped(home, frame, off, nr uint64, code []byte) (uint64, []sites.Patch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if home == 0 {
		home = b.begunLocked()
	}
	p := b.pages[frame]
	if p == nil {
		if b.pages == nil || len(b.pages) >= mostBusy {
			b.pages = map[uint64]*busyPage{}
			b.ahead = nil
		}
		p = &busyPage{since: home - 1}
		b.pages[frame] = p
	}
	if p.code != nil && !bytes.Equal(p.code, code) {
		*p = busyPage{since: home - 1}
		b.notAhead(frame)
	}
	if p.home != home {
		p.home = home
		if p.code == nil && p.homes >= busyHomes {
			if p.traps >= busyTraps*p.homes {
				p.code = bytes.Clone(code)
				for _, s := range p.sites {
					p.plan(s)
				}
				if most := uint64(2*p.homes) > b.homes-1-p.since; most && len(p.ready) != 0 {
					i, _ := slices.BinarySearch(b.ahead, frame)
					b.ahead = slices.Insert(b.ahead, i, frame)
				}
			}
			p.homes, p.traps, p.since = 0, 0, b.homes-1
		}
		p.homes++
	}
	p.traps++
	if len(p.sites) < busySites && off >= busyMargin && off < pageSize-busyMargin {
		s := busySite{off, nr}
		known := false
		for _, x := range p.sites {
			known = known || x.off == off
		}
		if !known {
			p.sites = append(p.sites, s)
			if p.code != nil {
				p.plan(s)
			}
		}
	}
	return home, p.ready
}

// begun is a number for a home.
func (b *busyPages) begun() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begunLocked()
}

func (b *busyPages) begunLocked() uint64 {
	b.homes++
	return b.homes
}

// notAhead makes a page one that is not rewritten ahead. mu is held.
func (b *busyPages) notAhead(frame uint64) {
	if i, ok := slices.BinarySearch(b.ahead, frame); ok {
		b.ahead = slices.Delete(b.ahead, i, i+1)
	}
}

// aheadIn calls f for the pages in [lo, hi) of the flat memory that are rewritten ahead, with their contents and patches.
func (b *busyPages) aheadIn(lo, hi uint64, f func(frame uint64, code []byte, ready []sites.Patch)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, _ := slices.BinarySearch(b.ahead, lo)
	for ; i < len(b.ahead) && b.ahead[i] < hi; i++ {
		p := b.pages[b.ahead[i]]
		f(b.ahead[i], p.code, p.ready)
	}
}

// plan adds the patch of a site, if there is one that does not depend on what is around the page.
func (p *busyPage) plan(s busySite) {
	patch, err := sites.NewText(p.code, busyAddr).Plan(busyAddr+s.off, s.nr, busyAddr+pageSize)
	if err != nil {
		return
	}
	if _, ok := patch.Moved(patch.Site, patch.TrampAt); ok {
		p.ready = append(p.ready, patch)
	}
}

// busyAddr is where patches are planned.
const busyAddr = 1 << 20

// rewriteBusy rewrites the known sites of the page of a site that has trapped, if it is a busy one in which nothing is rewritten
// yet. mu is held.
func (as *addressSpace) rewriteBusy(site, nr uint64) bool {
	rw := &as.rw
	page := site &^ (pageSize - 1)
	if rw.copies[page] != nil || rw.busy >= busyMost {
		return false
	}
	frame, ok := as.textFrame(page)
	if !ok {
		return false
	}
	var ready []sites.Patch
	rw.id, ready = as.p.busy.trapped(rw.id, frame, site-page, nr, as.p.o.Linear[frame:][:pageSize])
	return len(ready) != 0 && as.rewriteReady(page, ready)
}

// countText counts a home, once, that has mapped text.
func (as *addressSpace) countText(prot platform.Prot) {
	if as.rw.id == 0 && prot == textProt && !as.p.o.NoRewrite {
		as.rw.id = as.p.busy.begun()
	}
}

// rewriteAhead rewrites the pages in which most programs trap of the text around a site that has trapped. Not before that: a program may read text that
// it never executes, as valgrind(1) does to execute something else, and should see what is in the file. mu is held.
func (as *addressSpace) rewriteAhead(site uint64) {
	rw := &as.rw
	var run span // of text
	as.maps.Each(site-min(site, mostText), site+mostText, func(lo uint64, m shown.Mapping) {
		switch {
		case m.Prot != textProt || run.hi > site && lo != run.hi:
		case lo == run.hi:
			run.hi = m.End
		default:
			run = span{lo, m.End}
		}
	})
	as.maps.Each(run.lo, run.hi, func(lo uint64, m shown.Mapping) {
		as.p.busy.aheadIn(m.Off, m.Off+m.End-lo, func(frame uint64, code []byte, ready []sites.Patch) {
			page := lo + frame - m.Off
			if rw.copies[page] == nil && rw.busy < busyMost && bytes.Equal(code, as.p.o.Linear[frame:][:pageSize]) && as.rewriteReady(page, ready) {
				as.textGen.Add(1)
			}
		})
	})
}

// mostText is how far from a site text is looked for that belongs to it.
const mostText = 32 << 20

// rewriteReady makes the patches of a page that were planned for another address. mu is held.
func (as *addressSpace) rewriteReady(page uint64, ready []sites.Patch) bool {
	as.rw.busy++
	z, _ := as.freeSlot(page)
	if z == nil {
		return false
	}
	patches := make([]*sites.Patch, 0, len(ready))
	for i := range ready {
		n := len(z.slots) + len(patches)
		if n >= int(z.hi-z.lo)/sites.TrampSize {
			break
		}
		if patch, ok := ready[i].Moved(page+ready[i].Site-busyAddr, z.lo+uint64(n)*sites.TrampSize); ok {
			patches = append(patches, &patch)
		}
	}
	if err := as.patch(z, page, patches); err != nil {
		as.p.hostRefused(err)
		return false
	}
	return true
}

// textFrame is the page of the flat memory that is shown at page, if it is text that does not change without a word and can be read.
func (as *addressSpace) textFrame(page uint64) (uint64, bool) {
	m, ok := as.maps.At(page)
	return m.Off, ok && m.Prot == textProt
}

// textProt are the rights of text.
const textProt = platform.Read | platform.Exec | platform.Private
