package ipc

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

const mqMagic = 0x19800202

// mqFS is the mqueue file system of a namespace: one directory of queues.
type mqFS struct {
	vfs.DefaultInodeOps
	ns   *Namespace
	sb   *vfs.Superblock
	path vfs.Path // the kernel's own mount, where mq_open looks

	mu     sync.Mutex
	names  map[string]*vfs.Inode // a reference each
	cookie map[string]int64      // position in the directory
	last   int64
	bytes  map[uint32]int64 // charged, by user (RLIMIT_MSGQUEUE)
}

func (fs *mqFS) init(ns *Namespace, reg *vfs.Registry) {
	fs.ns = ns
	fs.names = make(map[string]*vfs.Inode)
	fs.cookie = make(map[string]int64)
	fs.bytes = make(map[uint32]int64)
	fs.sb = vfs.NewSuperblock(&vfs.FileSystemType{Name: "mqueue", NoDev: true, UserNS: true}, "mqueue", mqMagic)
	fs.sb.Data = fs
	fs.sb.NoNegative = true
	t := vfs.Now()
	uid, gid := uint32(0), uint32(0)
	if ns.UserNS != nil {
		uid, gid = ns.UserNS.RootUID(), ns.UserNS.RootGID()
	}
	fs.sb.MakeRoot(vfs.NewInode(fs.sb, fs.sb.NewIno(), fs, vfs.Attr{
		Mode: unix.S_IFDIR | unix.S_ISVTX | 0777, Nlink: 2, UID: uid, GID: gid, BlkSize: pageSize,
		Atime: t, Mtime: t, Ctime: t,
	}))
	if reg != nil {
		m := reg.KernMount(fs.sb)
		fs.path = vfs.Path{Mount: m, Dentry: m.Root()}
	}
}

// release drops the queues' names and the kernel's mount.
func (fs *mqFS) release() {
	fs.mu.Lock()
	names := fs.names
	fs.names = make(map[string]*vfs.Inode)
	fs.mu.Unlock()
	for _, i := range names {
		i.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
		i.DecRef()
	}
	if m := fs.path.Mount; m != nil {
		fs.path = vfs.Path{}
		m.DecRef()
	}
	fs.sb.DecRef()
}

// MQueueType is the file system type "mqueue"; find tells the IPC namespace of who mounts it.
func MQueueType(find func(ctx vfs.Context) (*Namespace, error)) *vfs.FileSystemType {
	return &vfs.FileSystemType{
		Name: "mqueue", NoDev: true, UserNS: true,
		Mount: func(ctx vfs.Context, _ string, _ uint64, _ string) (*vfs.Superblock, error) {
			ns, err := find(ctx)
			if err != nil {
				return nil, err
			}
			if !ns.mq.sb.TryIncRef() {
				return nil, unix.ENODEV
			}
			return ns.mq.sb, nil
		},
	}
}

// mqContext brings the attributes of a new queue through path walk to Create.
type mqContext struct {
	vfs.Context
	attr *MQAttr
}

func checkName(name string) error {
	switch {
	case name == "":
		return unix.ENOENT
	case strings.Contains(name, "/"), name == ".", name == "..":
		return unix.EACCES
	case len(name) > 255:
		return unix.ENAMETOOLONG
	}
	return nil
}

// MQOpen is mq_open(2); name has no leading slash (the system call's has none). attr is that of
// a queue that is made, or nil. O_CLOEXEC is the descriptor's.
func (ns *Namespace) MQOpen(ctx vfs.Context, name string, flags uint32, mode uint32, attr *MQAttr) (*vfs.File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !ns.mq.path.Valid() {
		return nil, unix.ENOSYS
	}
	how := unix.OpenHow{Flags: uint64(flags & (unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NONBLOCK))}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode & 07777)
		if attr != nil {
			if err := ns.mq.checkAttr(ctx, attr); err != nil {
				return nil, err
			}
		}
	}
	how.Flags |= unix.O_NOFOLLOW
	return vfs.Open(mqContext{ctx, attr}, ns.mq.path, name, how)
}

// MQUnlink is mq_unlink(2).
func (ns *Namespace) MQUnlink(ctx vfs.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !ns.mq.path.Valid() {
		return unix.ENOSYS
	}
	return vfs.Unlink(ctx, ns.mq.path, name)
}

func (fs *mqFS) checkAttr(ctx vfs.Context, a *MQAttr) error {
	maxMsg, maxSize := fs.ns.Limits.MQMessages.Load(), fs.ns.Limits.MQMessageSize.Load()
	if ctx.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
		maxMsg, maxSize = mqHardMsgs, mqHardSize
	}
	if a.MaxMsg <= 0 || a.MsgSize <= 0 || a.MaxMsg > maxMsg || a.MsgSize > maxSize {
		return unix.EINVAL
	}
	return nil
}

// Create implements vfs.InodeOps: a new queue.
func (fs *mqFS) Create(ctx vfs.Context, dir *vfs.Inode, name string, mode uint32) (*vfs.Inode, error) {
	l := &fs.ns.Limits
	maxMsg := min(l.MQMessages.Load(), l.MQMessagesDefault.Load())
	msgSize := min(l.MQMessageSize.Load(), l.MQMessageSizeDefault.Load())
	if c, ok := ctx.(mqContext); ok && c.attr != nil {
		maxMsg, msgSize = c.attr.MaxMsg, c.attr.MsgSize
	}
	// What Linux counts: the messages, their headers, and the tree of priorities.
	charge := maxMsg*msgSize + maxMsg*48 + min(maxMsg, mqPrioMax)*48
	uid := ctx.Cred().UID
	t := vfs.Now()
	q := &mqueue{fs: fs, maxMsg: int(maxMsg), msgSize: int(msgSize), charged: charge, uid: uid}
	i := vfs.NewInode(fs.sb, fs.sb.NewIno(), q, vfs.Attr{
		Mode: unix.S_IFREG | mode&07777, Nlink: 1, UID: ctx.Cred().FSUID, GID: ctx.Cred().FSGID,
		Size: 80, BlkSize: pageSize, Atime: t, Mtime: t, Ctime: t,
	})

	fs.mu.Lock()
	defer fs.mu.Unlock()
	if int64(len(fs.names)) >= l.MQQueues.Load() && !ctx.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
		return nil, unix.ENOSPC
	}
	if limit := ctx.Limit(unix.RLIMIT_MSGQUEUE); uint64(fs.bytes[uid]+charge) > limit {
		return nil, unix.EMFILE
	}
	fs.bytes[uid] += charge
	i.IncRef()
	fs.names[name] = i
	fs.last++
	fs.cookie[name] = fs.last
	dir.UpdateAttr(func(a *vfs.Attr) { a.Mtime, a.Ctime, a.Size = t, t, a.Size+20 })
	return i, nil
}

// Lookup implements vfs.InodeOps.
func (fs *mqFS) Lookup(_ vfs.Context, _ *vfs.Inode, name string) (*vfs.Inode, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := fs.names[name]
	if i == nil {
		return nil, unix.ENOENT
	}
	i.IncRef()
	return i, nil
}

// Unlink implements vfs.InodeOps.
func (fs *mqFS) Unlink(_ vfs.Context, dir *vfs.Inode, name string, _ *vfs.Inode) error {
	fs.mu.Lock()
	i := fs.names[name]
	delete(fs.names, name)
	delete(fs.cookie, name)
	fs.mu.Unlock()
	if i == nil {
		return unix.ENOENT
	}
	t := vfs.Now()
	i.UpdateAttr(func(a *vfs.Attr) { a.Nlink, a.Ctime = 0, t })
	dir.UpdateAttr(func(a *vfs.Attr) { a.Mtime, a.Ctime, a.Size = t, t, max(a.Size-20, 0) })
	i.DecRef()
	return nil
}

// SetAttr implements vfs.InodeOps.
func (fs *mqFS) SetAttr(_ vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error { return setAttr(i, a) }

// SetAttr implements vfs.InodeOps; the size cannot be changed, and truncation does nothing.
func (q *mqueue) SetAttr(_ vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error { return setAttr(i, a) }

func setAttr(i *vfs.Inode, a *vfs.SetAttr) error {
	i.UpdateAttr(func(at *vfs.Attr) { a.Apply(at) })
	return nil
}

// Open implements vfs.InodeOps.
func (q *mqueue) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	return &MQFile{q: q}, nil
}

// Evict implements vfs.InodeOps: nobody can reach the queue any more.
func (q *mqueue) Evict(*vfs.Inode) {
	q.mu.Lock()
	for i := range q.msgs {
		q.fs.ns.mem.UnchargeKernel(q.msgs[i].cost())
	}
	q.msgs = nil
	q.mu.Unlock()
	q.fs.mu.Lock()
	if q.fs.bytes[q.uid] -= q.charged; q.fs.bytes[q.uid] <= 0 {
		delete(q.fs.bytes, q.uid)
	}
	q.fs.mu.Unlock()
}

// Open implements vfs.InodeOps.
func (fs *mqFS) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	return &mqDir{fs: fs}, nil
}

// mqDir is the open directory. Positions are cookies, which follow 0 "." and 1 "..".
type mqDir struct {
	vfs.DefaultFileOps
	fs *mqFS
}

// Seek implements vfs.FileOps.
func (d *mqDir) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	return vfs.SeekDir(pos, off, whence)
}

// Sync implements vfs.FileOps.
func (d *mqDir) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return nil }

// ReadDir implements vfs.FileOps.
func (d *mqDir) ReadDir(_ vfs.Context, _ *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	root := d.fs.sb.Root.Inode().Ino
	for ; pos < 2; pos++ {
		if !emit(vfs.Dirent{Name: ".."[:pos+1], Ino: root, Type: unix.DT_DIR, Off: pos + 1}) {
			return pos, nil
		}
	}
	var list []vfs.Dirent
	d.fs.mu.Lock()
	for name, i := range d.fs.names {
		if c := d.fs.cookie[name] + 1; c >= pos {
			list = append(list, vfs.Dirent{Name: name, Ino: i.Ino, Type: unix.DT_REG, Off: c + 1})
		}
	}
	d.fs.mu.Unlock()
	list = slices.Clip(list)
	sort.Slice(list, func(a, b int) bool { return list[a].Off < list[b].Off })
	for _, e := range list {
		if !emit(e) {
			return e.Off - 1, nil
		}
		pos = e.Off
	}
	return pos, nil
}
