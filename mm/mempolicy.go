package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// MBind is mbind(2): the regions of a range, which has no holes, get a policy.
func (as *AddressSpace) MBind(addr usermem.Addr, length uint64, p Policy) error {
	lo, hi, ok := span(addr, length)
	if lo&(PageSize-1) != 0 || !ok || length != 0 && hi == lo {
		return unix.EINVAL
	}
	if hi == lo {
		return nil
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.bindLocked(lo, hi, p, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

func (as *AddressSpace) bindLocked(lo, hi uint64, p Policy, dead *[]*MapFile) error {
	if as.root == NoFrame || !covered(as.overlapping(lo, hi), lo, hi) {
		return unix.EFAULT
	}
	rs, ok := as.carve(lo, hi)
	if !ok {
		return unix.ENOMEM
	}
	for _, r := range rs {
		r.policy = p
	}
	as.merge(lo, hi, dead)
	return nil
}
