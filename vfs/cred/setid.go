package cred

import (
	"golang.org/x/sys/unix"
)

// The methods here take ids as the guest passes them, in c's user namespace; Invalid
// (-1) leaves an id alone where the system call says so.

// uid translates an id argument; EINVAL if the namespace does not have it.
func (c *Cred) uid(id uint32) (KUID, error) {
	if k := c.UserNS.MapUIDToKernel(id); k != Invalid {
		return k, nil
	}
	return 0, unix.EINVAL
}

func (c *Cred) gid(id uint32) (KGID, error) {
	if k := c.UserNS.MapGIDToKernel(id); k != Invalid {
		return k, nil
	}
	return 0, unix.EINVAL
}

func oneOf(id uint32, ids ...uint32) bool {
	for _, o := range ids {
		if id == o {
			return true
		}
	}
	return false
}

// fixSetuid adjusts capabilities after n's user ids changed from c's, so that giving
// up uid 0 gives up the capabilities too.
func (c *Cred) fixSetuid(n *Cred) {
	if c.Securebits&SecbitNoSetuidFixup != 0 {
		return
	}
	r := c.UserNS.rootUID()
	if oneOf(r, c.UID, c.EUID, c.SUID) && !oneOf(r, n.UID, n.EUID, n.SUID) {
		if c.Securebits&SecbitKeepCaps == 0 {
			n.Permitted, n.Effective = 0, 0
		}
		n.Ambient = 0
	}
	if c.EUID == r && n.EUID != r {
		n.Effective = 0
	}
	if c.EUID != r && n.EUID == r {
		n.Effective = n.Permitted
	}
}

// SetUID is setuid(2).
func (c *Cred) SetUID(id uint32) (*Cred, error) {
	k, err := c.uid(id)
	if err != nil {
		return nil, err
	}
	n := c.Clone()
	if c.canSetUID() {
		n.UID, n.SUID = k, k
	} else if k != c.UID && k != c.SUID {
		return nil, unix.EPERM
	}
	n.EUID, n.FSUID = k, k
	c.fixSetuid(n)
	return n, nil
}

// SetREUID is setreuid(2).
func (c *Cred) SetREUID(ruid, euid uint32) (*Cred, error) {
	n := c.Clone()
	priv := c.canSetUID()
	if ruid != Invalid {
		k, err := c.uid(ruid)
		if err != nil {
			return nil, err
		}
		n.UID = k
	}
	if euid != Invalid {
		k, err := c.uid(euid)
		if err != nil {
			return nil, err
		}
		n.EUID = k
	}
	if !priv && (ruid != Invalid && !oneOf(n.UID, c.UID, c.EUID) ||
		euid != Invalid && !oneOf(n.EUID, c.UID, c.EUID, c.SUID)) {
		return nil, unix.EPERM
	}
	if ruid != Invalid || euid != Invalid && n.EUID != c.UID {
		n.SUID = n.EUID
	}
	n.FSUID = n.EUID
	c.fixSetuid(n)
	return n, nil
}

// SetRESUID is setresuid(2).
func (c *Cred) SetRESUID(ruid, euid, suid uint32) (*Cred, error) {
	n := c.Clone()
	for _, s := range []struct {
		id uint32
		to *KUID
	}{{ruid, &n.UID}, {euid, &n.EUID}, {suid, &n.SUID}} {
		if s.id == Invalid {
			continue
		}
		k, err := c.uid(s.id)
		if err != nil {
			return nil, err
		}
		*s.to = k
	}
	if !c.canSetUID() {
		for _, k := range []KUID{n.UID, n.EUID, n.SUID} {
			if !oneOf(k, c.UID, c.EUID, c.SUID) {
				return nil, unix.EPERM
			}
		}
	}
	n.FSUID = n.EUID
	c.fixSetuid(n)
	return n, nil
}

// SetFSUID is setfsuid(2), which has no errors: c is returned when it may not.
func (c *Cred) SetFSUID(id uint32) *Cred {
	k := c.UserNS.MapUIDToKernel(id)
	if k == Invalid || k == c.FSUID ||
		!oneOf(k, c.UID, c.EUID, c.SUID) && !c.canSetUID() {
		return c
	}
	n := c.Clone()
	n.FSUID = k
	if c.Securebits&SecbitNoSetuidFixup == 0 {
		r := c.UserNS.rootUID()
		if c.FSUID == r && k != r {
			n.Effective &^= fsCaps
		}
		if c.FSUID != r && k == r {
			n.Effective |= fsCaps & n.Permitted
		}
	}
	return n
}

// SetGID is setgid(2).
func (c *Cred) SetGID(id uint32) (*Cred, error) {
	k, err := c.gid(id)
	if err != nil {
		return nil, err
	}
	n := c.Clone()
	if c.canSetGID() {
		n.GID, n.SGID = k, k
	} else if k != c.GID && k != c.SGID {
		return nil, unix.EPERM
	}
	n.EGID, n.FSGID = k, k
	return n, nil
}

// SetREGID is setregid(2).
func (c *Cred) SetREGID(rgid, egid uint32) (*Cred, error) {
	n := c.Clone()
	priv := c.canSetGID()
	if rgid != Invalid {
		k, err := c.gid(rgid)
		if err != nil {
			return nil, err
		}
		n.GID = k
	}
	if egid != Invalid {
		k, err := c.gid(egid)
		if err != nil {
			return nil, err
		}
		n.EGID = k
	}
	if !priv && (rgid != Invalid && !oneOf(n.GID, c.GID, c.EGID) ||
		egid != Invalid && !oneOf(n.EGID, c.GID, c.EGID, c.SGID)) {
		return nil, unix.EPERM
	}
	if rgid != Invalid || egid != Invalid && n.EGID != c.GID {
		n.SGID = n.EGID
	}
	n.FSGID = n.EGID
	return n, nil
}

// SetRESGID is setresgid(2).
func (c *Cred) SetRESGID(rgid, egid, sgid uint32) (*Cred, error) {
	n := c.Clone()
	for _, s := range []struct {
		id uint32
		to *KGID
	}{{rgid, &n.GID}, {egid, &n.EGID}, {sgid, &n.SGID}} {
		if s.id == Invalid {
			continue
		}
		k, err := c.gid(s.id)
		if err != nil {
			return nil, err
		}
		*s.to = k
	}
	if !c.canSetGID() {
		for _, k := range []KGID{n.GID, n.EGID, n.SGID} {
			if !oneOf(k, c.GID, c.EGID, c.SGID) {
				return nil, unix.EPERM
			}
		}
	}
	n.FSGID = n.EGID
	return n, nil
}

// SetFSGID is setfsgid(2): c is returned when it may not.
func (c *Cred) SetFSGID(id uint32) *Cred {
	k := c.UserNS.MapGIDToKernel(id)
	if k == Invalid || k == c.FSGID ||
		!oneOf(k, c.GID, c.EGID, c.SGID) && !c.canSetGID() {
		return c
	}
	n := c.Clone()
	n.FSGID = k
	return n
}

// MaySetGroups tells whether setgroups(2) is allowed at all; it is looked at before
// the arguments are.
func (c *Cred) MaySetGroups() bool { return c.canSetGID() && c.UserNS.MaySetGroups() }

// SetGroups is setgroups(2).
func (c *Cred) SetGroups(ids []uint32) (*Cred, error) {
	if !c.MaySetGroups() {
		return nil, unix.EPERM
	}
	if len(ids) > NGroupsMax {
		return nil, unix.EINVAL
	}
	groups := make([]KGID, len(ids))
	for i, id := range ids {
		k, err := c.gid(id)
		if err != nil {
			return nil, err
		}
		groups[i] = k
	}
	n := c.Clone()
	n.Groups = sortedGroups(groups)
	return n, nil
}
