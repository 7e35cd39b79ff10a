package vfs

import (
	"maps"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Flags of a mount that have no MS_ bit below MS_KERNMOUNT.
const (
	// MountNoSymFollow is MS_NOSYMFOLLOW.
	MountNoSymFollow = 0x100

	// mountFlagMask are the MS_ bits that belong to a mount and not to its file system.
	mountFlagMask = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
		unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME | MountNoSymFollow
	atimeMask = unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_STRICTATIME

	// sbFlagMask are the MS_ bits of the file system.
	sbFlagMask = unix.MS_RDONLY | unix.MS_SYNCHRONOUS | unix.MS_MANDLOCK | unix.MS_DIRSYNC |
		unix.MS_SILENT | unix.MS_LAZYTIME | unix.MS_POSIXACL
)

// What a less privileged mount namespace may not clear.
const (
	lockReadonly = 1 << iota
	lockNosuid
	lockNodev
	lockNoexec
	lockAtime
	lockMount // may not be taken off its mountpoint alone
)

// A Mount shows a file system, or a directory of it, at a place in a tree of mounts
// (Linux: struct mount). References: the tree holds one while it is attached, and
// every Path that is kept holds one.
//
// What path walk reads (loc, kids, flags) is atomic; everything below the line is
// protected by the registry's mountMu.
type Mount struct {
	SB   *Superblock // immutable
	ID   int         // immutable; reused, as in /proc/PID/mountinfo
	root *Dentry     // immutable, pinned
	reg  *Registry   // immutable
	// unique is the id that is never used again (statmount).
	unique uint64

	flags   atomic.Uint64 // mountFlagMask
	refs    atomic.Int64
	writers atomic.Int64 // open files that may write
	// expiring: umount2(MNT_EXPIRE) has been called since the mount was used last.
	expiring atomic.Bool
	loc      atomic.Pointer[mountLoc]
	kids     atomic.Pointer[map[*Dentry]*Mount]

	// ---- under reg.mountMu
	ns     *MountNamespace // nil: detached
	source string
	locked uint8

	// Propagation: the peers that events are exchanged with, and where events only come from.
	group      *peerGroup
	master     *peerGroup
	unbindable bool
}

// mountLoc is where a mount is attached; immutable.
type mountLoc struct {
	parent *Mount
	point  *Dentry // pinned
}

// newMount returns a mount of root with one reference. It takes its own references on sb and root.
func (r *Registry) newMount(sb *Superblock, root *Dentry, source string, flags uint64) *Mount {
	m := &Mount{SB: sb, root: root, reg: r, source: source,
		ID: int(r.mountID.Add(1)), unique: r.uniqueID.Add(1)}
	m.flags.Store(normalAtime(flags & mountFlagMask))
	m.refs.Store(1)
	sb.IncRef()
	root.pin()
	r.addSB(sb)
	return m
}

// normalAtime gives mounts without a choice relatime, as Linux does.
func normalAtime(f uint64) uint64 {
	if f&(unix.MS_NOATIME|unix.MS_STRICTATIME) == 0 {
		f |= unix.MS_RELATIME
	}
	if f&unix.MS_STRICTATIME != 0 {
		f &^= unix.MS_RELATIME | unix.MS_NOATIME
	}
	if f&unix.MS_NOATIME != 0 {
		f &^= unix.MS_RELATIME
	}
	return f
}

// Root is the directory that the mount shows.
func (m *Mount) Root() *Dentry { return m.root }

// Path is the mount's root, without a reference.
func (m *Mount) Path() Path { return Path{m, m.root} }

// Flags are the mount's own MS_* flags.
func (m *Mount) Flags() uint64 { return m.flags.Load() }

// Registry is the sandbox's registry.
func (m *Mount) Registry() *Registry { return m.reg }

// UniqueID is the id that is never used again.
func (m *Mount) UniqueID() uint64 { return m.unique }

// Parent is the mount it is attached to, or nil.
func (m *Mount) Parent() *Mount {
	if l := m.loc.Load(); l != nil {
		return l.parent
	}
	return nil
}

// Mountpoint is the place it is attached at, without a reference; the zero Path if nowhere.
func (m *Mount) Mountpoint() Path {
	if l := m.loc.Load(); l != nil {
		return Path{l.parent, l.point}
	}
	return Path{}
}

// ReadOnly tells whether nothing may be changed through m.
func (m *Mount) ReadOnly() bool {
	return m.flags.Load()&unix.MS_RDONLY != 0 || m.SB.ReadOnly()
}

// NoExec and NoSUID ask for the flags; a nil mount has none.
func (m *Mount) NoExec() bool { return m != nil && m.flags.Load()&unix.MS_NOEXEC != 0 }

// NoSUID also holds for mounts that belong to a user namespace the caller is not in: exec checks that.
func (m *Mount) NoSUID() bool { return m != nil && m.flags.Load()&unix.MS_NOSUID != 0 }

// WantWrite is EROFS if nothing may be changed through p.
func (p Path) WantWrite() error {
	if p.Mount != nil && p.Mount.ReadOnly() {
		return unix.EROFS
	}
	return nil
}

// IncRef takes another reference; the caller has one.
func (m *Mount) IncRef() { m.refs.Add(1) }

func (m *Mount) tryIncRef() bool {
	for {
		n := m.refs.Load()
		if n <= 0 {
			return false
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// DecRef drops a reference; with the last one the file system is released. It takes
// no mount lock: a mount in a tree has a reference.
func (m *Mount) DecRef() {
	if m.expiring.Load() {
		m.expiring.Store(false)
	}
	m.put()
}

// put is DecRef for who has not used the mount: umount itself.
func (m *Mount) put() {
	switch n := m.refs.Add(-1); {
	case n == 0:
		m.root.unpin()
		m.reg.dropSB(m.SB)
		m.SB.DecRef()
	case n < 0:
		panic("vfs: mount reference dropped twice")
	}
}

// childAt is the mount attached at d, or nil.
func (m *Mount) childAt(d *Dentry) *Mount {
	if k := m.kids.Load(); k != nil {
		return (*k)[d]
	}
	return nil
}

// attach puts m at point of parent, with reg.mountMu held.
func (m *Mount) attach(parent *Mount, point *Dentry) {
	point.pin()
	point.mounted.Add(1)
	parent.setKid(point, m)
	m.loc.Store(&mountLoc{parent, point})
	m.reg.mounts[m] = struct{}{}
	m.reg.mountSeq.Add(1)
}

// detach takes m off its mountpoint, with reg.mountMu held.
func (m *Mount) detach() {
	loc := m.loc.Load()
	if loc == nil {
		return
	}
	loc.parent.setKid(loc.point, nil)
	m.loc.Store(nil)
	delete(m.reg.mounts, m)
	loc.point.mounted.Add(-1)
	loc.point.unpin()
	m.reg.mountSeq.Add(1)
}

func (m *Mount) setKid(d *Dentry, c *Mount) {
	n := make(map[*Dentry]*Mount)
	if k := m.kids.Load(); k != nil {
		maps.Copy(n, *k)
	}
	if c == nil {
		delete(n, d)
	} else {
		n[d] = c
	}
	m.kids.Store(&n)
}

// children are the mounts attached to m, in the order of their ids.
func (m *Mount) children() []*Mount {
	k := m.kids.Load()
	if k == nil || len(*k) == 0 {
		return nil
	}
	out := make([]*Mount, 0, len(*k))
	for _, c := range *k {
		out = append(out, c)
	}
	sortMounts(out)
	return out
}

// tree is m and everything beneath it, parents first.
func (m *Mount) tree() []*Mount {
	out := []*Mount{m}
	for i := 0; i < len(out); i++ {
		out = append(out, out[i].children()...)
	}
	return out
}

// isBelow tells whether m is top or beneath it.
func (m *Mount) isBelow(top *Mount) bool {
	for ; m != nil; m = m.Parent() {
		if m == top {
			return true
		}
	}
	return false
}
