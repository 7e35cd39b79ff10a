package vfs

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// The newer mount calls: a file system is configured through a file (fsopen, fspick,
// fsconfig), mounted nowhere (fsmount) or copied from the tree (open_tree) as an O_PATH
// file, and attached by move_mount. A tree that is attached nowhere is in a namespace of its own
// that goes with the file.

// fsContext is the operations of an fsopen or fspick file.
type fsContext struct {
	DefaultFileOps
	ns *MountNamespace
	t  *FileSystemType
	// live is what fspick chose or fsmount has mounted, to be reconfigured, with a reference. Its
	// mount is not kept busy.
	live *Superblock

	mu      sync.Mutex
	source  string
	flags   uint64 // MS_*
	flagSet uint64 // those that were named
	params  []string
	sb      *Superblock // made, not yet mounted
	done    bool        // mounted: only reconfiguration is left
}

func newFSContext(ctx Context, c *fsContext) *File {
	return NewAnonFile("anon_inode:[fscontext]", c, unix.O_RDWR, ctx.Cred())
}

// Read implements FileOps: messages about what was wrong; there are none.
func (c *fsContext) Read(Context, *File, *usermem.IO, int64, IOFlags) (int64, error) {
	return 0, unix.ENODATA
}

// Stream implements FileOps.
func (c *fsContext) Stream() bool { return true }

// CanPoll implements epoll.Poller: there is nothing to wait for.
func (c *fsContext) CanPoll() bool { return false }

// Release implements FileOps.
func (c *fsContext) Release(*File) {
	if c.sb != nil {
		c.sb.DecRef()
	}
	if c.live != nil {
		c.live.DecRef()
	}
}

// FSOpen is fsopen(2).
func FSOpen(ctx Context, ns *MountNamespace, fstype string, flags uint32) (*File, error) {
	if err := ns.mayMount(ctx); err != nil {
		return nil, err
	}
	if flags&^unix.FSOPEN_CLOEXEC != 0 {
		return nil, unix.EINVAL
	}
	t := ns.reg.Lookup(fstype)
	if t == nil {
		return nil, unix.ENODEV
	}
	return newFSContext(ctx, &fsContext{ns: ns, t: t}), nil
}

// FSPick is fspick(2).
func FSPick(ctx Context, ns *MountNamespace, start Path, path string, flags uint32) (*File, error) {
	if err := ns.mayMount(ctx); err != nil {
		return nil, err
	}
	const all = unix.FSPICK_CLOEXEC | unix.FSPICK_SYMLINK_NOFOLLOW | unix.FSPICK_NO_AUTOMOUNT | unix.FSPICK_EMPTY_PATH
	if flags&^all != 0 {
		return nil, unix.EINVAL
	}
	lf := LookupFollow
	if flags&unix.FSPICK_SYMLINK_NOFOLLOW != 0 {
		lf = 0
	}
	if flags&unix.FSPICK_EMPTY_PATH != 0 {
		lf |= LookupEmpty
	}
	p, err := Lookup(ctx, start, path, lf)
	if err != nil {
		return nil, err
	}
	if p.Mount == nil || p.Dentry != p.Mount.root {
		p.DecRef()
		return nil, unix.EINVAL
	}
	sb := p.Mount.SB
	sb.IncRef()
	p.DecRef()
	return newFSContext(ctx, &fsContext{ns: ns, t: sb.Type, live: sb, done: true}), nil
}

var fsFlagNames = map[string]struct {
	flag uint64
	on   bool
}{
	"ro": {unix.MS_RDONLY, true}, "rw": {unix.MS_RDONLY, false},
	"sync": {unix.MS_SYNCHRONOUS, true}, "async": {unix.MS_SYNCHRONOUS, false},
	"dirsync": {unix.MS_DIRSYNC, true}, "lazytime": {unix.MS_LAZYTIME, true}, "nolazytime": {unix.MS_LAZYTIME, false},
	"mand": {unix.MS_MANDLOCK, true}, "nomand": {unix.MS_MANDLOCK, false},
}

// FSConfig is fsconfig(2) on the file f, for the commands that need no descriptor or path; others give EOPNOTSUPP.
func FSConfig(ctx Context, f *File, cmd uint32, key, value string) error {
	c, ok := f.Ops.(*fsContext)
	if !ok {
		return unix.EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch cmd {
	case unix.FSCONFIG_SET_FLAG, unix.FSCONFIG_SET_STRING, unix.FSCONFIG_SET_BINARY, unix.FSCONFIG_SET_PATH,
		unix.FSCONFIG_SET_PATH_EMPTY, unix.FSCONFIG_SET_FD:
		if key == "" {
			return unix.EINVAL
		}
		if c.sb != nil {
			return unix.EBUSY
		}
		// A flag of every file system counts by its name, whatever value comes with it.
		if x, ok := fsFlagNames[key]; ok {
			c.flagSet |= x.flag
			c.flags &^= x.flag
			if x.on {
				c.flags |= x.flag
			}
			return nil
		}
		if cmd != unix.FSCONFIG_SET_FLAG && cmd != unix.FSCONFIG_SET_STRING {
			return unix.EINVAL // no file system here has a parameter of these kinds
		}
		if key == "source" {
			if cmd != unix.FSCONFIG_SET_STRING || c.source != "" {
				return unix.EINVAL
			}
			c.source = value
			return nil
		}
		if strings.ContainsAny(key, ",=") || strings.Contains(value, ",") && key != "lowerdir" {
			return unix.EINVAL
		}
		if len(c.params) >= 256 {
			return unix.EINVAL
		}
		if cmd == unix.FSCONFIG_SET_STRING {
			key += "=" + value
		}
		if check := c.t.CheckOption; check != nil {
			if err := check(ctx, key); err != nil {
				return err
			}
		}
		c.params = append(c.params, key)
		return nil
	case unix.FSCONFIG_CMD_CREATE, 8: // FSCONFIG_CMD_CREATE_EXCL
		if c.sb != nil || c.done {
			return unix.EBUSY
		}
		sb, err := c.ns.newSB(ctx, c.t.Name, c.source, c.flags, strings.Join(c.params, ","))
		if err != nil {
			return err
		}
		c.sb = sb
		c.params = nil
		return nil
	case unix.FSCONFIG_CMD_RECONFIGURE:
		if c.live == nil {
			return unix.EBUSY
		}
		err := reconfigure(ctx, c.live, c.flags, c.flagSet, strings.Join(c.params, ","))
		c.params, c.flags, c.flagSet = nil, 0, 0
		return err
	}
	return unix.EOPNOTSUPP
}

// MOUNT_ATTR_* bits and the MS_* bits they are.
var mountAttrs = []struct{ attr, ms uint64 }{
	{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY}, {unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
	{unix.MOUNT_ATTR_NODEV, unix.MS_NODEV}, {unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
	{unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME}, {unix.MOUNT_ATTR_NOSYMFOLLOW, MountNoSymFollow},
}

const mountAttrAll = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC |
	unix.MOUNT_ATTR__ATIME | unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW

// attrFlags translates MOUNT_ATTR_* to MS_*.
func attrFlags(a uint64) (uint64, error) {
	if a&^mountAttrAll != 0 {
		return 0, unix.EINVAL
	}
	var f uint64
	for _, x := range mountAttrs {
		if a&x.attr != 0 {
			f |= x.ms
		}
	}
	switch a & unix.MOUNT_ATTR__ATIME {
	case unix.MOUNT_ATTR_RELATIME:
		f |= unix.MS_RELATIME
	case unix.MOUNT_ATTR_NOATIME:
		f |= unix.MS_NOATIME
	case unix.MOUNT_ATTR_STRICTATIME:
		f |= unix.MS_STRICTATIME
	default:
		return 0, unix.EINVAL
	}
	return f, nil
}

// dissolve ends a detached tree with the file that holds it.
type dissolve struct{ ns *MountNamespace }

// FileReleased implements ReleaseHook.
func (d *dissolve) FileReleased(*File) { d.ns.DecRef() }

// detachedFile puts a tree in a namespace of its own and opens its root with O_PATH.
func (ns *MountNamespace) detachedFile(ctx Context, m *Mount) *File {
	anon := &MountNamespace{reg: ns.reg, UserNS: ns.UserNS, root: m, anon: true}
	anon.refs.Store(1)
	all := m.tree()
	for _, x := range all {
		x.ns = anon
	}
	anon.count = len(all)
	f := newFile(m.Path(), pathOps{}, unix.O_PATH, ctx.Cred())
	f.AddReleaseHook(&dissolve{anon})
	return f
}

// FSMount is fsmount(2).
func FSMount(ctx Context, ns *MountNamespace, f *File, flags uint32, attrs uint64) (*File, error) {
	if err := ns.mayMount(ctx); err != nil {
		return nil, err
	}
	if flags&^unix.FSMOUNT_CLOEXEC != 0 {
		return nil, unix.EINVAL
	}
	ms, err := attrFlags(attrs)
	if err != nil {
		return nil, err
	}
	c, ok := f.Ops.(*fsContext)
	if !ok {
		return nil, unix.EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sb == nil {
		return nil, unix.EINVAL
	}
	ns.reg.mountMu.Lock()
	m := ns.reg.newMount(c.sb, c.sb.Root, c.source, ms)
	out := ns.detachedFile(ctx, m)
	ns.reg.mountMu.Unlock()
	c.live, c.sb, c.done = c.sb, nil, true // the mount has a reference of its own
	return out, nil
}

const atRecursive = 0x8000

// OpenTree is open_tree(2).
func OpenTree(ctx Context, ns *MountNamespace, start Path, path string, flags uint32) (*File, error) {
	const all = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT | atRecursive | unix.AT_SYMLINK_NOFOLLOW
	if flags&^all != 0 || flags&(atRecursive|unix.OPEN_TREE_CLONE) == atRecursive {
		return nil, unix.EINVAL
	}
	if flags&unix.OPEN_TREE_CLONE != 0 {
		if err := ns.mayMount(ctx); err != nil {
			return nil, err
		}
	}
	p, err := Lookup(ctx, start, path, atLookup(flags))
	if err != nil {
		return nil, err
	}
	defer p.DecRef()
	if flags&unix.OPEN_TREE_CLONE == 0 {
		return newFile(p, pathOps{}, unix.O_PATH, ctx.Cred()), nil
	}
	ns.reg.mountMu.Lock()
	defer ns.reg.mountMu.Unlock()
	m, err := ns.cloneForBind(p, flags&atRecursive != 0)
	if err != nil {
		return nil, err
	}
	return ns.detachedFile(ctx, m), nil
}

// atLookup translates AT_* flags.
func atLookup(flags uint32) LookupFlags {
	lf := LookupFollow
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		lf = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		lf |= LookupEmpty
	}
	return lf
}

// MoveMount is move_mount(2).
func MoveMount(ctx Context, ns *MountNamespace, fromStart Path, fromPath string, toStart Path, toPath string, flags uint32) error {
	const all = unix.MOVE_MOUNT_F_SYMLINKS | unix.MOVE_MOUNT_F_AUTOMOUNTS | unix.MOVE_MOUNT_F_EMPTY_PATH |
		unix.MOVE_MOUNT_T_SYMLINKS | unix.MOVE_MOUNT_T_AUTOMOUNTS | unix.MOVE_MOUNT_T_EMPTY_PATH | unix.MOVE_MOUNT_SET_GROUP
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	if flags&^all != 0 {
		return unix.EINVAL
	}
	lookup := func(start Path, path string, symlinks, empty uint32) (Path, error) {
		var lf LookupFlags
		if flags&symlinks != 0 {
			lf |= LookupFollow
		}
		if flags&empty != 0 {
			lf |= LookupEmpty
		}
		return Lookup(ctx, start, path, lf)
	}
	from, err := lookup(fromStart, fromPath, unix.MOVE_MOUNT_F_SYMLINKS, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer from.DecRef()
	to, err := lookup(toStart, toPath, unix.MOVE_MOUNT_T_SYMLINKS, unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer to.DecRef()
	if flags&unix.MOVE_MOUNT_SET_GROUP != 0 {
		return ns.setGroup(from, to)
	}
	top, done, err := ns.lockPoint(to)
	if err != nil {
		return err
	}
	defer done()
	return ns.moveLocked(from, top, true)
}

// setGroup makes to share with the peers, and get from the master, that from has (MOVE_MOUNT_SET_GROUP).
func (ns *MountNamespace) setGroup(from, to Path) error {
	ns.reg.mountMu.Lock()
	defer ns.reg.mountMu.Unlock()
	f, t := from.Mount, to.Mount
	if f == nil || t == nil || from.Dentry != f.root || to.Dentry != t.root || f.ns != ns || t.ns != ns {
		return unix.EINVAL
	}
	if t.group != nil || t.master != nil || f.group == nil && f.master == nil || f.SB != t.SB ||
		!t.root.isUnder(f.root) || t.hasLockedKids(t.root) {
		return unix.EINVAL
	}
	t.setMaster(f.master)
	if f.group != nil {
		t.joinGroup(f.group)
	}
	ns.changed()
	return nil
}

// MountAttr is struct mount_attr.
type MountAttr struct {
	Set, Clear  uint64
	Propagation uint64 // MS_SHARED and the like, or 0
	UserNSFD    uint64
}

// MountSetAttr is mount_setattr(2).
func MountSetAttr(ctx Context, ns *MountNamespace, start Path, path string, flags uint32, a MountAttr) error {
	if flags&^(unix.AT_EMPTY_PATH|atRecursive|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT) != 0 {
		return unix.EINVAL
	}
	if err := ns.mayMount(ctx); err != nil {
		return err
	}
	if a == (MountAttr{}) {
		return nil
	}
	if (a.Set|a.Clear)&^(mountAttrAll|unix.MOUNT_ATTR_IDMAP) != 0 || a.Clear&unix.MOUNT_ATTR_IDMAP != 0 || a.Set&unix.MOUNT_ATTR_IDMAP != 0 {
		return unix.EINVAL // no file system here takes id mappings
	}
	atime := a.Clear & unix.MOUNT_ATTR__ATIME
	if atime != 0 && atime != unix.MOUNT_ATTR__ATIME || atime == 0 && a.Set&unix.MOUNT_ATTR__ATIME != 0 {
		return unix.EINVAL
	}
	set, err := attrFlags(a.Set)
	if err != nil {
		return err
	}
	if atime == 0 {
		set &^= atimeMask &^ unix.MS_NODIRATIME
	}
	switch a.Propagation {
	case 0, unix.MS_SHARED, unix.MS_PRIVATE, unix.MS_SLAVE, unix.MS_UNBINDABLE:
	default:
		return unix.EINVAL
	}
	var clear uint64
	for _, x := range mountAttrs {
		if a.Clear&x.attr != 0 {
			clear |= x.ms
		}
	}
	if atime != 0 {
		clear |= unix.MS_RELATIME | unix.MS_NOATIME | unix.MS_STRICTATIME
	}
	p, err := Lookup(ctx, start, path, atLookup(flags))
	if err != nil {
		return err
	}
	defer p.DecRef()
	ns.reg.mountMu.Lock()
	defer ns.reg.mountMu.Unlock()
	m := p.Mount
	if m == nil || p.Dentry != m.root || m.ns == nil || m.ns != ns && !m.ns.anon {
		return unix.EINVAL
	}
	all := []*Mount{m}
	if flags&atRecursive != 0 {
		all = m.tree()
	}
	for _, x := range all {
		old := x.flags.Load()
		f := old&^clear | set
		if !ns.reg.lockedFlagsOK(x, f) {
			return unix.EPERM
		}
		if f&^old&unix.MS_RDONLY != 0 && x.writers.Load() > 0 {
			return unix.EBUSY
		}
	}
	for _, x := range all {
		x.flags.Store(normalAtime(x.flags.Load()&^clear | set))
		if a.Propagation != 0 {
			x.setPropagation(a.Propagation)
		}
	}
	ns.changed()
	return nil
}

// findID is the mount with the unique id, if the reader can reach it; with mountMu held.
//
// EPERM if the caller's root does not reach it, unless the caller may mount in ns.
func (ns *MountNamespace) findID(ctx Context, id uint64, root Path) (*Mount, error) {
	for _, m := range ns.all() {
		if m.unique == id {
			if _, ok := m.place(root); !ok {
				return m, ns.mayMount(ctx)
			}
			return m, nil
		}
	}
	return nil, unix.ENOENT
}

// ListMount is listmount(2): the unique ids of the mounts beneath id (^uint64(0): the root), after last,
// at most max of them.
func ListMount(ctx Context, ns *MountNamespace, id, last uint64, max int, reverse bool) ([]uint64, error) {
	ns.reg.mountMu.RLock()
	defer ns.reg.mountMu.RUnlock()
	root := ns.callerRoot(ctx)
	var top *Mount
	if id == ^uint64(0) {
		top = root.Mount
	} else {
		m, err := ns.findID(ctx, id, root)
		if err != nil {
			return nil, err
		}
		top, root = m, m.Path()
	}
	var ids []uint64
	if top != nil {
		for _, m := range top.tree() {
			if _, ok := m.place(root); ok && (m != top || id == ^uint64(0)) {
				ids = append(ids, m.unique)
			}
		}
	}
	slices.Sort(ids)
	if reverse {
		slices.Reverse(ids)
	}
	if last != 0 {
		k := slices.IndexFunc(ids, func(x uint64) bool { return !reverse && x > last || reverse && x < last })
		if k < 0 {
			return nil, nil
		}
		ids = ids[k:]
	}
	if len(ids) > max {
		ids = ids[:max]
	}
	return ids, nil
}

func (ns *MountNamespace) callerRoot(ctx Context) Path {
	if fs := ctx.FS(); fs != nil {
		return fs.Root()
	}
	if ns.root == nil {
		return Path{}
	}
	return ns.root.Path()
}

// What statmount(2) can tell.
const (
	statmountSBBasic = 1 << iota
	statmountMntBasic
	statmountPropagateFrom
	statmountMntRoot
	statmountMntPoint
	statmountFSType
	statmountMntNSID
	statmountMntOpts
	statmountFSSubtype
	statmountSBSource
)

// StatMount is statmount(2): struct statmount with its strings.
func StatMount(ctx Context, ns *MountNamespace, id, mask uint64) ([]byte, error) {
	ns.reg.mountMu.RLock()
	defer ns.reg.mountMu.RUnlock()
	root := ns.callerRoot(ctx)
	m, err := ns.findID(ctx, id, root)
	if err != nil {
		return nil, err
	}
	const size = 512
	b := make([]byte, size)
	le := binary.LittleEndian
	var got uint64
	str := func(off int, s string, bit uint64) {
		le.PutUint32(b[off:], uint32(len(b)-size))
		b = append(append(b, s...), 0)
		got |= bit
	}
	if mask&statmountSBBasic != 0 {
		le.PutUint32(b[16:], unix.Major(m.SB.Dev))
		le.PutUint32(b[20:], unix.Minor(m.SB.Dev))
		le.PutUint64(b[24:], uint64(m.SB.Magic))
		le.PutUint32(b[32:], uint32(m.SB.Flags()&(unix.MS_RDONLY|unix.MS_SYNCHRONOUS|unix.MS_DIRSYNC|unix.MS_LAZYTIME)))
		got |= statmountSBBasic
	}
	if mask&statmountMntBasic != 0 {
		le.PutUint64(b[40:], m.unique)
		parent := m
		if p := m.Parent(); p != nil {
			parent = p
		}
		le.PutUint64(b[48:], parent.unique)
		le.PutUint32(b[56:], uint32(m.ID))
		le.PutUint32(b[60:], uint32(parent.ID))
		var a uint64
		f := m.flags.Load()
		for _, x := range mountAttrs {
			if f&x.ms != 0 {
				a |= x.attr
			}
		}
		switch {
		case f&unix.MS_NOATIME != 0:
			a |= unix.MOUNT_ATTR_NOATIME
		case f&unix.MS_STRICTATIME != 0:
			a |= unix.MOUNT_ATTR_STRICTATIME
		}
		le.PutUint64(b[64:], a)
		var prop uint64
		if m.group != nil {
			prop |= unix.MS_SHARED
			le.PutUint64(b[80:], uint64(m.group.id))
		}
		if m.master != nil {
			prop |= unix.MS_SLAVE
			le.PutUint64(b[88:], uint64(m.master.id))
		}
		if m.unbindable {
			prop |= unix.MS_UNBINDABLE
		}
		if prop == 0 {
			prop = unix.MS_PRIVATE
		}
		le.PutUint64(b[72:], prop)
		got |= statmountMntBasic
	}
	if mask&statmountPropagateFrom != 0 {
		le.PutUint64(b[96:], uint64(m.propagateFrom(root)))
		got |= statmountPropagateFrom
	}
	if mask&statmountFSType != 0 {
		str(36, m.SB.typeName(), statmountFSType)
	}
	if mask&statmountMntRoot != 0 {
		str(104, escapeMount(m.rootPath()), statmountMntRoot)
	}
	if mask&statmountMntPoint != 0 {
		at, _ := m.place(root)
		str(108, escapeMount(at), statmountMntPoint)
	}
	if mask&statmountMntNSID != 0 {
		le.PutUint64(b[112:], ns.ID)
		got |= statmountMntNSID
	}
	if mask&statmountMntOpts != 0 {
		if o := strings.TrimPrefix(m.SB.ownOpts(), ","); o != "" {
			str(4, o, statmountMntOpts)
		}
	}
	if mask&statmountSBSource != 0 && m.source != "" {
		str(124, m.source, statmountSBSource)
	}
	le.PutUint32(b[0:], uint32(len(b)))
	le.PutUint64(b[8:], got)
	return b, nil
}
