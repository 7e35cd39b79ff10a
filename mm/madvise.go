package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// MAdvise is madvise(2).
func (as *AddressSpace) MAdvise(addr usermem.Addr, length uint64, advice int) error {
	switch advice {
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED,
		unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_REMOVE, unix.MADV_DONTFORK, unix.MADV_DOFORK,
		unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE,
		unix.MADV_DONTDUMP, unix.MADV_DODUMP, unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK,
		unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE,
		madvDontneedLocked:
	default:
		// HWPOISON, SOFT_OFFLINE and COLLAPSE as on a kernel built without them.
		return unix.EINVAL
	}
	lo, hi, ok := span(addr, length)
	if !ok || length != 0 && hi == lo {
		return unix.EINVAL
	}
	if hi == lo {
		return nil
	}
	switch advice {
	case unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE:
		return as.advisePopulate(lo, hi, advice == unix.MADV_POPULATE_WRITE)
	case unix.MADV_REMOVE, unix.MADV_WILLNEED:
		return as.adviseFile(lo, hi, advice)
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.adviseLocked(lo, hi, advice, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

const madvDontneedLocked = 24

func (as *AddressSpace) adviseLocked(lo, hi uint64, advice int, dead *[]*MapFile) error {
	rs := as.overlapping(lo, hi)
	hole := !covered(rs, lo, hi)
	var fs []frameRun
	defer func() { as.drop(fs) }()
	for _, r := range rs {
		a, b := max(r.start, lo), min(r.end, hi)
		locked := r.flags&flagLocked != 0
		set, clr := regionFlags(0), regionFlags(0)
		switch advice {
		case unix.MADV_DONTNEED, madvDontneedLocked, unix.MADV_FREE:
			if r.keepsContent() {
				return unix.EPERM
			}
			if locked && advice != madvDontneedLocked || advice == unix.MADV_FREE && (r.shared || !r.anonymous()) {
				return unix.EINVAL
			}
			fs = as.zap(a, b, fs, nil)
			continue
		case unix.MADV_COLD, unix.MADV_PAGEOUT:
			if locked {
				return unix.EINVAL
			}
			if advice == unix.MADV_PAGEOUT {
				// There is no swap; pages of files can go.
				fs = as.zap(a, b, fs, func(f Frame) bool { return as.m.kinds[f] != uint8(kindFile) })
			}
			continue
		case unix.MADV_NORMAL:
			clr = flagRandom | flagSequential
		case unix.MADV_RANDOM:
			set, clr = flagRandom, flagSequential
		case unix.MADV_SEQUENTIAL:
			set, clr = flagSequential, flagRandom
		case unix.MADV_DONTFORK:
			if r.keepsContent() {
				return unix.EPERM
			}
			set = flagDontFork
		case unix.MADV_DOFORK:
			clr = flagDontFork
		case unix.MADV_WIPEONFORK:
			if r.shared || !r.anonymous() {
				return unix.EINVAL
			}
			if r.keepsContent() {
				return unix.EPERM
			}
			set = flagWipeOnFork
		case unix.MADV_KEEPONFORK:
			clr = flagWipeOnFork
		case unix.MADV_DONTDUMP:
			set = flagDontDump
		case unix.MADV_DODUMP:
			if r.flags&flagSpecial != 0 {
				return unix.EINVAL
			}
			clr = flagDontDump
		case unix.MADV_MERGEABLE:
			set = flagMergeable
		case unix.MADV_UNMERGEABLE:
			clr = flagMergeable
		case unix.MADV_HUGEPAGE:
			set, clr = flagHugePage, flagNoHugePage
		case unix.MADV_NOHUGEPAGE:
			set, clr = flagNoHugePage, flagHugePage
		}
		if r.flags&(set|clr) == set {
			continue
		}
		part, ok := as.carve(a, b)
		if !ok {
			return unix.ENOMEM
		}
		for _, p := range part {
			p.flags = p.flags&^clr | set
		}
	}
	as.merge(lo, hi, dead)
	if hole {
		return unix.ENOMEM
	}
	return nil
}

func (as *AddressSpace) advisePopulate(lo, hi uint64, write bool) error {
	w := want{access: platform.AccessRead}
	if write {
		w.access = platform.AccessWrite
	}
	for a := lo; a < hi; {
		as.mu.RLock()
		r := as.find(a)
		var end uint64
		ok := false
		if r != nil {
			end = min(r.end, hi)
			ok = r.prot != platform.None && (!write || r.prot&platform.Write != 0)
		}
		as.mu.RUnlock()
		if r == nil {
			return unix.ENOMEM
		}
		if !ok {
			return unix.EINVAL
		}
		if err := as.populate(a, end, w); err != nil {
			if _, ok := err.(*FaultError); ok {
				return unix.EFAULT
			}
			return unix.ENOMEM
		}
		a = end
	}
	return nil
}

// part is a piece of a file that a range maps, for work without mu.
type part struct {
	file    *MapFile // held
	off, n  uint64
	refused error
}

// adviseFile is MADV_REMOVE and MADV_WILLNEED, which work on files without mu held.
func (as *AddressSpace) adviseFile(lo, hi uint64, advice int) error {
	as.mu.RLock()
	rs := as.overlapping(lo, hi)
	hole := !covered(rs, lo, hi)
	var parts []part
	for _, r := range rs {
		a, b := max(r.start, lo), min(r.end, hi)
		if advice == unix.MADV_REMOVE {
			var err error
			switch {
			case r.flags&flagLocked != 0, r.anonymous():
				err = unix.EINVAL
			case !r.shared || r.prot&platform.Write == 0:
				err = unix.EACCES
			}
			if err != nil {
				parts = append(parts, part{refused: err})
				break
			}
		}
		if r.anonymous() {
			continue
		}
		r.hold()
		parts = append(parts, part{file: r.file, off: r.off + a - r.start, n: b - a})
	}
	as.mu.RUnlock()
	var err error
	for _, p := range parts {
		if p.file == nil {
			err = p.refused
			break
		}
		c := p.file.Cache
		if err == nil && advice == unix.MADV_REMOVE {
			err = c.PunchHole(int64(p.off), int64(p.n))
		}
		if advice == unix.MADV_WILLNEED && c.backing != nil {
			c.readAhead(int64(p.off>>PageShift), int64(p.n>>PageShift))
		}
	}
	for _, p := range parts {
		if p.file != nil {
			release([]*MapFile{p.file})
		}
	}
	if err == nil && hole {
		err = unix.ENOMEM
	}
	return err
}

// readAhead reads up to n pages in, at most 2 MiB.
func (c *PageCache) readAhead(idx, n int64) {
	n = min(n, blockPages, pagesOf(c.size.Load())-idx)
	for n > 0 {
		c.mu.RLock()
		a := c.absent(idx, int(n))
		c.mu.RUnlock()
		if a > 0 && c.fill(idx, a, 0) != nil {
			return
		}
		a = max(a, 1)
		idx += int64(a)
		n -= int64(a)
	}
}

// WillNeed reads pages of [off, off+n) in (readahead(2), POSIX_FADV_WILLNEED).
func (c *PageCache) WillNeed(off, n int64) {
	if c.backing != nil && off >= 0 && n > 0 {
		c.readAhead(off>>PageShift, pagesOf(n))
	}
}

// MSync is msync(2).
func (as *AddressSpace) MSync(addr usermem.Addr, length uint64, flags int) error {
	lo, hi, ok := span(addr, length)
	if flags&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || lo&(PageSize-1) != 0 ||
		flags&(unix.MS_ASYNC|unix.MS_SYNC) == unix.MS_ASYNC|unix.MS_SYNC {
		return unix.EINVAL
	}
	if !ok || length != 0 && hi == lo {
		return unix.ENOMEM
	}
	if hi == lo {
		return nil
	}
	as.mu.RLock()
	rs := as.overlapping(lo, hi)
	hole := !covered(rs, lo, hi)
	busy := false
	var parts []part
	for _, r := range rs {
		if flags&unix.MS_INVALIDATE != 0 && r.flags&flagLocked != 0 {
			busy = true
			break
		}
		if flags&unix.MS_SYNC == 0 || !r.shared || r.anonymous() || r.file.Cache.backing == nil {
			continue
		}
		a, b := max(r.start, lo), min(r.end, hi)
		r.hold()
		parts = append(parts, part{file: r.file, off: r.off + a - r.start, n: b - a})
	}
	as.mu.RUnlock()
	var err error
	for _, p := range parts {
		if err == nil {
			err = p.file.Cache.Sync(int64(p.off), int64(p.n))
		}
		release([]*MapFile{p.file})
	}
	switch {
	case err != nil:
		return err
	case busy:
		return unix.EBUSY
	case hole:
		return unix.ENOMEM
	}
	return nil
}

// MinCore is mincore(2).
func (as *AddressSpace) MinCore(addr usermem.Addr, length uint64, vec usermem.Addr) error {
	lo, hi, ok := span(addr, length)
	if lo&(PageSize-1) != 0 {
		return unix.EINVAL
	}
	if !ok || length != 0 && hi == lo || hi > as.hi {
		return unix.ENOMEM
	}
	var buf [1024]byte
	for lo < hi {
		n := int(min((hi-lo)>>PageShift, uint64(len(buf))))
		as.mu.RLock()
		ok := as.inCore(lo, buf[:n])
		as.mu.RUnlock()
		if !ok {
			return unix.ENOMEM
		}
		if _, err := as.CopyOut(vec, buf[:n]); err != nil {
			return err
		}
		lo += uint64(n) << PageShift
		vec += usermem.Addr(n)
	}
	return nil
}

// inCore says for each page from lo on whether it is resident. mu is held for reading.
func (as *AddressSpace) inCore(lo uint64, out []byte) bool {
	hi := lo + uint64(len(out))<<PageShift
	rs := as.overlapping(lo, hi)
	if as.root == NoFrame || !covered(rs, lo, hi) {
		return false
	}
	clear(out)
	for _, r := range rs {
		a, b := max(r.start, lo), min(r.end, hi)
		if !r.anonymous() {
			c := r.file.Cache
			c.mu.RLock()
			for x := a; x < b; x += PageSize {
				if _, _, f := c.lookup(r.fileIdx(x)); f != NoFrame {
					out[(x-lo)>>PageShift] = 1
				}
			}
			c.mu.RUnlock()
		}
		for x := a; x < b; {
			t, end := as.leaf(x)
			end = min(end, b)
			for ; t != nil && x < end; x += PageSize {
				if t[pageIdx(x)] != 0 {
					out[(x-lo)>>PageShift] = 1
				}
			}
			x = end
		}
	}
	return true
}
