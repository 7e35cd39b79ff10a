package cred

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// File capabilities, the value of the security.capability attribute:
//
//	v1: magic|flags  permitted inheritable                          (32 bits each)
//	v2: magic|flags  permitted inheritable  permitted>>32 inheritable>>32
//	v3: as v2, and the uid of the root of the namespace that they are for
const (
	XattrCaps = "security.capability"

	vfsCapRevisionMask = 0xff000000
	vfsCapRevision1    = 0x01000000
	vfsCapRevision2    = 0x02000000
	vfsCapRevision3    = 0x03000000
	vfsCapFlagsMask    = ^uint32(vfsCapRevisionMask)
	vfsCapEffective    = 0x000001
)

// FileCaps are a file's capabilities.
type FileCaps struct {
	Permitted, Inheritable CapSet
	Effective              bool
	Root                   KUID // v3: the namespace root they are for; 0 for older ones
}

// ParseFileCaps decodes a security.capability attribute; EINVAL for what is not one.
func ParseFileCaps(b []byte) (*FileCaps, error) {
	if len(b) < 4 {
		return nil, unix.EINVAL
	}
	word := func(i int) CapSet { return CapSet(binary.LittleEndian.Uint32(b[4*i:])) }
	magic := binary.LittleEndian.Uint32(b)
	if magic&vfsCapFlagsMask&^vfsCapEffective != 0 {
		return nil, unix.EINVAL
	}
	fc := &FileCaps{Effective: magic&vfsCapEffective != 0}
	switch rev := magic & vfsCapRevisionMask; {
	case rev == vfsCapRevision1 && len(b) == 12:
		fc.Permitted, fc.Inheritable = word(1), word(2)
	case rev == vfsCapRevision2 && len(b) == 20, rev == vfsCapRevision3 && len(b) == 24:
		fc.Permitted = word(1) | word(3)<<32
		fc.Inheritable = word(2) | word(4)<<32
		if rev == vfsCapRevision3 {
			fc.Root = KUID(word(5))
		}
	default:
		return nil, unix.EINVAL
	}
	fc.Permitted &= AllCaps
	fc.Inheritable &= AllCaps
	return fc, nil
}

// Marshal encodes fc: as v3 when it is for a namespace other than the initial, else as v2.
func (fc *FileCaps) Marshal() []byte {
	magic := uint32(vfsCapRevision2)
	if fc.Root != 0 {
		magic = vfsCapRevision3
	}
	if fc.Effective {
		magic |= vfsCapEffective
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	for shift := 0; shift < 64; shift += 32 {
		b = binary.LittleEndian.AppendUint32(b, uint32(fc.Permitted>>shift))
		b = binary.LittleEndian.AppendUint32(b, uint32(fc.Inheritable>>shift))
	}
	if fc.Root != 0 {
		b = binary.LittleEndian.AppendUint32(b, fc.Root)
	}
	return b
}

// ExecFile is what exec must know about the program file. For a script it is the
// interpreter's.
type ExecFile struct {
	Mode uint32 // with S_ISUID, S_ISGID
	UID  KUID
	GID  KGID
	// Caps is the security.capability attribute; nil if there is none.
	Caps []byte
	// NoSuid: the mount is nosuid, or not in a namespace that the caller lives in.
	NoSuid bool
	// NoNewPrivs is the task's.
	NoNewPrivs bool
	// Unsafe: the task shares its fs_struct with another process, so that privileges
	// must not grow.
	Unsafe bool
	// Traced: the tracer has no CAP_SYS_PTRACE over the new credentials, so that
	// privileges must not grow.
	Traced bool
}

// Exec returns the credentials after execve of file, and whether they are more
// than the caller gave (AT_SECURE).
func (c *Cred) Exec(file *ExecFile) (n *Cred, secure bool, err error) {
	n = c.Clone()
	ns := c.UserNS

	// Setuid and setgid bits, if both ids are known here.
	if !file.NoSuid && !file.NoNewPrivs &&
		ns.MapUIDFromKernel(file.UID) != Invalid && ns.MapGIDFromKernel(file.GID) != Invalid {
		if file.Mode&unix.S_ISUID != 0 {
			n.EUID = file.UID
		}
		if file.Mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
			n.EGID = file.GID
		}
	}

	// File capabilities.
	n.Permitted = 0
	effective, hasFileCaps := false, false
	if len(file.Caps) > 0 && !file.NoSuid {
		fc, err := ParseFileCaps(file.Caps)
		if err == nil && ns.ownedByRoot(fc.Root) {
			hasFileCaps = true
			effective = fc.Effective
			n.Permitted = fc.Permitted&n.Bounding | fc.Inheritable&n.Inheritable
			if effective && fc.Permitted&^n.Permitted != 0 {
				// The program does not know that it would have less than it asks for.
				return nil, false, unix.EPERM
			}
		}
	}

	// Root has all, unless SECBIT_NOROOT, or a setuid-root program has its own set.
	r := ns.rootUID()
	if c.Securebits&SecbitNoRoot == 0 && !(hasFileCaps && n.UID != r && n.EUID == r) {
		if n.EUID == r || n.UID == r {
			n.Permitted = n.Bounding | n.Inheritable
		}
		if n.EUID == r {
			effective = true
		}
	}

	setID := n.EUID != c.UID || n.EGID != c.GID
	if (setID || n.Permitted&^c.Permitted != 0) && (file.Unsafe || file.NoNewPrivs || file.Traced) {
		if !c.Has(unix.CAP_SETUID) || file.NoNewPrivs {
			n.EUID, n.EGID = n.UID, n.GID
		}
		n.Permitted &= c.Permitted
	}
	n.SUID, n.FSUID = n.EUID, n.EUID
	n.SGID, n.FSGID = n.EGID, n.EGID

	if hasFileCaps || setID {
		n.Ambient = 0
	}
	n.Permitted |= n.Ambient
	if effective {
		n.Effective = n.Permitted
	} else {
		n.Effective = n.Ambient
	}
	n.Securebits &^= SecbitKeepCaps
	secure = setID || n.UID != r && (effective || n.Permitted&^n.Ambient != 0)
	return n, secure, nil
}
