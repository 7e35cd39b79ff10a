package sentry

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// Namespace is what all kinds of namespaces have in common, as nsfs shows it.
type Namespace interface {
	// Kind is CLONE_NEW*; Inum the inode number in nsfs.
	Kind() uint64
	Inum() uint64
	// UserNS is the user namespace that owns it.
	UserNS() *cred.UserNamespace
	IncRef()
	DecRef()
}

// nsCommon is embedded by the kinds of namespaces that are of this package.
type nsCommon struct {
	k       *Kernel
	kind    uint64
	inum    uint64
	user    *cred.UserNamespace
	refs    atomic.Int64
	release func() // after the last reference; may be nil
}

func (n *nsCommon) init(k *Kernel, kind uint64, user *cred.UserNamespace, release func()) {
	n.k, n.kind, n.user, n.release = k, kind, user, release
	n.inum = k.newInum(kind)
	n.refs.Store(1)
	k.getUserNS(user)
}

// Kind, Inum, UserNS, IncRef and DecRef implement Namespace.
func (n *nsCommon) Kind() uint64                { return n.kind }
func (n *nsCommon) Inum() uint64                { return n.inum }
func (n *nsCommon) UserNS() *cred.UserNamespace { return n.user }
func (n *nsCommon) IncRef()                     { n.refs.Add(1) }

func (n *nsCommon) DecRef() {
	if n.refs.Add(-1) != 0 {
		return
	}
	if n.release != nil {
		n.release()
	}
	n.k.putUserNS(n.user)
}

// Inode numbers of the initial namespaces, Linux's.
var initialInums = map[uint64]uint64{
	unix.CLONE_NEWIPC: 0xEFFFFFFF, unix.CLONE_NEWUTS: 0xEFFFFFFE, unix.CLONE_NEWUSER: 0xEFFFFFFD,
	unix.CLONE_NEWPID: 0xEFFFFFFC, unix.CLONE_NEWCGROUP: 0xEFFFFFFB, unix.CLONE_NEWTIME: 0xEFFFFFFA,
	unix.CLONE_NEWNET: 0xEFFFFFF9, unix.CLONE_NEWNS: 0xEFFFFFF8,
}

// newInum is the inode number for a new namespace: the well-known one for the first of a kind.
func (k *Kernel) newInum(kind uint64) uint64 {
	if k.rootNS == nil {
		return initialInums[kind]
	}
	return 0xF0000000 + k.nextIno()
}

// UTSNamespace is a uts namespace: the names that uname(2) tells.
type UTSNamespace struct {
	nsCommon
	mu     sync.Mutex
	host   string
	domain string
}

// Names are host and domain name.
func (n *UTSNamespace) Names() (host, domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host, n.domain
}

// SetHost and SetDomain change them; the caller has the right to.
func (n *UTSNamespace) SetHost(s string) {
	n.mu.Lock()
	n.host = s
	n.mu.Unlock()
}

// SetDomain changes the domain name.
func (n *UTSNamespace) SetDomain(s string) {
	n.mu.Lock()
	n.domain = s
	n.mu.Unlock()
}

// IPCNamespace is an ipc namespace. Objects holds System V IPC and message queues, which are
// made on first use.
type IPCNamespace struct {
	nsCommon
	lazy
}

// NetNamespace is a network namespace; its objects are the network stack, made on first use.
type NetNamespace struct {
	nsCommon
	lazy
}

// lazy is an object of a package above, made when it is first needed.
type lazy struct {
	mu  sync.Mutex
	obj any
}

func (l *lazy) get(create func() (any, error)) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.obj == nil {
		if create == nil {
			return nil, unix.ENOSYS
		}
		o, err := create()
		if err != nil {
			return nil, err
		}
		l.obj = o
	}
	return l.obj, nil
}

func (l *lazy) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.obj.(interface{ Release() }); ok {
		r.Release()
	}
	l.obj = nil
}

// Objects is what Config.NewIPC made for the namespace.
func (n *IPCNamespace) Objects() (any, error) {
	return n.get(func() (any, error) {
		if n.k.cfg.NewIPC == nil {
			return nil, unix.ENOSYS
		}
		return n.k.cfg.NewIPC(n.k, n)
	})
}

// Stack is what Config.NewNetwork made for the namespace.
func (n *NetNamespace) Stack() (any, error) {
	return n.get(func() (any, error) {
		if n.k.cfg.NewNetwork == nil {
			return nil, unix.EAFNOSUPPORT
		}
		return n.k.cfg.NewNetwork(n.k, n)
	})
}

// CgroupNamespace is a cgroup namespace: the path of the cgroup that is shown as the root.
type CgroupNamespace struct {
	nsCommon
	Root string
}

// TimeNamespace has offsets of the monotonic clocks.
type TimeNamespace struct {
	nsCommon
	mu        sync.Mutex
	monotonic time.Duration
	boottime  time.Duration
	frozen    bool // a task has entered: offsets cannot change
}

// Offsets are what is added to the monotonic and the boot-time clock.
func (n *TimeNamespace) Offsets() (monotonic, boottime time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.monotonic, n.boottime
}

// SetOffset is a write to /proc/PID/timens_offsets: EACCES once a task is in the namespace.
func (n *TimeNamespace) SetOffset(clock int32, d time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen {
		return unix.EACCES
	}
	switch clock {
	case unix.CLOCK_MONOTONIC:
		n.monotonic = d
	case unix.CLOCK_BOOTTIME:
		n.boottime = d
	default:
		return unix.EINVAL
	}
	return nil
}

func (n *TimeNamespace) freeze() {
	n.mu.Lock()
	n.frozen = true
	n.mu.Unlock()
}

// Namespaces are a task's namespaces but the user namespace, which is in its credentials,
// and the pid namespace it lives in, which is in its PID (Linux: nsproxy). They never change:
// unshare and setns make new ones.
type Namespaces struct {
	refs atomic.Int64

	PID     *PIDNamespace // of children
	Mount   *vfs.MountNamespace
	UTS     *UTSNamespace
	IPC     *IPCNamespace
	Net     *NetNamespace
	Cgroup  *CgroupNamespace
	Time    *TimeNamespace
	TimeFor *TimeNamespace // of children
}

// IncRef takes a reference on all of them as a whole.
func (n *Namespaces) IncRef() { n.refs.Add(1) }

// DecRef drops one.
func (n *Namespaces) DecRef() {
	if n.refs.Add(-1) != 0 {
		return
	}
	n.PID.DecRef()
	n.Mount.DecRef()
	n.UTS.DecRef()
	n.IPC.DecRef()
	n.Net.DecRef()
	n.Cgroup.DecRef()
	n.Time.DecRef()
	n.TimeFor.DecRef()
}

// clone is a copy that may be edited by replace before it is used.
func (n *Namespaces) clone() *Namespaces {
	c := &Namespaces{PID: n.PID, Mount: n.Mount, UTS: n.UTS, IPC: n.IPC, Net: n.Net,
		Cgroup: n.Cgroup, Time: n.Time, TimeFor: n.TimeFor}
	c.refs.Store(1)
	c.PID.IncRef()
	c.Mount.IncRef()
	c.UTS.IncRef()
	c.IPC.IncRef()
	c.Net.IncRef()
	c.Cgroup.IncRef()
	c.Time.IncRef()
	c.TimeFor.IncRef()
	return c
}

func (k *Kernel) initNamespaces() error {
	user := cred.InitUserNS()
	if user.ID == 0 {
		user.ID = initialInums[unix.CLONE_NEWUSER]
	}
	k.rootPIDNS = k.newPIDNamespace(nil, user)
	n := &Namespaces{PID: k.rootPIDNS, Mount: k.cfg.Mounts}
	n.UTS = &UTSNamespace{host: k.cfg.Hostname, domain: k.cfg.DomainName}
	n.UTS.init(k, unix.CLONE_NEWUTS, user, nil)
	n.IPC = k.newIPC(user)
	n.Net = k.newNet(user)
	n.Cgroup = &CgroupNamespace{Root: "/"}
	n.Cgroup.init(k, unix.CLONE_NEWCGROUP, user, nil)
	n.Time = &TimeNamespace{frozen: true}
	n.Time.init(k, unix.CLONE_NEWTIME, user, nil)
	n.Time.IncRef()
	n.TimeFor = n.Time
	n.refs.Store(1)
	k.rootNS = n
	return nil
}

func (k *Kernel) newIPC(user *cred.UserNamespace) *IPCNamespace {
	n := &IPCNamespace{}
	n.init(k, unix.CLONE_NEWIPC, user, n.close)
	return n
}

func (k *Kernel) newNet(user *cred.UserNamespace) *NetNamespace {
	n := &NetNamespace{}
	n.init(k, unix.CLONE_NEWNET, user, n.close)
	return n
}

// nsFlags are the kinds that Namespaces holds.
const nsFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID |
	unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

var nsCounts = map[uint64]cred.Count{
	unix.CLONE_NEWPID: cred.CountPIDNS, unix.CLONE_NEWUTS: cred.CountUTSNS, unix.CLONE_NEWIPC: cred.CountIPCNS,
	unix.CLONE_NEWNET: cred.CountNetNS, unix.CLONE_NEWCGROUP: cred.CountCgroupNS, unix.CLONE_NEWTIME: cred.CountTimeNS,
	unix.CLONE_NEWNS: cred.CountMountNS,
}

// newNamespaces makes new namespaces of the kinds in flags for a task with credentials c, the others
// as they are in n. fs is what the new mount namespace is to move to it. The caller has
// checked privileges; c's user namespace will own them.
func (t *Task) newNamespaces(n *Namespaces, flags uint64, c *cred.Cred, fs *vfs.FSContext) (_ *Namespaces, err error) {
	k := t.k
	user := c.UserNS
	out := n.clone()
	defer func() {
		if err != nil {
			out.DecRef()
		}
	}()
	charge := func(kind uint64, ns *nsCommon) error {
		cnt := nsCounts[kind]
		if err := user.Charge(c.EUID, cnt, 1); err != nil {
			return err
		}
		if ns != nil {
			before := ns.release
			uid := c.EUID
			ns.release = func() {
				if before != nil {
					before()
				}
				user.Uncharge(uid, cnt, 1)
			}
		}
		return nil
	}
	if flags&unix.CLONE_NEWUTS != 0 {
		u := &UTSNamespace{}
		u.host, u.domain = n.UTS.Names()
		u.init(k, unix.CLONE_NEWUTS, user, nil)
		if err := charge(unix.CLONE_NEWUTS, &u.nsCommon); err != nil {
			return nil, err
		}
		out.UTS.DecRef()
		out.UTS = u
	}
	if flags&unix.CLONE_NEWIPC != 0 {
		i := k.newIPC(user)
		if err := charge(unix.CLONE_NEWIPC, &i.nsCommon); err != nil {
			return nil, err
		}
		out.IPC.DecRef()
		out.IPC = i
	}
	if flags&unix.CLONE_NEWPID != 0 {
		if n.PID.level >= maxPIDLevel {
			return nil, unix.ENOSPC
		}
		p := k.newPIDNamespace(n.PID, user)
		if err := charge(unix.CLONE_NEWPID, &p.nsCommon); err != nil {
			return nil, err
		}
		out.PID.DecRef()
		out.PID = p
	}
	if flags&unix.CLONE_NEWNET != 0 {
		x := k.newNet(user)
		if err := charge(unix.CLONE_NEWNET, &x.nsCommon); err != nil {
			return nil, err
		}
		out.Net.DecRef()
		out.Net = x
	}
	if flags&unix.CLONE_NEWCGROUP != 0 {
		g := &CgroupNamespace{Root: n.Cgroup.Root}
		g.init(k, unix.CLONE_NEWCGROUP, user, nil)
		if err := charge(unix.CLONE_NEWCGROUP, &g.nsCommon); err != nil {
			return nil, err
		}
		out.Cgroup.DecRef()
		out.Cgroup = g
	}
	if flags&unix.CLONE_NEWTIME != 0 {
		x := &TimeNamespace{}
		x.monotonic, x.boottime = n.TimeFor.Offsets()
		x.init(k, unix.CLONE_NEWTIME, user, nil)
		if err := charge(unix.CLONE_NEWTIME, &x.nsCommon); err != nil {
			return nil, err
		}
		out.TimeFor.DecRef()
		out.TimeFor = x
	}
	if flags&unix.CLONE_NEWNS != 0 {
		m, err := n.Mount.Clone(t, user, fs)
		if err != nil {
			return nil, err
		}
		out.Mount.DecRef()
		out.Mount = m
	}
	return out, nil
}

// switchNamespaces makes n the task's namespaces, taking the reference over.
func (t *Task) switchNamespaces(n *Namespaces) {
	t.mu.Lock()
	old := t.ns
	t.ns = n
	t.mu.Unlock()
	if old != nil {
		old.DecRef()
	}
}

// unshareFlags are what unshare(2) takes.
const unshareFlags = nsFlags | unix.CLONE_NEWUSER | unix.CLONE_THREAD | unix.CLONE_FS | unix.CLONE_FILES |
	unix.CLONE_SIGHAND | unix.CLONE_VM | unix.CLONE_SYSVSEM

// Unshare is unshare(2).
func (t *Task) Unshare(flags uint64) error {
	if flags&^uint64(unshareFlags) != 0 {
		return unix.EINVAL
	}
	if flags&unix.CLONE_NEWUSER != 0 {
		flags |= unix.CLONE_THREAD | unix.CLONE_FS
	}
	if flags&unix.CLONE_VM != 0 {
		flags |= unix.CLONE_SIGHAND
	}
	if flags&unix.CLONE_SIGHAND != 0 {
		flags |= unix.CLONE_THREAD
	}
	if flags&unix.CLONE_NEWNS != 0 {
		flags |= unix.CLONE_FS
	}
	if flags&(unix.CLONE_THREAD|unix.CLONE_SIGHAND|unix.CLONE_VM) != 0 && t.proc.live.Load() > 1 {
		return unix.EINVAL
	}
	if flags&(unix.CLONE_SIGHAND|unix.CLONE_VM) != 0 && t.proc.sighand.Load().refs.Load() > 1 {
		return unix.EINVAL
	}
	if flags&unix.CLONE_VM != 0 && t.mm.Users() > 1 {
		return unix.EINVAL
	}
	c := t.Cred()
	if flags&unix.CLONE_NEWUSER != 0 {
		if t.chrooted() {
			return unix.EPERM
		}
		ns, nc, err := c.NewUserNS()
		if err != nil {
			return err
		}
		ns.ID = t.k.newInum(unix.CLONE_NEWUSER)
		c = nc
		t.k.getUserNS(ns)
		defer t.k.putUserNS(ns)
	}
	if flags&nsFlags != 0 && !c.Has(unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	fs := t.fs
	if flags&unix.CLONE_FS != 0 && fs.Shared() {
		fs = fs.Clone()
	}
	var ns *Namespaces
	if flags&nsFlags != 0 {
		var err error
		if ns, err = t.newNamespaces(t.ns, flags, c, fs); err != nil {
			if fs != t.fs {
				fs.DecRef()
			}
			return err
		}
	}
	if flags&unix.CLONE_FILES != 0 {
		if err := t.UnshareFiles(); err != nil {
			if ns != nil {
				ns.DecRef()
			}
			if fs != t.fs {
				fs.DecRef()
			}
			return err
		}
	}
	if fs != t.fs {
		t.setFS(fs)
	}
	if flags&(unix.CLONE_SYSVSEM|unix.CLONE_NEWIPC) != 0 && t.k.cfg.AtUnshareSem != nil {
		t.k.cfg.AtUnshareSem(t)
	}
	if ns != nil {
		t.switchNamespaces(ns)
	}
	if c != t.Cred() {
		t.SetCred(c)
	}
	return nil
}

func (t *Task) setFS(fs *vfs.FSContext) {
	t.mu.Lock()
	old := t.fs
	t.fs = fs
	t.mu.Unlock()
	if old != nil {
		old.DecRef()
	}
}

// SetFiles replaces the task's descriptor table, taking the reference over (close_range with
// CLOSE_RANGE_UNSHARE).
func (t *Task) setFiles(f *vfs.FDTable) {
	t.mu.Lock()
	old := t.files
	t.files = f
	t.mu.Unlock()
	if old != nil {
		old.DecRef(t)
	}
}

// UnshareFiles gives the task a descriptor table of its own, as unshare(CLONE_FILES) does.
func (t *Task) UnshareFiles() error {
	if !t.files.Shared() {
		return nil
	}
	files, err := t.cloneFiles()
	if err == nil {
		t.setFiles(files)
	}
	return err
}

// cloneFiles copies the task's descriptor table: EMFILE if it is larger than tables may have
// become since it was made (/proc/sys/fs/nr_open).
func (t *Task) cloneFiles() (*vfs.FDTable, error) {
	if most := int(t.k.VFS.NROpen.Load()); t.files.Size() > most {
		last := int32(0)
		t.files.ForEach(func(fd int32, _ *vfs.File, _ bool) bool {
			last = fd
			return true
		})
		if int(last) >= (most+63)&^63 {
			return nil, unix.EMFILE
		}
	}
	return t.files.Clone(), nil
}

// chrooted tells whether the root is not that of the mount namespace.
func (t *Task) chrooted() bool { return t.fs.Root() != t.ns.Mount.Root() }

// MountNS is the task's mount namespace.
func (t *Task) MountNS() *vfs.MountNamespace { return t.ns.Mount }

// getUserNS and putUserNS count who uses a user namespace, so that what it counts for is given
// back when nobody does.
func (k *Kernel) getUserNS(ns *cred.UserNamespace) {
	if ns.Parent() == nil {
		return
	}
	k.userNSMu.Lock()
	k.userNSRefs[ns]++
	k.userNSMu.Unlock()
}

func (k *Kernel) putUserNS(ns *cred.UserNamespace) {
	if ns.Parent() == nil {
		return
	}
	k.userNSMu.Lock()
	k.userNSRefs[ns]--
	last := k.userNSRefs[ns] == 0
	if last {
		delete(k.userNSRefs, ns)
	}
	k.userNSMu.Unlock()
	if last {
		ns.Release()
	}
}
