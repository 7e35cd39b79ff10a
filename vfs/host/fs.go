package host

import (
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// IDRange says that Count ids from Host on of the host are those from Guest on of the guest.
type IDRange struct{ Host, Guest, Count uint32 }

// Options are how a host directory is shown.
type Options struct {
	// Name is what /proc/mounts shows as the source.
	Name string
	// Exclusive: nobody but this file system changes the directory.
	Exclusive bool
	// ReadOnly: nothing is changed.
	ReadOnly bool
	// UIDs and GIDs translate ids; empty: they are the same. What is in no range
	// shows as 65534 and cannot be set.
	UIDs, GIDs []IDRange
	// ProcSelfFD is a descriptor of /proc/self/fd, opened by this process, which stays the
	// caller's; -1 if there is none. Files of shared directories are opened through it, which makes
	// sure that what is opened is what was looked at; and chmod of all types needs it before Linux 6.6.
	ProcSelfFD int
}

// magic is what statfs shows for want of the host's own.
const magic = 0x01021997 // V9FS_MAGIC

// fileSystem is one host directory.
type fileSystem struct {
	sb     *vfs.Superblock
	mem    *mm.Memory
	opts   Options
	shared bool
	rootFD int
	dev    uint64 // of the root

	// mu protects nodes.
	mu    sync.Mutex
	nodes map[inodeKey]*node
}

// inodeKey identifies an inode of the host.
type inodeKey struct{ dev, ino uint64 }

// fsType is for /proc/filesystems and /proc/mounts; it cannot be mounted by name.
var fsType = &vfs.FileSystemType{
	Name: "hostfs", NoDev: true,
	Mount: func(vfs.Context, string, uint64, string) (*vfs.Superblock, error) {
		return nil, unix.ENODEV
	},
	ShowOptions: func(sb *vfs.Superblock) string {
		if sb.Data.(*fileSystem).shared {
			return "cache=shared"
		}
		return "cache=exclusive"
	},
}

// New makes a file system of the directory that rootfd is open on (O_PATH will do), and
// takes rootfd over.
func New(mem *mm.Memory, rootfd int, opts Options) (*vfs.Superblock, error) {
	fs := &fileSystem{
		mem: mem, opts: opts, shared: !opts.Exclusive, rootFD: rootfd,
		nodes: make(map[inodeKey]*node),
	}
	if fs.opts.ProcSelfFD == 0 {
		fs.opts.ProcSelfFD = -1 // nobody has it as standard input
	}
	var st unix.Statx_t
	if err := statx(rootfd, "", &st); err != nil {
		return nil, fmt.Errorf("host directory %q: %w", opts.Name, err)
	}
	if uint32(st.Mode)&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("host directory %q: %w", opts.Name, unix.ENOTDIR)
	}
	fs.dev = devOf(&st)
	sb := vfs.NewSuperblock(fsType, opts.Name, magic)
	sb.Data = fs
	sb.UserNS = cred.InitUserNS()
	sb.StatFS = fs.statFS
	sb.SyncFS = fs.sync
	sb.Kill = fs.kill
	sb.SetFlags(unix.MS_NOATIME) // the host keeps times
	if opts.ReadOnly {
		sb.SetFlags(unix.MS_NOATIME | unix.MS_RDONLY)
	}
	fs.sb = sb
	i, err := fs.inode(nil, "", &st)
	if err != nil {
		return nil, err
	}
	nodeOf(i).root = true
	sb.MakeRoot(i)
	return sb, nil
}

func (fs *fileSystem) statFS() unix.Statfs_t {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fs.rootFD, &s); err != nil {
		return unix.Statfs_t{}
	}
	s.Fsid = unix.Fsid{}
	return s
}

// sync writes back what mappings changed.
func (fs *fileSystem) sync(vfs.Context) error {
	fs.mu.Lock()
	var dirty []*node
	for _, n := range fs.nodes {
		if n.pages.Load() != nil && n.inode.TryIncRef() {
			dirty = append(dirty, n)
		}
	}
	fs.mu.Unlock()
	var first error
	for _, n := range dirty {
		if err := n.writeBack(); err != nil && first == nil {
			first = err
		}
		n.inode.DecRef()
	}
	return first
}

func (fs *fileSystem) kill(*vfs.Superblock) { _ = unix.Close(fs.rootFD) }

// guestID and hostID translate.
func guestID(ranges []IDRange, id uint32) uint32 {
	if len(ranges) == 0 {
		return id
	}
	for _, r := range ranges {
		if id >= r.Host && id-r.Host < r.Count {
			return r.Guest + (id - r.Host)
		}
	}
	return cred.Overflow
}

func hostID(ranges []IDRange, id uint32) (uint32, bool) {
	if len(ranges) == 0 {
		return id, true
	}
	for _, r := range ranges {
		if id >= r.Guest && id-r.Guest < r.Count {
			return r.Host + (id - r.Guest), true
		}
	}
	return 0, false
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// statx asks for an entry of a directory, or with name "" for fd itself.
func statx(fd int, name string, st *unix.Statx_t) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return retry(func() error { return unix.Statx(fd, name, flags, statMask, st) })
}

// retry repeats what a signal to the sentry interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func devOf(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

func keyOf(st *unix.Statx_t) inodeKey { return inodeKey{devOf(st), st.Ino} }

// ino is the number that the guest sees: the host's, marked if it is of another device
// than the root's.
func (fs *fileSystem) ino(k inodeKey) uint64 {
	if k.dev == fs.dev {
		return k.ino
	}
	return k.ino ^ k.dev*0x9e3779b97f4a7c15 | 1<<63
}

// attr translates what the host says.
func (fs *fileSystem) attr(st *unix.Statx_t) vfs.Attr {
	ts := func(t unix.StatxTimestamp) vfs.Timespec {
		return vfs.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
	}
	a := vfs.Attr{
		Mode:    uint32(st.Mode),
		Nlink:   st.Nlink,
		UID:     guestID(fs.opts.UIDs, st.Uid),
		GID:     guestID(fs.opts.GIDs, st.Gid),
		Rdev:    unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		Size:    int64(st.Size),
		Blocks:  int64(st.Blocks),
		BlkSize: int32(st.Blksize),
		Atime:   ts(st.Atime),
		Mtime:   ts(st.Mtime),
		Ctime:   ts(st.Ctime),
		Flags:   st.Attributes & (unix.STATX_ATTR_APPEND | unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_NODUMP),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		a.Btime = ts(st.Btime)
	}
	return a
}

// checkName makes sure that what is passed to the host is one component.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

// inode finds or makes the inode for what st describes, at name in parent, and returns it with a
// reference.
func (fs *fileSystem) inode(parent *node, name string, st *unix.Statx_t) (*vfs.Inode, error) {
	k := keyOf(st)
	attr := fs.attr(st)
	fs.mu.Lock()
	n := fs.nodes[k]
	var seen uint64
	if n != nil {
		seen = n.seen()
	}
	if n != nil && n.typ == attr.Mode&unix.S_IFMT && n.btime == attr.Btime && n.inode.TryIncRef() {
		fs.mu.Unlock()
		n.renamed(parent, name, attr.Nlink)
		n.update(attr, seen)
		return n.inode, nil
	}
	n = &node{fs: fs, key: k, typ: attr.Mode & unix.S_IFMT, btime: attr.Btime, attr: attr}
	n.addName(parent, name, attr.Nlink)
	var ops vfs.InodeOps
	switch n.typ {
	case unix.S_IFDIR:
		d := &dir{node: n}
		ops = d
		if fs.shared {
			ops = &sharedDir{d}
		}
	case unix.S_IFREG:
		ops = &regular{n}
	case unix.S_IFLNK:
		ops = &symlink{node: n}
	default:
		ops = n
	}
	n.inode = vfs.NewInode(fs.sb, fs.ino(k), ops, attr)
	fs.nodes[k] = n
	fs.mu.Unlock()
	return n.inode, nil
}

// forget takes n out of the table: its inode number may be used again.
func (fs *fileSystem) forget(n *node) {
	fs.mu.Lock()
	if fs.nodes[n.key] == n {
		delete(fs.nodes, n.key)
	}
	fs.mu.Unlock()
}
