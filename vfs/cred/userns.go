package cred

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MaxLevel is how deep user namespaces nest.
const MaxLevel = 32

// Namespaces counted against limits (/proc/sys/user/max_*).
type Count int

const (
	CountUserNS Count = iota
	CountPIDNS
	CountUTSNS
	CountIPCNS
	CountNetNS
	CountMountNS
	CountCgroupNS
	CountTimeNS
	CountInotifyInstances
	CountInotifyWatches
	NumCounts
)

// defaultLimits of the initial namespace, as Linux has them on a machine of some GiB.
var defaultLimits = [NumCounts]int64{
	CountUserNS: 31000, CountPIDNS: 31000, CountUTSNS: 31000, CountIPCNS: 31000, CountNetNS: 31000,
	CountMountNS: 31000, CountCgroupNS: 31000, CountTimeNS: 31000,
	CountInotifyInstances: 128, CountInotifyWatches: 65536,
}

// UserNamespace is a user namespace.
type UserNamespace struct {
	// Immutable.
	parent *UserNamespace
	level  int
	owner  KUID
	group  KGID
	// parentCouldSetFCap: the creator had CAP_SETFCAP, so it may map the parent's uid 0.
	parentCouldSetFCap bool

	// The maps are nil until written, then never change. Writers hold mapsMu.
	uids, gids atomic.Pointer[idMap]
	// setgroupsDenied is what /proc/PID/setgroups says; changed under mapsMu.
	setgroupsDenied atomic.Bool

	// ID is for the sentry: the inode number of /proc/PID/ns/user. Set once after creation.
	ID uint64

	// countsMu protects counts and limits.
	countsMu sync.Mutex
	counts   map[KUID]*[NumCounts]int64
	limits   [NumCounts]int64
}

// mapsMu serializes writes of maps (Linux: userns_state_mutex).
var mapsMu sync.Mutex

var initUserNS = newInitUserNS()

func newInitUserNS() *UserNamespace {
	ns := &UserNamespace{limits: defaultLimits}
	all := &idMap{extents: []extent{{0, 0, 0, Invalid}}, identity: true}
	ns.uids.Store(all)
	ns.gids.Store(all)
	return ns
}

// InitUserNS is the initial user namespace.
func InitUserNS() *UserNamespace { return initUserNS }

// Parent is the namespace above; nil for the initial one.
func (ns *UserNamespace) Parent() *UserNamespace { return ns.parent }

// Level is 0 for the initial namespace.
func (ns *UserNamespace) Level() int { return ns.level }

// Owner is the effective user id of the creator.
func (ns *UserNamespace) Owner() KUID { return ns.owner }

// Group is the effective group id of the creator.
func (ns *UserNamespace) Group() KGID { return ns.group }

// IsDescendantOf tells whether ns is a or below it.
func (ns *UserNamespace) IsDescendantOf(a *UserNamespace) bool {
	for ns.level > a.level {
		ns = ns.parent
	}
	return ns == a
}

// NewUserNS makes a user namespace below c's (CLONE_NEWUSER), and the credentials that
// its creator has in it. The caller checks that it is not in a chroot.
func (c *Cred) NewUserNS() (*UserNamespace, *Cred, error) {
	p := c.UserNS
	if p.level >= MaxLevel {
		return nil, nil, unix.ENOSPC
	}
	if p.MapUIDFromKernel(c.EUID) == Invalid || p.MapGIDFromKernel(c.EGID) == Invalid {
		return nil, nil, unix.EPERM
	}
	if err := p.Charge(c.EUID, CountUserNS, 1); err != nil {
		return nil, nil, err
	}
	ns := &UserNamespace{
		parent: p, level: p.level + 1, owner: c.EUID, group: c.EGID,
		parentCouldSetFCap: c.Has(unix.CAP_SETFCAP),
	}
	for i := range ns.limits {
		ns.limits[i] = 1<<31 - 1
	}
	mapsMu.Lock()
	ns.setgroupsDenied.Store(p.setgroupsDenied.Load())
	mapsMu.Unlock()
	return ns, c.In(ns), nil
}

// Release gives back what the namespace counted for; the sentry calls it when the last task
// and file of it have gone.
func (ns *UserNamespace) Release() {
	if ns.parent != nil {
		ns.parent.Uncharge(ns.owner, CountUserNS, 1)
	}
}

// In returns the credentials of a task that enters ns: the same ids, all capabilities in ns.
func (c *Cred) In(ns *UserNamespace) *Cred {
	n := c.Clone()
	n.Securebits = 0
	n.Inheritable, n.Ambient = 0, 0
	n.Permitted, n.Effective, n.Bounding = AllCaps, AllCaps, AllCaps
	n.UserNS = ns
	return n
}

// SetNS is setns(2) on a user namespace: EINVAL for the own one, EPERM without CAP_SYS_ADMIN in it.
// The caller checks that the task is single-threaded and shares no fs_struct.
func (c *Cred) SetNS(ns *UserNamespace) (*Cred, error) {
	if ns == c.UserNS {
		return nil, unix.EINVAL
	}
	if !c.HasIn(ns, unix.CAP_SYS_ADMIN) {
		return nil, unix.EPERM
	}
	return c.In(ns), nil
}

// Charge counts n things of kind k for a user of ns, there and for the owners of the
// namespaces above. ENOSPC over a limit.
func (ns *UserNamespace) Charge(uid KUID, k Count, n int64) error {
	for at, u := ns, uid; at != nil; at, u = at.parent, at.owner {
		if !at.charge(u, k, n) {
			for undo, u := ns, uid; undo != at; undo, u = undo.parent, undo.owner {
				undo.charge(u, k, -n)
			}
			return unix.ENOSPC
		}
	}
	return nil
}

// Uncharge undoes Charge.
func (ns *UserNamespace) Uncharge(uid KUID, k Count, n int64) {
	for at, u := ns, uid; at != nil; at, u = at.parent, at.owner {
		at.charge(u, k, -n)
	}
}

func (ns *UserNamespace) charge(uid KUID, k Count, n int64) bool {
	ns.countsMu.Lock()
	defer ns.countsMu.Unlock()
	c := ns.counts[uid]
	if c == nil {
		if ns.counts == nil {
			ns.counts = make(map[KUID]*[NumCounts]int64)
		}
		c = new([NumCounts]int64)
		ns.counts[uid] = c
	}
	if n > 0 && c[k]+n > ns.limits[k] {
		return false
	}
	c[k] += n
	if *c == [NumCounts]int64{} {
		delete(ns.counts, uid)
	}
	return true
}

// Limit and SetLimit are /proc/sys/user/max_*.
func (ns *UserNamespace) Limit(k Count) int64 {
	ns.countsMu.Lock()
	defer ns.countsMu.Unlock()
	return ns.limits[k]
}

// SetLimit changes a limit; it may be below what is in use.
func (ns *UserNamespace) SetLimit(k Count, n int64) {
	ns.countsMu.Lock()
	ns.limits[k] = n
	ns.countsMu.Unlock()
}

// rootUID is the kernel id of the namespace's uid 0; Invalid if it has none.
func (ns *UserNamespace) rootUID() KUID { return ns.MapUIDToKernel(0) }

// RootUID is the kernel id of uid 0 of ns, Invalid if it is not mapped.
func (ns *UserNamespace) RootUID() KUID { return ns.rootUID() }

// RootGID is the kernel id of gid 0 of ns, Invalid if it is not mapped.
func (ns *UserNamespace) RootGID() KGID { return ns.MapGIDToKernel(0) }

// ownedByRoot tells whether kernel id k is root of ns or of one of its ancestors.
func (ns *UserNamespace) ownedByRoot(k KUID) bool {
	for ; ns != nil; ns = ns.parent {
		if ns.MapUIDFromKernel(k) == 0 {
			return true
		}
	}
	return false
}
