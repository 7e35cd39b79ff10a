package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// MRemap is mremap(2), in all its forms.
func (as *AddressSpace) MRemap(old usermem.Addr, oldLen, newLen uint64, flags int, newAddr usermem.Addr) (usermem.Addr, error) {
	const all = unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED | unix.MREMAP_DONTUNMAP
	if flags&^all != 0 || flags&unix.MREMAP_FIXED != 0 && flags&unix.MREMAP_MAYMOVE == 0 ||
		flags&unix.MREMAP_DONTUNMAP != 0 && (flags&unix.MREMAP_MAYMOVE == 0 || oldLen != newLen) {
		return 0, unix.EINVAL
	}
	if uint64(old)&(PageSize-1) != 0 {
		return 0, unix.EINVAL
	}
	oldLen, newLen = roundUp(oldLen), roundUp(newLen)
	if newLen == 0 || newLen > as.hi {
		return 0, unix.EINVAL
	}
	var dead []*MapFile
	as.mu.Lock()
	addr, warm, err := as.remapLocked(uint64(old), oldLen, newLen, flags, uint64(newAddr), &dead)
	as.mu.Unlock()
	release(dead)
	if err == nil && warm && newLen > oldLen {
		_ = as.warm(addr+oldLen, addr+newLen)
	}
	return usermem.Addr(addr), err
}

func (as *AddressSpace) remapLocked(old, oldLen, newLen uint64, flags int, to uint64, dead *[]*MapFile) (uint64, bool, error) {
	if as.root == NoFrame {
		return 0, false, unix.EFAULT
	}
	oldEnd := old + oldLen
	if oldEnd < old || oldEnd > as.hi {
		return 0, false, unix.EFAULT
	}
	r := as.find(old)
	if r == nil {
		return 0, false, unix.EFAULT
	}
	if r.flags&flagSealed != 0 {
		return 0, false, unix.EPERM
	}
	fixed := flags&unix.MREMAP_FIXED != 0
	keep := flags&unix.MREMAP_DONTUNMAP != 0
	if fixed {
		if to&(PageSize-1) != 0 || to > as.hi || newLen > as.hi-to ||
			to < oldEnd && old < to+newLen {
			return 0, false, unix.EINVAL
		}
		if to < as.lo {
			return 0, false, unix.EPERM
		}
		if as.regions.Len()+2 >= maxRegions-3 {
			return 0, false, unix.ENOMEM
		}
	}

	// Shrink: the tail goes first.
	if !fixed && !keep && oldLen >= newLen {
		if oldLen > newLen {
			if err := as.unmapLocked(old+newLen, oldEnd, dead); err != nil {
				return 0, false, err
			}
		}
		return old, false, nil
	}
	if oldLen == 0 && (!r.shared || keep) {
		return 0, false, unix.EINVAL
	}
	if keep && r.flags&flagSpecial != 0 {
		return 0, false, unix.EINVAL
	}
	if fixed && oldLen > newLen {
		if len(as.overlapping(old+newLen, oldEnd)) > 0 {
			if err := as.unmapLocked(old+newLen, oldEnd, dead); err != nil {
				return 0, false, err
			}
		}
		oldLen, oldEnd = newLen, old+newLen
		if r = as.find(old); r == nil {
			return 0, false, unix.EFAULT
		}
	}
	if oldEnd > r.end {
		return 0, false, unix.EFAULT
	}
	if newLen > oldLen {
		if r.flags&flagSpecial != 0 {
			return 0, false, unix.EFAULT
		}
		if r.file != nil && (r.off+(old-r.start)+newLen < newLen || r.off+(old-r.start)+newLen > 1<<63-1) {
			return 0, false, unix.EINVAL
		}
		n := int64(newLen-oldLen) >> PageShift
		if r.flags&flagLocked != 0 && !as.mayLockAny() && as.lockedVM+n > as.limit(rlimitMemlock) {
			return 0, false, unix.EAGAIN
		}
		if as.totalVM+n > as.limit(unix.RLIMIT_AS) ||
			isData(r.shared, r.prot, r.flags) && as.dataVM+n > as.limit(unix.RLIMIT_DATA) ||
			r.flags&flagAccount != 0 && as.overcommitted(n) {
			return 0, false, unix.ENOMEM
		}
	}
	if keep {
		if as.totalVM+int64(newLen>>PageShift) > as.limit(unix.RLIMIT_AS) {
			return 0, false, unix.ENOMEM
		}
	}
	warm := r.flags&(flagLocked|flagLockOnFault) == flagLocked

	// Grow in place.
	if !fixed && !keep && oldEnd == r.end && oldLen > 0 {
		if end := old + newLen; end > old && end <= as.hi && as.free(oldEnd, end) && as.reserve(oldEnd, end) == nil {
			n := int64(newLen-oldLen) >> PageShift
			r.end = end
			as.account(r, n)
			as.merge(r.start, end, dead)
			return old, warm, nil
		}
	}
	if flags&unix.MREMAP_MAYMOVE == 0 {
		return 0, false, unix.ENOMEM
	}

	// Move.
	if as.regions.Len()+3 > maxRegions {
		return 0, false, unix.ENOMEM
	}
	if fixed {
		if err := as.unmapLocked(to, to+newLen, dead); err != nil {
			return 0, false, err
		}
		if r = as.find(old); r == nil {
			return 0, false, unix.EFAULT
		}
	} else {
		hint := uint64(0)
		if keep {
			hint = to &^ (PageSize - 1)
		}
		var err error
		if to, err = as.place(&request{hint: hint, n: newLen}); err != nil {
			return 0, false, err
		}
	}
	if oldLen > 0 {
		// The tables first: nothing has changed if there is no room for them.
		for a := to &^ leafMask; a < to+oldLen; a += leafSpan {
			if as.makeLeaf(a) == nil {
				return 0, false, unix.ENOMEM
			}
		}
	}
	n := &region{
		start: to, end: to + newLen, prot: r.prot, maxProt: r.maxProt, shared: r.shared,
		flags: r.flags &^ (flagHeap | flagMayWrite), file: r.file, name: r.name, off: r.off,
		policy: r.policy,
	}
	if r.file != nil {
		n.off += old - r.start
	}
	n.hold()
	if err := as.insert(n); err != nil {
		if n.file != nil {
			n.file.refs.Add(-1)
		}
		return 0, false, err
	}
	if oldLen > 0 {
		as.movePages(old, to, oldLen)
		if keep {
			rs, ok := as.carve(old, oldEnd)
			if ok {
				for _, x := range rs {
					as.account(x, -x.pages())
					x.flags &^= flagLocked | flagLockOnFault
					as.account(x, x.pages())
				}
			}
		} else if err := as.unmapLocked(old, oldEnd, dead); err != nil {
			return 0, false, err
		}
		if err := as.show(to, to+oldLen); err != nil {
			as.noteErr(err)
		}
	}
	as.merge(to, to+newLen, dead)
	if keep {
		as.merge(old, oldEnd, dead)
	}
	return to, warm, nil
}

// movePages moves entries; tables for the new place are there.
func (as *AddressSpace) movePages(from, to, n uint64) {
	var first, last uint64
	for a := from; a < from+n; {
		t, end := as.leaf(a)
		end = min(end, from+n)
		if t == nil {
			a = end
			continue
		}
		for ; a < end; a += PageSize {
			e := t[pageIdx(a)]
			if e == 0 {
				continue
			}
			if e&pteShown != 0 {
				if last == 0 {
					first = a
				}
				last = a + PageSize
			}
			t[pageIdx(a)] = 0
			d, _ := as.leaf(to + (a - from))
			d[pageIdx(to+(a-from))] = e &^ pteShown
		}
	}
	if last != 0 {
		as.noteErr(as.pas.Unmap(first, last-first))
	}
}
