package cred

import (
	"golang.org/x/sys/unix"
)

// CapSet is a set of capabilities: bit unix.CAP_x for each.
type CapSet uint64

// AllCaps has every capability that exists.
const AllCaps CapSet = 1<<(unix.CAP_LAST_CAP+1) - 1

// Caps makes a set of the capabilities given.
func Caps(caps ...int) CapSet {
	var s CapSet
	for _, c := range caps {
		s |= 1 << uint(c)
	}
	return s
}

// Has tells whether s has the capability.
func (s CapSet) Has(c int) bool { return s>>uint(c)&1 != 0 }

// ValidCap tells whether the number is a capability's.
func ValidCap(c uint64) bool { return c <= unix.CAP_LAST_CAP }

// fsCaps are what changes of the file system uid take and give (Linux: CAP_FS_SET).
var fsCaps = Caps(unix.CAP_CHOWN, unix.CAP_MKNOD, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH,
	unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_LINUX_IMMUTABLE, unix.CAP_MAC_OVERRIDE)

// Securebits, prctl(PR_SET_SECUREBITS). The lock of each bit is the bit above it.
const (
	SecbitNoRoot             = 1 << 0
	SecbitNoRootLocked       = 1 << 1
	SecbitNoSetuidFixup      = 1 << 2
	SecbitNoSetuidFixupLock  = 1 << 3
	SecbitKeepCaps           = 1 << 4
	SecbitKeepCapsLocked     = 1 << 5
	SecbitNoCapAmbientRaise  = 1 << 6
	SecbitNoCapAmbientLocked = 1 << 7

	secbitsAll   = SecbitNoRoot | SecbitNoSetuidFixup | SecbitKeepCaps | SecbitNoCapAmbientRaise
	secbitsLocks = secbitsAll << 1
)

// CapSet returns the credentials after capset(2) with the three sets.
func (c *Cred) CapSet(effective, inheritable, permitted CapSet) (*Cred, error) {
	effective &= AllCaps
	inheritable &= AllCaps
	permitted &= AllCaps
	if !c.Has(unix.CAP_SETPCAP) && inheritable&^(c.Inheritable|c.Permitted) != 0 {
		return nil, unix.EPERM
	}
	if inheritable&^(c.Inheritable|c.Bounding) != 0 ||
		permitted&^c.Permitted != 0 ||
		effective&^permitted != 0 {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Effective, n.Inheritable, n.Permitted = effective, inheritable, permitted
	n.Ambient &= permitted & inheritable
	return n, nil
}

// DropBounding is prctl(PR_CAPBSET_DROP).
func (c *Cred) DropBounding(cap uint64) (*Cred, error) {
	if !c.Has(unix.CAP_SETPCAP) {
		return nil, unix.EPERM
	}
	if !ValidCap(cap) {
		return nil, unix.EINVAL
	}
	n := c.Clone()
	n.Bounding &^= 1 << cap
	return n, nil
}

// RaiseAmbient is prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE).
func (c *Cred) RaiseAmbient(cap uint64) (*Cred, error) {
	if !ValidCap(cap) {
		return nil, unix.EINVAL
	}
	if !c.Permitted.Has(int(cap)) || !c.Inheritable.Has(int(cap)) || c.Securebits&SecbitNoCapAmbientRaise != 0 {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Ambient |= 1 << cap
	return n, nil
}

// LowerAmbient is prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER).
func (c *Cred) LowerAmbient(cap uint64) (*Cred, error) {
	if !ValidCap(cap) {
		return nil, unix.EINVAL
	}
	n := c.Clone()
	n.Ambient &^= 1 << cap
	return n, nil
}

// ClearAmbient is prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).
func (c *Cred) ClearAmbient() *Cred {
	n := c.Clone()
	n.Ambient = 0
	return n
}

// SetSecurebits is prctl(PR_SET_SECUREBITS).
func (c *Cred) SetSecurebits(bits uint64) (*Cred, error) {
	old := uint64(c.Securebits)
	if (old&secbitsLocks)>>1&(old^bits) != 0 || // a locked bit changes
		old&secbitsLocks&^bits != 0 || // a lock is opened
		bits&^(secbitsAll|secbitsLocks) != 0 ||
		!c.Has(unix.CAP_SETPCAP) {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Securebits = uint32(bits)
	return n, nil
}

// SetKeepCaps is prctl(PR_SET_KEEPCAPS).
func (c *Cred) SetKeepCaps(arg uint64) (*Cred, error) {
	if arg > 1 {
		return nil, unix.EINVAL
	}
	if c.Securebits&SecbitKeepCapsLocked != 0 {
		return nil, unix.EPERM
	}
	n := c.Clone()
	n.Securebits &^= SecbitKeepCaps
	if arg == 1 {
		n.Securebits |= SecbitKeepCaps
	}
	return n, nil
}
