package cred

import (
	"slices"

	"golang.org/x/sys/unix"
)

// KUID and KGID are user and group ids of the initial user namespace.
type (
	KUID = uint32
	KGID = uint32
)

// Invalid is the id that stands for none; -1 in system calls' arguments.
const Invalid = ^uint32(0)

// Overflow is the id that unmapped ids are shown as (/proc/sys/kernel/overflowuid).
const Overflow = 65534

// NGroupsMax is how many supplementary groups there may be.
const NGroupsMax = 65536

// Cred is a task's or an open file's credentials (Linux: struct cred). Never change
// one that others can see; Clone it.
type Cred struct {
	UID, EUID, SUID, FSUID KUID
	GID, EGID, SGID, FSGID KGID
	Groups                 []KGID // sorted; shared between copies, never changed in place

	Permitted, Inheritable, Effective, Bounding, Ambient CapSet

	Securebits uint32
	UserNS     *UserNamespace
}

// root is what Root returns.
var root = &Cred{
	Permitted: AllCaps, Effective: AllCaps, Bounding: AllCaps,
	UserNS: initUserNS,
}

// Root returns the credentials of the kernel and of the first process: uid 0 with
// all capabilities in the initial user namespace.
func Root() *Cred { return root }

// New returns credentials with all user ids uid and all group ids gid, in ns;
// with all capabilities if uid is ns's root, with none otherwise.
func New(ns *UserNamespace, uid KUID, gid KGID, groups []KGID) *Cred {
	c := &Cred{
		UID: uid, EUID: uid, SUID: uid, FSUID: uid,
		GID: gid, EGID: gid, SGID: gid, FSGID: gid,
		Groups:   sortedGroups(groups),
		Bounding: AllCaps,
		UserNS:   ns,
	}
	if uid == ns.rootUID() {
		c.Permitted, c.Effective = AllCaps, AllCaps
	}
	return c
}

func sortedGroups(g []KGID) []KGID {
	g = slices.Clone(g)
	slices.Sort(g)
	return g
}

// Clone returns a copy to edit. Groups is shared: replace it, do not change it.
func (c *Cred) Clone() *Cred {
	n := *c
	return &n
}

// Has tells whether c has the capability in its own user namespace.
func (c *Cred) Has(cap int) bool { return c.Effective.Has(cap) }

// HasIn tells whether c has the capability in ns: it does when its namespace is ns or an
// ancestor of it and the capability is effective, or when it owns ns or one of the
// ancestors of ns directly below its own namespace. Linux: ns_capable.
func (c *Cred) HasIn(ns *UserNamespace, cap int) bool {
	for {
		if ns == c.UserNS {
			return c.Effective.Has(cap)
		}
		if ns.level <= c.UserNS.level {
			return false
		}
		if ns.parent == c.UserNS && ns.owner == c.EUID {
			return true
		}
		ns = ns.parent
	}
}

// HasInitial tells whether c has the capability in the initial user namespace
// (Linux: capable), as privileges over the whole system need.
func (c *Cred) HasInitial(cap int) bool { return c.UserNS == initUserNS && c.Effective.Has(cap) }

// HasWRTInode tells whether c has the capability over an inode of the given owner: both
// ids must be mapped in c's namespace. Linux: capable_wrt_inode_uidgid.
func (c *Cred) HasWRTInode(uid KUID, gid KGID, cap int) bool {
	if !c.Effective.Has(cap) {
		return false
	}
	ns := c.UserNS
	return ns == initUserNS || ns.MapUIDFromKernel(uid) != Invalid && ns.MapGIDFromKernel(gid) != Invalid
}

// InGroup tells whether g is the file system group or a supplementary group.
func (c *Cred) InGroup(g KGID) bool { return g == c.FSGID || c.inGroups(g) }

// InEGroup tells whether g is the effective group or a supplementary group.
func (c *Cred) InEGroup(g KGID) bool { return g == c.EGID || c.inGroups(g) }

func (c *Cred) inGroups(g KGID) bool {
	_, ok := slices.BinarySearch(c.Groups, g)
	return ok
}

// Equal tells whether both give the same rights.
func (c *Cred) Equal(o *Cred) bool {
	if c == o {
		return true
	}
	return c.UID == o.UID && c.EUID == o.EUID && c.SUID == o.SUID && c.FSUID == o.FSUID &&
		c.GID == o.GID && c.EGID == o.EGID && c.SGID == o.SGID && c.FSGID == o.FSGID &&
		slices.Equal(c.Groups, o.Groups) &&
		c.Permitted == o.Permitted && c.Inheritable == o.Inheritable && c.Effective == o.Effective &&
		c.Bounding == o.Bounding && c.Ambient == o.Ambient &&
		c.Securebits == o.Securebits && c.UserNS == o.UserNS
}

// CapIsSubset tells whether c's permitted capabilities contain those of o, where c's
// namespace is o's or an ancestor (Linux: cred_cap_issubset; exec's dumpable decision).
func (c *Cred) CapIsSubset(o *Cred) bool {
	ns := o.UserNS
	if c.UserNS == ns && o.Permitted&^c.Permitted == 0 {
		return true
	}
	for ; ns.parent != nil; ns = ns.parent {
		if ns.parent == c.UserNS && ns.owner == c.EUID {
			return true
		}
	}
	return false
}

// InNamespace tells whether c lives in ns or below it.
func (c *Cred) InNamespace(ns *UserNamespace) bool { return c.UserNS.IsDescendantOf(ns) }

// WithFS returns the credentials that access(2) and the like use: the real ids as the file
// system ids, and the capabilities that a process with these real ids would have.
func (c *Cred) WithFS() *Cred {
	n := c.Clone()
	n.FSUID, n.FSGID = c.UID, c.GID
	if c.Securebits&SecbitNoSetuidFixup == 0 {
		if c.UID == c.UserNS.rootUID() {
			n.Effective = n.Permitted
		} else {
			n.Effective = 0
		}
	}
	return n
}

// SetFSIDs returns c with other file system ids, without any check.
func (c *Cred) SetFSIDs(uid KUID, gid KGID) *Cred {
	n := c.Clone()
	n.FSUID, n.FSGID = uid, gid
	return n
}

func (c *Cred) canSetUID() bool { return c.Has(unix.CAP_SETUID) }
func (c *Cred) canSetGID() bool { return c.Has(unix.CAP_SETGID) }
