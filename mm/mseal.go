package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// Sealing (mseal(2)): what is sealed keeps its place, its size and its rights until the address
// space ends. Pages may still be touched, locked and read ahead.

// MSeal is mseal(2).
func (as *AddressSpace) MSeal(addr usermem.Addr, length uint64) error {
	lo, hi, ok := span(addr, length)
	if lo&(PageSize-1) != 0 || !ok || length != 0 && hi == lo {
		return unix.EINVAL
	}
	if hi == lo {
		return nil
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.sealLocked(lo, hi, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

func (as *AddressSpace) sealLocked(lo, hi uint64, dead *[]*MapFile) error {
	if as.root == NoFrame || !covered(as.overlapping(lo, hi), lo, hi) {
		return unix.ENOMEM
	}
	rs, ok := as.carve(lo, hi)
	if !ok {
		return unix.ENOMEM
	}
	for _, r := range rs {
		r.flags |= flagSealed
	}
	as.merge(lo, hi, dead)
	return nil
}

// sealed reports whether some region of [lo, hi) is sealed.
func (as *AddressSpace) sealed(lo, hi uint64) bool {
	if r := as.find(lo); r != nil && r.flags&flagSealed != 0 {
		return true
	}
	sealed := false
	as.regions.Ascend(lo, func(at uint64, r *region) bool {
		sealed = at < hi && r.flags&flagSealed != 0
		return at < hi && !sealed
	})
	return sealed
}

// keepsContent reports whether advice that throws pages away is refused for r: its owner could
// not have written zeros there instead.
func (r *region) keepsContent() bool {
	return r.flags&flagSealed != 0 && !r.shared && r.prot&platform.Write == 0
}
