package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// Copies walk the page tables under the read side of mu and go through the linear
// mapping, consecutive frames at once. A page that is not there is brought in as
// for the guest, with mu given up.

var _ usermem.Memory = (*AddressSpace)(nil)

// CopyIn reads guest memory.
func (as *AddressSpace) CopyIn(addr usermem.Addr, b []byte) (int, error) {
	return as.transfer(uint64(addr), b, want{access: platform.AccessRead, kernel: true})
}

// CopyOut writes guest memory.
func (as *AddressSpace) CopyOut(addr usermem.Addr, b []byte) (int, error) {
	return as.transfer(uint64(addr), b, want{access: platform.AccessWrite, kernel: true})
}

// CopyInForce reads guest memory whatever its rights, as ptrace does.
func (as *AddressSpace) CopyInForce(addr usermem.Addr, b []byte) (int, error) {
	return as.transfer(uint64(addr), b, want{access: platform.AccessRead, kernel: true, force: true})
}

// CopyOutForce writes guest memory; a private mapping may be read-only. Shared pages
// of private mappings are copied first.
func (as *AddressSpace) CopyOutForce(addr usermem.Addr, b []byte) (int, error) {
	n, err := as.transfer(uint64(addr), b, want{access: platform.AccessWrite, kernel: true, force: true})
	if n > 0 {
		as.showChanged(uint64(addr)&^(PageSize-1), roundUp(uint64(addr)+uint64(n)))
	}
	return n, err
}

// showChanged shows pages of program text once more that have been written to although they are read-only: the platform was
// promised that their contents stay (platform.Private).
func (as *AddressSpace) showChanged(lo, hi uint64) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.root == NoFrame {
		return
	}
	for a := lo; a < hi; a += PageSize {
		t, _ := as.leaf(a)
		if t == nil {
			continue
		}
		e := t[pageIdx(a)]
		if e&(ptePresent|pteShown) != ptePresent|pteShown || protOf(e)&(platform.Write|platform.Exec) != platform.Exec {
			continue
		}
		as.noteErr(as.mapRun(a, PageSize, e&pteFrame, protOf(e)))
	}
}

// ZeroOut clears guest memory and returns how much it cleared.
func (as *AddressSpace) ZeroOut(addr usermem.Addr, n uint64) (uint64, error) {
	done, err := as.transferOrClear(uint64(addr), nil, n, want{access: platform.AccessWrite, kernel: true})
	return done, err
}

func (as *AddressSpace) transfer(addr uint64, b []byte, w want) (int, error) {
	done, err := as.transferOrClear(addr, b, uint64(len(b)), w)
	return int(done), err
}

// transferOrClear copies from or to b, which has n bytes, or clears n bytes if b is nil.
func (as *AddressSpace) transferOrClear(addr uint64, b []byte, n uint64, w want) (uint64, error) {
	var done uint64
	if n > as.hi || addr > as.hi-n {
		// The part below the end may still be there.
		if addr >= as.hi {
			return 0, unix.EFAULT
		}
		n = as.hi - addr
		if b != nil {
			b = b[:n]
		}
		done, err := as.transferOrClear(addr, b, n, w)
		if err == nil {
			err = unix.EFAULT
		}
		return done, err
	}
	for retry := 0; done < n; {
		var rest []byte
		if b != nil {
			rest = b[done:]
		}
		as.mu.RLock()
		k := as.copyPages(addr+done, rest, n-done, w)
		as.mu.RUnlock()
		done += k
		if k > 0 {
			retry = 0
		}
		if done == n {
			break
		}
		if k > 0 {
			continue // a piece is done: let others have mu
		}
		err := as.fault(addr+done, w)
		if err == unix.EAGAIN && retry < 2000 || err == nil && retry < 100000 {
			retry++
			continue
		}
		return done, unix.EFAULT
	}
	return done, nil
}

// copyPiece is how much is copied before the lock is given up once.
const copyPiece = 256 << 10

// copyPages copies, or clears where b is nil, until a page needs a fault. mu is held for reading.
func (as *AddressSpace) copyPages(addr uint64, b []byte, size uint64, w want) uint64 {
	if as.root == NoFrame {
		return 0
	}
	var done uint64
	write := w.access == platform.AccessWrite
	for done < size && done < copyPiece {
		a := addr + done
		t, end := as.leaf(a)
		if t == nil {
			break
		}
		i := pageIdx(a)
		if !as.usable(t[i], a, w) {
			break
		}
		po := a & (PageSize - 1)
		start := t[i]&pteFrame | po
		n := PageSize - po
		// More pages in consecutive frames.
		most := min(size-done, end-a)
		for n < most && t[i+1]&pteFrame == t[i]&pteFrame+PageSize && as.usable(t[i+1], a+n, w) {
			i++
			n += PageSize
		}
		n = min(n, most)
		mem := as.m.lin[start : start+n]
		switch {
		case b == nil:
			clear(mem)
		case write:
			copy(mem, b[done:])
		default:
			copy(b[done:], mem)
		}
		done += n
	}
	return done
}

// usable reports whether entry e for address a can be used without a fault. mu is
// held for reading.
func (as *AddressSpace) usable(e, a uint64, w want) bool {
	if !w.force {
		if w.access == platform.AccessWrite {
			return e&(ptePresent|pteWrite) == ptePresent|pteWrite
		}
		return e&ptePresent != 0
	}
	if e == 0 {
		return false
	}
	if w.access != platform.AccessWrite || e&(ptePresent|pteWrite) == ptePresent|pteWrite {
		return true
	}
	f := frameOf(e)
	if !as.owns(f) {
		return false
	}
	r := as.find(a)
	return r != nil && !r.shared
}

// word finds the frame of an aligned word of size bytes and calls use on it, with
// mu held for reading.
func (as *AddressSpace) word(addr uint64, size uint64, write bool, use func(f Frame, off uint64)) error {
	if addr&(size-1) != 0 {
		return unix.EINVAL
	}
	if addr > as.hi-size {
		return unix.EFAULT
	}
	w := want{access: platform.AccessRead, kernel: true}
	if write {
		w.access = platform.AccessWrite
	}
	for retry := 0; ; retry++ {
		as.mu.RLock()
		if as.root != NoFrame {
			if t, _ := as.leaf(addr); t != nil {
				if e := t[pageIdx(addr)]; as.usable(e, addr, w) {
					use(frameOf(e), addr&(PageSize-1))
					as.mu.RUnlock()
					return nil
				}
			}
		}
		as.mu.RUnlock()
		if err := as.fault(addr, w); err != nil && (err != unix.EAGAIN || retry > 2000) || retry > 100000 {
			return unix.EFAULT
		}
	}
}

// LoadUint32 reads an aligned word at once.
func (as *AddressSpace) LoadUint32(addr usermem.Addr) (v uint32, err error) {
	err = as.word(uint64(addr), 4, false, func(f Frame, off uint64) { v = as.m.word32(f, off).Load() })
	return v, err
}

// LoadUint64 reads an aligned word at once.
func (as *AddressSpace) LoadUint64(addr usermem.Addr) (v uint64, err error) {
	err = as.word(uint64(addr), 8, false, func(f Frame, off uint64) { v = as.m.word64(f, off).Load() })
	return v, err
}

// SwapUint32 writes an aligned word and returns the old one.
func (as *AddressSpace) SwapUint32(addr usermem.Addr, v uint32) (old uint32, err error) {
	err = as.word(uint64(addr), 4, true, func(f Frame, off uint64) { old = as.m.word32(f, off).Swap(v) })
	return old, err
}

// CompareAndSwapUint32 writes next if the word is prev; it returns what the word was.
func (as *AddressSpace) CompareAndSwapUint32(addr usermem.Addr, prev, next uint32) (old uint32, err error) {
	return as.AtomicOpUint32(addr, func(v uint32) uint32 {
		if v == prev {
			return next
		}
		return v
	})
}

// AtomicOpUint32 replaces an aligned word by op of it and returns the old one. op
// may be called several times.
func (as *AddressSpace) AtomicOpUint32(addr usermem.Addr, op func(old uint32) uint32) (old uint32, err error) {
	err = as.word(uint64(addr), 4, true, func(f Frame, off uint64) {
		p := as.m.word32(f, off)
		for {
			old = p.Load()
			next := op(old)
			if p.CompareAndSwap(old, next) {
				return
			}
		}
	})
	return old, err
}

// FutexKey says which word a futex at addr is: a private one, or if shared is set
// what lies there, a page of a file or of this address space. EINVAL if
// unaligned, EFAULT if there is nothing.
func (as *AddressSpace) FutexKey(addr usermem.Addr, shared bool) (FutexKey, error) {
	a := uint64(addr)
	if a&3 != 0 {
		return FutexKey{}, unix.EINVAL
	}
	if a >= as.hi {
		return FutexKey{}, unix.EFAULT
	}
	if !shared {
		return FutexKey{as: as, pos: a}, nil
	}
	as.mu.RLock()
	r := as.find(a)
	var k FutexKey
	switch {
	case r == nil || r.prot == platform.None:
		as.mu.RUnlock()
		return FutexKey{}, unix.EFAULT
	case !r.anonymous() && (r.shared || as.cleanPage(a)):
		k = FutexKey{cache: r.file.Cache, pos: r.off + a - r.start}
	default:
		k = FutexKey{as: as, pos: a}
	}
	as.mu.RUnlock()
	if k.cache != nil && int64(k.pos) >= int64(roundUp(uint64(k.cache.Size()))) {
		return FutexKey{}, unix.EFAULT
	}
	return k, nil
}

// cleanPage reports whether the page at a, of a private mapping of a file, is still the file's.
func (as *AddressSpace) cleanPage(a uint64) bool {
	if as.root == NoFrame {
		return false
	}
	t, _ := as.leaf(a)
	if t == nil {
		return true
	}
	e := t[pageIdx(a)]
	return e == 0 || as.m.kinds[frameOf(e)] != uint8(kindAnon)
}
