package flat

import (
	"bytes"
	"sync"

	"gosv.dev/platform"
	"gosv.dev/platform/flat/sites"
)

// Pages of text in which programs call often, such as the one of the dynamic linker with its system calls: what a site costs to rewrite
// is mostly the same for all sites of a page, and no program makes the same call there often enough to have it rewritten for itself. So it is
// noted, by the page of the flat memory, which sites programs have come by; when that was worth it for some programs, all of them are
// rewritten at once when the next program traps there.
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
	homes uint64
	pages map[uint64]*busyPage // by offset in the flat memory
}

// busyPage is a page of text.
type busyPage struct {
	home         uint64 // who was here last
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
		b.homes++
		home = b.homes
	}
	p := b.pages[frame]
	if p == nil {
		if b.pages == nil || len(b.pages) >= mostBusy {
			b.pages = map[uint64]*busyPage{}
		}
		p = &busyPage{}
		b.pages[frame] = p
	}
	if p.code != nil && !bytes.Equal(p.code, code) {
		*p = busyPage{}
	}
	if p.home != home {
		p.home = home
		if p.code == nil && p.homes >= busyHomes {
			if p.traps >= busyTraps*p.homes {
				p.code = bytes.Clone(code)
				for _, s := range p.sites {
					p.plan(s)
				}
			}
			p.homes, p.traps = 0, 0
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
	rw.id, ready = as.p.busy.trapped(rw.id, frame, site-page, nr, guestBytes(page, pageSize))
	if len(ready) == 0 {
		return false
	}
	rw.busy++
	z, _ := as.freeSlot(site)
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
	if !ok || m.Prot&^platform.Private != platform.Read|platform.Exec || m.Prot&platform.Private == 0 {
		return 0, false
	}
	return m.Off, true
}
