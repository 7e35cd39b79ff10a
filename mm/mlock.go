package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// There is no swap, so locking is accounting, and bringing pages in.

// MLock is mlock2(2); flags may be MLOCK_ONFAULT.
func (as *AddressSpace) MLock(addr usermem.Addr, length uint64, flags int) error {
	if flags&^unix.MLOCK_ONFAULT != 0 {
		return unix.EINVAL
	}
	if !as.mayLock() {
		return unix.EPERM
	}
	lo := uint64(addr) &^ (PageSize - 1)
	hi := roundUp(uint64(addr) + length)
	if uint64(addr)+length < uint64(addr) || hi < lo {
		return unix.EINVAL
	}
	if length == 0 {
		return nil
	}
	fl := flagLocked
	if flags&unix.MLOCK_ONFAULT != 0 {
		fl |= flagLockOnFault
	}
	var dead []*MapFile
	as.mu.Lock()
	err := func() error {
		n := int64(hi-lo) >> PageShift
		if !as.mayLockAny() {
			have := int64(0) // locked already
			for _, r := range as.overlapping(lo, hi) {
				if r.flags&flagLocked != 0 {
					have += int64(min(r.end, hi)-max(r.start, lo)) >> PageShift
				}
			}
			if as.lockedVM-have+n > as.limit(rlimitMemlock) {
				return unix.ENOMEM
			}
		}
		return as.lockLocked(lo, hi, fl, &dead)
	}()
	as.mu.Unlock()
	release(dead)
	if err == nil && fl&flagLockOnFault == 0 {
		err = as.lockIn(lo, hi)
	}
	return err
}

// lockIn brings locked pages in.
func (as *AddressSpace) lockIn(lo, hi uint64) error {
	switch err := as.warm(lo, hi); err {
	case nil:
		return nil
	case unix.EAGAIN:
		return err
	default:
		return unix.ENOMEM
	}
}

// lockLocked sets the locking flags of [lo, hi) to fl.
func (as *AddressSpace) lockLocked(lo, hi uint64, fl regionFlags, dead *[]*MapFile) error {
	rs := as.overlapping(lo, hi)
	err := error(nil)
	if !covered(rs, lo, hi) {
		err = unix.ENOMEM
	}
	for _, r := range rs {
		if err != nil && r.start > lo && !covered(rs, lo, r.start) {
			break // as far as the first hole
		}
		if r.flags&flagSpecial != 0 || r.flags&(flagLocked|flagLockOnFault) == fl {
			continue
		}
		part, ok := as.carve(max(r.start, lo), min(r.end, hi))
		if !ok {
			return unix.ENOMEM
		}
		for _, p := range part {
			as.account(p, -p.pages())
			p.flags = p.flags&^(flagLocked|flagLockOnFault) | fl
			as.account(p, p.pages())
		}
	}
	as.merge(lo, hi, dead)
	return err
}

// MUnlock is munlock(2).
func (as *AddressSpace) MUnlock(addr usermem.Addr, length uint64) error {
	lo := uint64(addr) &^ (PageSize - 1)
	hi := roundUp(uint64(addr) + length)
	if uint64(addr)+length < uint64(addr) || hi < lo {
		return unix.EINVAL
	}
	if length == 0 {
		return nil
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.lockLocked(lo, hi, 0, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

// MLockAll is mlockall(2).
func (as *AddressSpace) MLockAll(flags int) error {
	const onFault = unix.MCL_ONFAULT
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|onFault) != 0 || flags == onFault {
		return unix.EINVAL
	}
	if !as.mayLock() {
		return unix.EPERM
	}
	fl := flagLocked
	if flags&onFault != 0 {
		fl |= flagLockOnFault
	}
	var dead []*MapFile
	as.mu.Lock()
	if flags&unix.MCL_CURRENT != 0 && !as.mayLockAny() && as.totalVM > as.limit(rlimitMemlock) {
		as.mu.Unlock()
		return unix.ENOMEM
	}
	as.lockFuture = 0
	if flags&unix.MCL_FUTURE != 0 {
		as.lockFuture = fl
	}
	if flags&unix.MCL_CURRENT != 0 {
		as.lockEvery(fl, &dead)
	}
	as.mu.Unlock()
	release(dead)
	if flags&unix.MCL_CURRENT != 0 && fl&flagLockOnFault == 0 {
		as.ForEachRegion(func(r RegionInfo) bool {
			if r.Locked && r.Prot != 0 {
				_ = as.warm(uint64(r.Start), uint64(r.End))
			}
			return true
		})
	}
	return nil
}

func (as *AddressSpace) lockEvery(fl regionFlags, dead *[]*MapFile) {
	as.regions.Scan(func(_ uint64, r *region) bool {
		if r.flags&flagSpecial == 0 {
			as.account(r, -r.pages())
			r.flags = r.flags&^(flagLocked|flagLockOnFault) | fl
			as.account(r, r.pages())
		}
		return true
	})
	as.merge(0, as.hi, dead)
}

// MUnlockAll is munlockall(2).
func (as *AddressSpace) MUnlockAll() error {
	var dead []*MapFile
	as.mu.Lock()
	as.lockFuture = 0
	as.lockEvery(0, &dead)
	as.mu.Unlock()
	release(dead)
	return nil
}
