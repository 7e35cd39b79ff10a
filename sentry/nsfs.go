package sentry

import (
	"fmt"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// nsfs: namespaces as files, /proc/PID/ns/*. An open file of it keeps the namespace and is what setns
// takes.

// ioctls of namespace files.
const (
	nsGetUserNS    = 0xb701
	nsGetParent    = 0xb702
	nsGetNSType    = 0xb703
	nsGetOwnerUID  = 0xb704
	nsGetMntNSID   = 0x8008b705
	nsGetPIDFromNS = 0x8004b706
	nsGetTGIDFrom  = 0x8004b707
	nsGetPIDIn     = 0x8004b708
	nsGetTGIDIn    = 0x8004b709
)

// userNSRef makes a user namespace a Namespace.
type userNSRef struct {
	k  *Kernel
	ns *cred.UserNamespace
}

func (u userNSRef) Kind() uint64 { return unix.CLONE_NEWUSER }
func (u userNSRef) Inum() uint64 { return u.ns.ID }
func (u userNSRef) UserNS() *cred.UserNamespace {
	if p := u.ns.Parent(); p != nil {
		return p
	}
	return u.ns
}
func (u userNSRef) IncRef() { u.k.getUserNS(u.ns) }
func (u userNSRef) DecRef() { u.k.putUserNS(u.ns) }

// mountNSRef makes a mount namespace a Namespace.
type mountNSRef struct {
	k  *Kernel
	ns *vfs.MountNamespace
}

func (m mountNSRef) Kind() uint64                { return unix.CLONE_NEWNS }
func (m mountNSRef) UserNS() *cred.UserNamespace { return m.ns.UserNS }
func (m mountNSRef) IncRef()                     { m.ns.IncRef() }
func (m mountNSRef) DecRef()                     { m.ns.DecRef() }
func (m mountNSRef) Inum() uint64 {
	if m.ns == m.k.rootNS.Mount {
		return initialInums[unix.CLONE_NEWNS]
	}
	return 0xF1000000 + m.ns.ID
}

// NamespaceKinds are the names in /proc/PID/ns.
var NamespaceKinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time",
	"time_for_children", "user", "uts"}

// Namespace is one of t's namespaces by its name in /proc/PID/ns, with a reference for the
// caller; nil if the task has exited.
func (t *Task) Namespace(kind string) Namespace {
	if kind == "user" {
		u := userNSRef{t.k, t.Cred().UserNS}
		u.IncRef()
		return u
	}
	if kind == "pid" {
		ns := t.PIDNS()
		ns.IncRef()
		return ns
	}
	n := t.GetNamespaces()
	if n == nil {
		return nil
	}
	defer n.DecRef()
	var ns Namespace
	switch kind {
	case "pid_for_children":
		ns = n.PID
	case "mnt":
		ns = mountNSRef{t.k, n.Mount}
	case "uts":
		ns = n.UTS
	case "ipc":
		ns = n.IPC
	case "net":
		ns = n.Net
	case "cgroup":
		ns = n.Cgroup
	case "time":
		ns = n.Time
	case "time_for_children":
		ns = n.TimeFor
	default:
		return nil
	}
	ns.IncRef()
	return ns
}

// nsKindName is the name before the colon in a namespace's link.
func nsKindName(kind uint64) string {
	switch kind {
	case unix.CLONE_NEWNS:
		return "mnt"
	case unix.CLONE_NEWUTS:
		return "uts"
	case unix.CLONE_NEWIPC:
		return "ipc"
	case unix.CLONE_NEWUSER:
		return "user"
	case unix.CLONE_NEWPID:
		return "pid"
	case unix.CLONE_NEWNET:
		return "net"
	case unix.CLONE_NEWCGROUP:
		return "cgroup"
	}
	return "time"
}

// NamespaceName is what readlink of /proc/PID/ns/* gives.
func NamespaceName(n Namespace) string {
	return fmt.Sprintf("%s:[%d]", nsKindName(n.Kind()), n.Inum())
}

// nsFile is an open namespace.
type nsFile struct {
	vfs.DefaultFileOps
	k  *Kernel
	ns Namespace
}

// nsInode is the inode of a namespace; it holds a reference on it.
type nsInode struct {
	vfs.DefaultInodeOps
	k  *Kernel
	ns Namespace
}

// Open implements vfs.InodeOps, for opens of /proc/PID/ns/*.
func (i *nsInode) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	i.ns.IncRef()
	return &nsFile{k: i.k, ns: i.ns}, nil
}

// Evict implements vfs.InodeOps.
func (i *nsInode) Evict(*vfs.Inode) { i.ns.DecRef() }

// pseudoInode makes an inode of nsfs or pidfs.
func pseudoInode(sb *vfs.Superblock, ino uint64, mode uint32, ops vfs.InodeOps) *vfs.Inode {
	now := vfs.Now()
	return vfs.NewInode(sb, ino, ops, vfs.Attr{Mode: mode, Nlink: 1, BlkSize: 4096, Atime: now, Mtime: now, Ctime: now})
}

func pseudoFS(name string, magic int64) *vfs.Superblock {
	return vfs.NewSuperblock(&vfs.FileSystemType{Name: name, NoDev: true}, name, magic)
}

// Magic numbers of statfs.
const (
	nsfsMagic  = 0x6e736673
	pidfsMagic = 0x50494446
)

// OpenNamespace makes an open file of a namespace, taking the reference on it over.
func (k *Kernel) OpenNamespace(n Namespace, flags uint32, c *cred.Cred) *vfs.File {
	n.IncRef() // the inode's, beside the file's
	i := pseudoInode(k.nsfs, n.Inum(), unix.S_IFREG|0o444, &nsInode{k: k, ns: n})
	f := vfs.NewAnonFileInode(NamespaceName(n), i, &nsFile{k: k, ns: n}, flags, c)
	i.DecRef()
	return f
}

func (f *nsFile) Release(*vfs.File) { f.ns.DecRef() }

// Ioctl implements vfs.FileOps.
func (f *nsFile) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	t, ok := ctx.(*Task)
	if !ok {
		return 0, unix.ENOTTY
	}
	open := func(n Namespace) (uint64, error) {
		n.IncRef()
		file := f.k.OpenNamespace(n, unix.O_RDONLY, ctx.Cred())
		fd, err := t.files.NewFD(0, file, true, t.Limit(unix.RLIMIT_NOFILE))
		if err != nil {
			file.DecRef()
			return 0, err
		}
		return uint64(fd), nil
	}
	switch cmd {
	case nsGetNSType:
		return f.ns.Kind(), nil
	case nsGetUserNS:
		u := f.ns.UserNS()
		if r, ok := f.ns.(userNSRef); ok {
			if u = r.ns.Parent(); u == nil {
				return 0, unix.EPERM
			}
		}
		if !u.IsDescendantOf(ctx.Cred().UserNS) {
			return 0, unix.EPERM
		}
		return open(userNSRef{f.k, u})
	case nsGetParent:
		switch n := f.ns.(type) {
		case *PIDNamespace:
			if n.parent == nil || !t.PIDNS().isAncestorOf(n.parent) {
				return 0, unix.EPERM
			}
			return open(n.parent)
		case userNSRef:
			u := n.ns.Parent()
			if u == nil || !u.IsDescendantOf(ctx.Cred().UserNS) {
				return 0, unix.EPERM
			}
			return open(userNSRef{f.k, u})
		}
		return 0, unix.EINVAL
	case nsGetOwnerUID:
		n, ok := f.ns.(userNSRef)
		if !ok {
			return 0, unix.EINVAL
		}
		return 0, copyOut(t, arg, ctx.Cred().UserNS.ShowUID(n.ns.Owner()))
	case nsGetMntNSID:
		n, ok := f.ns.(mountNSRef)
		if !ok {
			return 0, unix.EINVAL
		}
		return 0, copyOut(t, arg, n.ns.ID)
	case nsGetPIDFromNS, nsGetTGIDFrom, nsGetPIDIn, nsGetTGIDIn:
		n, ok := f.ns.(*PIDNamespace)
		if !ok {
			return 0, unix.EINVAL
		}
		from, to := n, t.PIDNS()
		if cmd == nsGetPIDIn || cmd == nsGetTGIDIn {
			from, to = to, from
		}
		f.k.tasks.RLock()
		defer f.k.tasks.RUnlock()
		x := from.findTask(int32(arg))
		if x == nil {
			return 0, unix.ESRCH
		}
		id := x.PID()
		if cmd == nsGetTGIDFrom || cmd == nsGetTGIDIn {
			id = x.proc.tgid
		}
		nr := id.In(to)
		if nr == 0 {
			return 0, unix.ESRCH
		}
		return uint64(nr), nil
	}
	return 0, unix.ENOTTY
}

// SetNS is setns(2).
func (t *Task) SetNS(f *vfs.File, kind uint64) error {
	switch ops := f.Ops.(type) {
	case *nsFile:
		if kind != 0 && kind != ops.ns.Kind() {
			return unix.EINVAL
		}
		return t.enter([]Namespace{ops.ns})
	case *pidfdFile:
		if kind == 0 || kind&^uint64(nsFlags|unix.CLONE_NEWUSER) != 0 {
			return unix.EINVAL
		}
		return t.enterAll(ops.pid, kind)
	}
	return unix.EINVAL
}

// enterAll enters those namespaces of a process that kinds says.
func (t *Task) enterAll(pid *PID, kinds uint64) error {
	t.k.tasks.RLock()
	var x *Task
	if pid.proc != nil {
		x = pid.proc.firstAlive()
	}
	t.k.tasks.RUnlock()
	if x == nil {
		return unix.ESRCH
	}
	if !t.PtraceMayAccess(x, PtraceRead|PtraceRealCreds) {
		return unix.EPERM
	}
	var list []Namespace
	defer func() {
		for _, n := range list {
			n.DecRef()
		}
	}()
	for _, e := range []struct {
		kind uint64
		name string
	}{
		{unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWNS, "mnt"}, {unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWIPC, "ipc"},
		{unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWCGROUP, "cgroup"}, {unix.CLONE_NEWNET, "net"}, {unix.CLONE_NEWTIME, "time"},
	} {
		if kinds&e.kind == 0 {
			continue
		}
		n := x.Namespace(e.name)
		if n == nil {
			return unix.ESRCH
		}
		list = append(list, n)
	}
	return t.enter(list)
}

// enter makes the task a member of the namespaces, of all or of none.
func (t *Task) enter(list []Namespace) error {
	c := t.Cred()
	nc := c
	ns := t.ns.clone()
	ok := false
	var root vfs.Path
	defer func() {
		if !ok {
			ns.DecRef()
		}
	}()
	for _, n := range list {
		if u, isUser := n.(userNSRef); isUser {
			if t.proc.live.Load() > 1 || t.fs.Shared() {
				return unix.EINVAL
			}
			var err error
			if nc, err = nc.SetNS(u.ns); err != nil {
				return err
			}
			continue
		}
		if !nc.HasIn(n.UserNS(), unix.CAP_SYS_ADMIN) || !nc.Has(unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		switch n := n.(type) {
		case *PIDNamespace:
			if !t.PIDNS().isAncestorOf(n) {
				return unix.EINVAL
			}
			n.IncRef()
			ns.PID.DecRef()
			ns.PID = n
		case *UTSNamespace:
			n.IncRef()
			ns.UTS.DecRef()
			ns.UTS = n
		case *IPCNamespace:
			n.IncRef()
			ns.IPC.DecRef()
			ns.IPC = n
		case *NetNamespace:
			n.IncRef()
			ns.Net.DecRef()
			ns.Net = n
		case *CgroupNamespace:
			n.IncRef()
			ns.Cgroup.DecRef()
			ns.Cgroup = n
		case *TimeNamespace:
			if t.proc.live.Load() > 1 {
				return unix.EUSERS
			}
			n.IncRef()
			n.IncRef()
			ns.Time.DecRef()
			ns.TimeFor.DecRef()
			ns.Time, ns.TimeFor = n, n
			n.freeze()
		case mountNSRef:
			if !nc.Has(unix.CAP_SYS_CHROOT) {
				return unix.EPERM
			}
			if t.fs.Shared() {
				return unix.EINVAL
			}
			n.IncRef()
			ns.Mount.DecRef()
			ns.Mount = n.ns
			root = n.ns.Root()
		}
	}
	ok = true
	if root.Valid() {
		t.fs.SetRoot(root)
		t.fs.SetCwd(root)
	}
	t.switchNamespaces(ns)
	if nc != c {
		t.SetCred(nc)
	}
	return nil
}
