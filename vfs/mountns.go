package vfs

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// A MountNamespace is a tree of mounts (Linux: struct mnt_namespace). It notifies
// EPOLLPRI|EPOLLERR when the tree changes, which pollers of /proc/PID/mounts see.
type MountNamespace struct {
	waitq.Queue
	// UserNS owns the namespace: CAP_SYS_ADMIN there is what changes need. Immutable.
	UserNS *cred.UserNamespace
	// ID is the inode number of /proc/PID/ns/mnt. Set once.
	ID uint64

	reg  *Registry
	refs atomic.Int64
	seq  atomic.Uint64

	// Under reg.mountMu.
	root  *Mount
	count int
	anon  bool // holds a detached tree (open_tree, fsmount)
}

var flagLocks = []struct {
	flag uint64
	lock uint8
}{
	{unix.MS_RDONLY, lockReadonly}, {unix.MS_NOSUID, lockNosuid},
	{unix.MS_NODEV, lockNodev}, {unix.MS_NOEXEC, lockNoexec},
}

// NewMountNamespace makes a namespace whose root is sb, mounted with flags (MS_*). It
// takes its own reference on sb; the namespace has one reference.
func NewMountNamespace(reg *Registry, userns *cred.UserNamespace, sb *Superblock, flags uint64) *MountNamespace {
	ns := &MountNamespace{reg: reg, UserNS: userns, ID: reg.nsIno.Add(1)}
	ns.refs.Store(1)
	ns.root = reg.newMount(sb, sb.Root, sb.Source, flags)
	ns.root.ns = ns
	ns.count = 1
	return ns
}

// Registry is the sandbox's registry.
func (ns *MountNamespace) Registry() *Registry { return ns.reg }

// Root is the root directory of the namespace, with what is mounted on it, without a reference.
func (ns *MountNamespace) Root() Path {
	ns.reg.mountMu.RLock()
	m := ns.root
	ns.reg.mountMu.RUnlock()
	if m == nil {
		return Path{}
	}
	return followMounts(Path{m, m.root})
}

// Seq changes with every change of the tree.
func (ns *MountNamespace) Seq() uint64 { return ns.seq.Load() }

// IncRef shares the namespace with a further task or file.
func (ns *MountNamespace) IncRef() { ns.refs.Add(1) }

// DecRef drops a reference; with the last all mounts go.
func (ns *MountNamespace) DecRef() {
	if ns.refs.Add(-1) != 0 {
		return
	}
	ns.reg.mountMu.Lock()
	var gone []*Mount
	if ns.root != nil {
		gone = ns.reg.umountTree(ns.root, false)
		ns.root = nil
	}
	ns.reg.mountMu.Unlock()
	release(gone)
}

// changed tells pollers; with mountMu held.
func (ns *MountNamespace) changed() {
	ns.seq.Add(1)
	ns.Notify(waitq.Pri | waitq.Err)
}

func release(ms []*Mount) {
	for _, m := range ms {
		m.DecRef()
	}
}

// mayMount: CAP_SYS_ADMIN in the namespace's owner.
func (ns *MountNamespace) mayMount(ctx Context) error {
	if !ctx.Cred().HasIn(ns.UserNS, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	return nil
}

// Clone copies the namespace (CLONE_NEWNS). fs, if not nil, has root and working directory
// in the old namespace, and gets the same places in the new one.
func (ns *MountNamespace) Clone(ctx Context, userns *cred.UserNamespace, fs *FSContext) (*MountNamespace, error) {
	n := &MountNamespace{reg: ns.reg, UserNS: userns, ID: ns.reg.nsIno.Add(1)}
	n.refs.Store(1)
	ns.reg.mountMu.Lock()
	if ns.root == nil {
		ns.reg.mountMu.Unlock()
		return nil, unix.EINVAL
	}
	mode := copyPlain
	if userns != ns.UserNS {
		mode = copySlave
	}
	n.root = ns.root.copyTree(ns.root.root, mode, nil)
	all := n.root.tree()
	same := make(map[*Mount]*Mount, len(all))
	matchTrees(ns.root, n.root, same)
	for _, m := range all {
		m.ns = n
		if userns != ns.UserNS {
			m.lockFlags()
			if m != n.root {
				m.locked |= lockMount
			}
		}
	}
	n.count = len(all)
	ns.reg.mountMu.Unlock()
	if fs != nil {
		fs.ReplacePaths(func(p Path) Path {
			if m := same[p.Mount]; m != nil {
				p.Mount = m
			}
			return p
		})
	}
	return n, nil
}

// matchTrees pairs the mounts of a tree with those of its copy.
func matchTrees(a, b *Mount, same map[*Mount]*Mount) {
	same[a] = b
	for _, k := range a.children() {
		if kb := b.childAt(k.loc.Load().point); kb != nil {
			matchTrees(k, kb, same)
		}
	}
}

// lockPoint finds where a mount on p goes, the top of what is mounted there, and keeps it
// from being removed. It returns with mountMu held; done releases everything.
func (ns *MountNamespace) lockPoint(p Path) (top Path, done func(), err error) {
	for {
		top = followMounts(p)
		i := top.Inode()
		if i == nil || !top.TryIncRef() {
			return top, nil, unix.ENOENT
		}
		i.DirMu.Lock()
		if top.Dentry.has(dCantMount|dDeadDir) || i.NoMount {
			i.DirMu.Unlock()
			top.DecRef()
			return top, nil, unix.ENOENT
		}
		ns.reg.mountMu.Lock()
		if followMounts(top) == top {
			return top, func() {
				ns.reg.mountMu.Unlock()
				i.DirMu.Unlock()
				top.DecRef()
			}, nil
		}
		ns.reg.mountMu.Unlock()
		i.DirMu.Unlock()
		top.DecRef()
	}
}

// graftLocked attaches the tree m at top, for bind and new mounts. The mount lock and top's DirMu are held.
func (ns *MountNamespace) graftLocked(m *Mount, top Path) error {
	switch {
	case top.Mount == nil || top.Mount.ns != ns:
		return unix.EINVAL
	case m.root.Inode().IsSymlink():
		return unix.EINVAL
	case m.root.Inode().IsDir() != top.Inode().IsDir():
		return unix.ENOTDIR
	case ns.count+len(m.tree()) > int(ns.reg.MountMax.Load()):
		return unix.ENOSPC
	}
	return ns.attachRecursive(m, top.Mount, top.Dentry, false)
}

// MountSB mounts an existing file system at a place: for the sentry's set-up, and the end of mount(2).
// It takes its own reference on sb.
func (ns *MountNamespace) MountSB(ctx Context, sb *Superblock, at Path, flags uint64) (*Mount, error) {
	m := ns.reg.newMount(sb, sb.Root, sb.Source, flags)
	top, done, err := ns.lockPoint(at)
	if err != nil {
		m.DecRef()
		return nil, err
	}
	if top.Mount != nil && top.Mount.SB == sb && top.Dentry == top.Mount.root {
		err = unix.EBUSY
	} else {
		err = ns.graftLocked(m, top)
	}
	done()
	if err != nil {
		m.DecRef()
		return nil, err
	}
	return m, nil
}

// newSB makes the file system for a mount of the given type.
func (ns *MountNamespace) newSB(ctx Context, fstype, source string, sbFlags uint64, data string) (*Superblock, error) {
	t := ns.reg.Lookup(fstype)
	if t == nil {
		return nil, unix.ENODEV
	}
	c := ctx.Cred()
	if t.UserNS {
		if !c.HasIn(c.UserNS, unix.CAP_SYS_ADMIN) {
			return nil, unix.EPERM
		}
	} else if !c.HasInitial(unix.CAP_SYS_ADMIN) {
		return nil, unix.EPERM
	}
	sb, err := t.Mount(ctx, source, sbFlags, data)
	if err != nil {
		return nil, err
	}
	if sb.refs.Load() == 1 { // new, not one that is mounted elsewhere
		if sb.UserNS == nil {
			sb.UserNS = c.UserNS
		}
		if sb.flags.Load() == 0 {
			sb.flags.Store(sbFlags)
		}
	}
	if sb.Root == nil {
		sb.DecRef()
		return nil, unix.EINVAL
	}
	return sb, nil
}

// Mount makes a file system of the given type and mounts it.
func (ns *MountNamespace) Mount(ctx Context, fstype, source string, at Path, flags uint64, data string) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	if fstype == "" {
		return unix.EINVAL
	}
	sb, err := ns.newSB(ctx, fstype, source, flags&sbFlagMask&^unix.MS_SILENT, data)
	if err != nil {
		return err
	}
	defer sb.DecRef()
	m := ns.reg.newMount(sb, sb.Root, source, flags)
	top, done, err := ns.lockPoint(at)
	if err != nil {
		m.DecRef()
		return err
	}
	if top.Mount != nil && top.Mount.SB == sb && top.Dentry == top.Mount.root {
		err = unix.EBUSY
	} else {
		err = ns.graftLocked(m, top)
	}
	done()
	if err != nil {
		m.DecRef()
	}
	return err
}

// hasLockedKids tells whether something beneath d in m may not be left out of a copy.
func (m *Mount) hasLockedKids(d *Dentry) bool {
	for _, k := range m.children() {
		if k.locked&lockMount != 0 && k.loc.Load().point.isUnder(d) {
			return true
		}
	}
	return false
}

// cloneForBind copies what is at from, for bind mounts and open_tree; with mountMu held.
func (ns *MountNamespace) cloneForBind(from Path, recursive bool) (*Mount, error) {
	m := from.Mount
	if m == nil || m.unbindable || m.ns == nil || m.ns != ns && !m.ns.anon {
		return nil, unix.EINVAL
	}
	if !recursive {
		if m.hasLockedKids(from.Dentry) {
			return nil, unix.EINVAL
		}
		return m.clone(from.Dentry, copyPlain), nil
	}
	return m.copyTree(from.Dentry, copyPlain, func(k *Mount) bool {
		return k.unbindable && k.locked&lockMount == 0
	}), nil
}

// BindMount shows what is at from also at at (MS_BIND, with recursive MS_REC).
func (ns *MountNamespace) BindMount(ctx Context, from, at Path, recursive bool) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	top, done, err := ns.lockPoint(at)
	if err != nil {
		return err
	}
	var m *Mount
	if top.Mount == nil || top.Mount.ns != ns {
		err = unix.EINVAL
	} else if m, err = ns.cloneForBind(from, recursive); err == nil {
		if err = ns.graftLocked(m, top); err != nil {
			defer release(m.discard())
		}
	}
	done()
	return err
}

// Move moves a mount (MS_MOVE).
func (ns *MountNamespace) Move(ctx Context, from, at Path) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	top, done, err := ns.lockPoint(at)
	if err != nil {
		return err
	}
	defer done()
	return ns.moveLocked(from, top, false)
}

// moveLocked moves the mount whose root is from to top. detachedOK: it may be the root of a detached tree.
func (ns *MountNamespace) moveLocked(from, top Path, detachedOK bool) error {
	m := from.Mount
	if m == nil || top.Mount == nil || from.Dentry != m.root || top.Mount.ns != ns {
		return unix.EINVAL
	}
	parent := m.Parent()
	attached := parent != nil
	switch {
	case m.ns == nil:
		return unix.EINVAL
	case m.ns != ns && !(m.ns.anon && detachedOK):
		return unix.EINVAL
	case !attached && !(m.ns.anon && m.ns.root == m):
		return unix.EINVAL
	case m.locked&lockMount != 0:
		return unix.EINVAL
	case m.root.Inode().IsDir() != top.Inode().IsDir():
		if m.root.Inode().IsDir() {
			return unix.ENOTDIR
		}
		return unix.EINVAL
	case attached && parent.group != nil:
		return unix.EINVAL
	}
	if top.Mount.group != nil {
		for _, x := range m.tree() {
			if x.unbindable {
				return unix.EINVAL
			}
		}
	}
	if top.Mount.isBelow(m) {
		return unix.ELOOP
	}
	old := m.ns
	if err := ns.attachRecursive(m, top.Mount, top.Dentry, attached); err != nil {
		return err
	}
	if old.anon && old.root == m {
		old.root = nil
	}
	ns.changed()
	return nil
}

// lockedFlagsOK tells whether flags f may replace m's: a less privileged namespace may not
// clear what was set when it got the mount.
func (r *Registry) lockedFlagsOK(m *Mount, f uint64) bool {
	old := m.flags.Load()
	for _, x := range flagLocks {
		if m.locked&x.lock != 0 && old&x.flag != 0 && f&x.flag == 0 {
			return false
		}
	}
	return m.locked&lockAtime == 0 || old&atimeMask == f&atimeMask
}

// keepAtime: a remount that says nothing about access times leaves them as they are.
func keepAtime(old, flags uint64) uint64 {
	f := flags & mountFlagMask
	if flags&atimeMask == 0 {
		return f | old&atimeMask
	}
	return normalAtime(f)
}

// RemountBind changes the flags of the mount only (MS_REMOUNT|MS_BIND).
func (ns *MountNamespace) RemountBind(ctx Context, at Path, flags uint64) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	ns.reg.mountMu.Lock()
	defer ns.reg.mountMu.Unlock()
	m := at.Mount
	if m == nil || m.ns != ns || at.Dentry != m.root {
		return unix.EINVAL
	}
	f := keepAtime(m.flags.Load(), flags)
	if !ns.reg.lockedFlagsOK(m, f) {
		return unix.EPERM
	}
	if f&unix.MS_RDONLY != 0 && m.flags.Load()&unix.MS_RDONLY == 0 && m.writers.Load() > 0 {
		return unix.EBUSY
	}
	m.flags.Store(f)
	ns.changed()
	return nil
}

// Remount changes the file system's flags and options and the mount's flags (MS_REMOUNT).
func (ns *MountNamespace) Remount(ctx Context, at Path, flags uint64, data string) error {
	m := at.Mount
	if m == nil || at.Dentry != m.root {
		return unix.EINVAL
	}
	ns.reg.mountMu.RLock()
	mine := m.ns == ns
	f := keepAtime(m.flags.Load(), flags)
	ok := ns.reg.lockedFlagsOK(m, f)
	ns.reg.mountMu.RUnlock()
	if !mine {
		return unix.EINVAL
	}
	if !ok {
		return unix.EPERM
	}
	if err := reconfigure(ctx, m.SB, flags&sbFlagMask, sbFlagMask, data); err != nil {
		return err
	}
	ns.reg.mountMu.Lock()
	m.flags.Store(f)
	ns.changed()
	ns.reg.mountMu.Unlock()
	return nil
}

// reconfigure changes a file system's flags (those in mask) and options.
func reconfigure(ctx Context, sb *Superblock, flags, mask uint64, data string) error {
	userns := sb.UserNS
	if userns == nil {
		userns = cred.InitUserNS()
	}
	if !ctx.Cred().HasIn(userns, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	n := sb.Flags()&^mask | flags&mask
	n &^= unix.MS_SILENT
	if n&unix.MS_RDONLY != 0 && !sb.ReadOnly() && sb.writers.Load() > 0 {
		return unix.EBUSY
	}
	if sb.Type != nil && sb.Type.Reconfigure != nil {
		if err := sb.Type.Reconfigure(ctx, sb, n, data); err != nil {
			return err
		}
	}
	sb.SetFlags(n)
	return nil
}

// SetPropagation is MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, with MS_REC for all beneath.
func (ns *MountNamespace) SetPropagation(ctx Context, at Path, flags uint64) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	kind := flags &^ (unix.MS_REC | unix.MS_SILENT)
	switch kind {
	case unix.MS_SHARED, unix.MS_PRIVATE, unix.MS_SLAVE, unix.MS_UNBINDABLE:
	default:
		return unix.EINVAL
	}
	ns.reg.mountMu.Lock()
	defer ns.reg.mountMu.Unlock()
	m := at.Mount
	if m == nil || at.Dentry != m.root || m.ns != ns {
		return unix.EINVAL
	}
	all := []*Mount{m}
	if flags&unix.MS_REC != 0 {
		all = m.tree()
	}
	for _, x := range all {
		x.setPropagation(kind)
	}
	ns.changed()
	return nil
}

func (m *Mount) setPropagation(kind uint64) {
	switch kind {
	case unix.MS_SHARED:
		m.makeShared()
	case unix.MS_PRIVATE:
		m.makePrivate(false)
	case unix.MS_SLAVE:
		m.makeSlave()
	case unix.MS_UNBINDABLE:
		m.makePrivate(true)
	}
}

// Umount takes the mount at's root away: flags are MNT_FORCE, MNT_DETACH, MNT_EXPIRE. The caller
// holds one reference on at.
func (ns *MountNamespace) Umount(ctx Context, at Path, flags int) error {
	if flags&^(unix.MNT_FORCE|unix.MNT_DETACH|unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW) != 0 {
		return unix.EINVAL
	}
	m := at.Mount
	if m == nil || at.Dentry != m.root {
		return unix.EINVAL
	}
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	ns.reg.mountMu.Lock()
	gone, err := ns.umountLocked(ctx, m, flags)
	ns.reg.mountMu.Unlock()
	release(gone)
	return err
}

func (ns *MountNamespace) umountLocked(ctx Context, m *Mount, flags int) ([]*Mount, error) {
	if m.ns != ns || m.locked&lockMount != 0 {
		return nil, unix.EINVAL
	}
	if flags&unix.MNT_FORCE != 0 && !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return nil, unix.EPERM
	}
	isRoot := m == rootOf(ctx, m.Path()).Mount
	if flags&unix.MNT_EXPIRE != 0 {
		if isRoot || flags&(unix.MNT_FORCE|unix.MNT_DETACH) != 0 {
			return nil, unix.EINVAL
		}
		if m.busy() {
			return nil, unix.EBUSY
		}
		if !m.expiring.Swap(true) {
			return nil, unix.EAGAIN
		}
	}
	if isRoot && flags&unix.MNT_DETACH == 0 {
		// The root stays, but may become read-only.
		return nil, reconfigure(ctx, m.SB, m.SB.Flags()|unix.MS_RDONLY, sbFlagMask, "")
	}
	if m.Parent() == nil {
		return nil, unix.EINVAL
	}
	if flags&unix.MNT_DETACH == 0 && m.busy() {
		return nil, unix.EBUSY
	}
	return ns.reg.umountTree(m, true), nil
}

// busy: more than the tree and the caller use it, or something is mounted on it.
func (m *Mount) busy() bool { return m.refs.Load() > 2 || len(m.children()) > 0 }

// umountTree takes m with all beneath away, everywhere it propagates to; with mountMu held.
// The references of the trees are the caller's to drop, once it holds no lock.
func (r *Registry) umountTree(m *Mount, propagate bool) []*Mount {
	var gone []*Mount
	touched := map[*MountNamespace]bool{}
	take := func(x *Mount) {
		if x.ns != nil {
			x.ns.count--
			touched[x.ns] = true
			if x.ns.root == x {
				x.ns.root = nil
			}
		}
		x.detach()
		x.makePrivate(false)
		x.ns = nil
		gone = append(gone, x)
	}
	all := m.tree()
	for i := len(all) - 1; i >= 0; i-- {
		x := all[i]
		if loc := x.loc.Load(); propagate && loc != nil {
			loc.parent.receivers(func(to *Mount, _ *peerGroup) {
				c := to.childAt(loc.point)
				if c == nil || c == x || c.isBelow(m) || c.locked&lockMount != 0 {
					return
				}
				kids := c.children()
				over := c.childAt(c.root)
				if len(kids) > 1 || len(kids) == 1 && over == nil {
					return
				}
				if over != nil {
					over.detach()
				}
				take(c)
				if over != nil {
					over.attach(to, loc.point)
				}
			})
		}
		take(x)
	}
	for n := range touched {
		n.changed()
	}
	return gone
}

// detachMountsOn takes away what is mounted on a dentry that is being removed, in all namespaces.
func (r *Registry) detachMountsOn(d *Dentry) {
	if r == nil || d.mounted.Load() == 0 {
		return
	}
	r.mountMu.Lock()
	var gone []*Mount
	for {
		m := r.mountOn(d)
		if m == nil {
			break
		}
		gone = append(gone, r.umountTree(m, false)...)
	}
	r.mountMu.Unlock()
	release(gone)
}

// mountOn finds some mount whose mountpoint is d, among all there are: names that are mounted on
// somewhere are rarely removed.
func (r *Registry) mountOn(d *Dentry) *Mount {
	for m := range r.mounts {
		if l := m.loc.Load(); l != nil && l.point == d {
			return m
		}
	}
	return nil
}

// localMountpoint tells whether something is mounted on d in ns (Linux: is_local_mountpoint).
func (r *Registry) localMountpoint(d *Dentry, ns *MountNamespace) bool {
	if r == nil || d.mounted.Load() == 0 {
		return false
	}
	r.mountMu.RLock()
	defer r.mountMu.RUnlock()
	for m := range r.mounts {
		if l := m.loc.Load(); l != nil && l.point == d && m.ns == ns {
			return true
		}
	}
	return false
}

// Namespace is the namespace that m is attached in; nil if it is detached.
func (m *Mount) Namespace() *MountNamespace {
	m.reg.mountMu.RLock()
	defer m.reg.mountMu.RUnlock()
	return m.ns
}

// PivotRoot is pivot_root(2): newRoot becomes the root, the old root goes to putOld. Tasks
// whose root or working directory is the old root move along (Registry.ForEachFS).
func (ns *MountNamespace) PivotRoot(ctx Context, newRoot, putOld Path) error {
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	root := rootOf(ctx, newRoot)
	top, done, err := ns.lockPoint(putOld)
	if err != nil {
		return err
	}
	err = ns.pivotLocked(root, newRoot, top)
	done()
	if err != nil {
		return err
	}
	swap := func(fs *FSContext) {
		if pl := fs.place.Load(); pl.root == root || pl.cwd == root {
			fs.ReplacePaths(func(p Path) Path {
				if p == root {
					return newRoot
				}
				return p
			})
		}
	}
	if ns.reg.ForEachFS != nil {
		ns.reg.ForEachFS(swap)
	} else if fs := ctx.FS(); fs != nil {
		swap(fs)
	}
	return nil
}

func (ns *MountNamespace) pivotLocked(root, newRoot, old Path) error {
	nm, rm, om := newRoot.Mount, root.Mount, old.Mount
	if nm == nil || rm == nil || om == nil {
		return unix.EINVAL
	}
	rloc, nloc := rm.loc.Load(), nm.loc.Load()
	if om.group != nil || nloc != nil && nloc.parent.group != nil || rloc != nil && rloc.parent.group != nil {
		return unix.EINVAL
	}
	if rm.ns != ns || nm.ns != ns || om.ns != ns || nm.locked&lockMount != 0 {
		return unix.EINVAL
	}
	if newRoot.Dentry.has(dUnhashed) && !newRoot.Dentry.IsRoot() {
		return unix.ENOENT
	}
	if nm == rm || om == rm {
		return unix.EBUSY
	}
	if root.Dentry != rm.root || newRoot.Dentry != nm.root || nloc == nil {
		return unix.EINVAL
	}
	if !Reachable(old, newRoot) || !Reachable(newRoot, root) {
		return unix.EINVAL
	}
	nm.detach()
	if rm.locked&lockMount != 0 {
		nm.locked |= lockMount
		rm.locked &^= lockMount
	}
	if rloc != nil {
		rm.detach()
		rm.attach(om, old.Dentry)
		nm.attach(rloc.parent, rloc.point)
	} else {
		rm.attach(om, old.Dentry)
		ns.root = nm
	}
	ns.changed()
	return nil
}

// DoMount is mount(2).
func DoMount(ctx Context, ns *MountNamespace, source string, start Path, path, fstype string, flags uint64, data string) error {
	if flags&0xffff0000 == unix.MS_MGC_VAL {
		flags &^= unix.MS_MGC_MSK
	}
	at, err := Lookup(ctx, start, path, LookupFollow)
	if err != nil {
		return err
	}
	defer at.DecRef()
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	const nouser = 1 << 31
	if flags&nouser != 0 {
		return unix.EINVAL
	}
	switch {
	case flags&(unix.MS_REMOUNT|unix.MS_BIND) == unix.MS_REMOUNT|unix.MS_BIND:
		return ns.RemountBind(ctx, at, flags)
	case flags&unix.MS_REMOUNT != 0:
		return ns.Remount(ctx, at, flags, data)
	case flags&unix.MS_BIND != 0:
		from, err := lookupSource(ctx, source)
		if err != nil {
			return err
		}
		defer from.DecRef()
		return ns.BindMount(ctx, from, at, flags&unix.MS_REC != 0)
	case flags&(unix.MS_SHARED|unix.MS_PRIVATE|unix.MS_SLAVE|unix.MS_UNBINDABLE) != 0:
		return ns.SetPropagation(ctx, at, flags)
	case flags&unix.MS_MOVE != 0:
		from, err := lookupSource(ctx, source)
		if err != nil {
			return err
		}
		defer from.DecRef()
		return ns.Move(ctx, from, at)
	}
	return ns.Mount(ctx, fstype, source, at, flags, data)
}

func lookupSource(ctx Context, source string) (Path, error) {
	if source == "" {
		return Path{}, unix.EINVAL
	}
	return Lookup(ctx, Path{}, source, LookupFollow)
}

// DoUmount is umount2(2).
func DoUmount(ctx Context, ns *MountNamespace, start Path, path string, flags int) error {
	if flags&^(unix.MNT_FORCE|unix.MNT_DETACH|unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW) != 0 {
		return unix.EINVAL
	}
	lf := LookupFollow
	if flags&unix.UMOUNT_NOFOLLOW != 0 {
		lf = 0
	}
	at, err := Lookup(ctx, start, path, lf)
	if err != nil {
		return err
	}
	err = ns.Umount(ctx, at, flags)
	at.Dentry.unpin()
	if at.Mount != nil {
		at.Mount.put()
	}
	return err
}

// escapeMount is how /proc/mounts writes names.
func escapeMount(s string) string {
	if !strings.ContainsAny(s, " \t\n\\#") {
		return s
	}
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace(s)
}
