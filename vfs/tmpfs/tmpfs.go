package tmpfs

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// bogoDirentSize is what an entry adds to its directory's size.
const bogoDirentSize = 20

// fileSystem is one tmpfs.
type fileSystem struct {
	sb  *vfs.Superblock
	mem *mm.Memory

	// Limits; 0 is none. They change by remount.
	maxPages  atomic.Int64
	maxInodes atomic.Int64
	pages     atomic.Int64
	inodes    atomic.Int64

	// mu protects what ShowOptions tells.
	mu       sync.Mutex
	opts     options
	defPages int64
}

// Type is the file system type "tmpfs" with its files in mem.
func Type(mem *mm.Memory) *vfs.FileSystemType { return newType("tmpfs", mem) }

// RamfsType is "ramfs": a tmpfs without limits.
func RamfsType(mem *mm.Memory) *vfs.FileSystemType { return newType("ramfs", mem) }

func newType(name string, mem *mm.Memory) *vfs.FileSystemType {
	t := &vfs.FileSystemType{
		Name: name, NoDev: true, UserNS: name == "tmpfs",
		Reconfigure: func(ctx vfs.Context, sb *vfs.Superblock, flags uint64, data string) error {
			return sb.Data.(*fileSystem).reconfigure(ctx, data)
		},
		ShowOptions: func(sb *vfs.Superblock) string { return sb.Data.(*fileSystem).showOptions() },
	}
	if name == "tmpfs" { // a ramfs ignores what it does not know
		t.CheckOption = func(ctx vfs.Context, option string) error {
			_, err := (&fileSystem{mem: mem}).parse(ctx, option)
			return err
		}
	}
	t.Mount = func(ctx vfs.Context, source string, flags uint64, data string) (*vfs.Superblock, error) {
		fs, err := newFileSystem(ctx, t, mem, source, data)
		if err != nil {
			return nil, err
		}
		return fs.sb, nil
	}
	return t
}

// New makes a tmpfs without going through a mount call. data are mount options.
func New(ctx vfs.Context, mem *mm.Memory, source, data string) (*vfs.Superblock, error) {
	return Type(mem).Mount(ctx, source, 0, data)
}

// options are mount options; nil or negative: not given.
type options struct {
	size, inodes int64
	mode         int64
	uid, gid     int64
}

func (fs *fileSystem) parse(ctx vfs.Context, data string) (options, error) {
	o := options{-1, -1, -1, -1, -1}
	total := fs.mem.Limit()
	for _, opt := range strings.Split(data, ",") {
		if opt == "" {
			continue
		}
		key, val, hasVal := strings.Cut(opt, "=")
		switch key {
		case "size":
			n, err := parseSize(val, total)
			if err != nil {
				return o, err
			}
			o.size = (n + mm.PageSize - 1) / mm.PageSize
		case "nr_blocks":
			n, err := parseSize(val, 0)
			if err != nil {
				return o, err
			}
			o.size = n
		case "nr_inodes":
			n, err := parseSize(val, 0)
			if err != nil {
				return o, err
			}
			o.inodes = n
		case "mode":
			n, err := strconv.ParseUint(val, 8, 32)
			if err != nil {
				return o, unix.EINVAL
			}
			o.mode = int64(n & 07777)
		case "uid", "gid":
			n, err := strconv.ParseUint(val, 10, 32)
			if err != nil {
				return o, unix.EINVAL
			}
			ns := ctx.Cred().UserNS
			k := ns.MapUIDToKernel(uint32(n))
			if key == "gid" {
				k = ns.MapGIDToKernel(uint32(n))
			}
			if k == cred.Invalid {
				return o, unix.EINVAL
			}
			if key == "uid" {
				o.uid = int64(k)
			} else {
				o.gid = int64(k)
			}
		case "huge", "mpol":
			// How pages are laid out is mm's business.
			if !hasVal {
				return o, unix.EINVAL
			}
		case "inode32", "inode64", "noswap":
		default:
			return o, unix.EINVAL
		}
	}
	return o, nil
}

// parseSize reads a number with a suffix k, m, g, t or %, the latter of total.
func parseSize(s string, total int64) (int64, error) {
	if s == "" {
		return 0, unix.EINVAL
	}
	mul := int64(1)
	percent := false
	switch s[len(s)-1] {
	case 'k', 'K':
		mul = 1 << 10
	case 'm', 'M':
		mul = 1 << 20
	case 'g', 'G':
		mul = 1 << 30
	case 't', 'T':
		mul = 1 << 40
	case '%':
		percent = true
		if total == 0 {
			return 0, unix.EINVAL
		}
	}
	if mul != 1 || percent {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < 0 || n > (1<<62)/mul {
		return 0, unix.EINVAL
	}
	if percent {
		if n > 1<<20 {
			return 0, unix.EINVAL
		}
		return total / 100 * n, nil
	}
	return n * mul, nil
}

func newFileSystem(ctx vfs.Context, t *vfs.FileSystemType, mem *mm.Memory, source, data string) (*fileSystem, error) {
	fs := &fileSystem{mem: mem}
	o, err := fs.parse(ctx, data)
	if err != nil {
		return nil, err
	}
	c := ctx.Cred()
	if t.Name == "tmpfs" {
		fs.defPages = mem.Limit() / 2 / mm.PageSize
		fs.maxPages.Store(fs.defPages)
		fs.maxInodes.Store(fs.defPages)
		if o.size >= 0 {
			fs.maxPages.Store(o.size)
		}
		if o.inodes >= 0 {
			fs.maxInodes.Store(o.inodes)
		}
	}
	if o.mode < 0 {
		o.mode = 01777
		if t.Name == "ramfs" {
			o.mode = 0755
		}
	}
	if o.uid < 0 {
		o.uid = int64(c.FSUID)
	}
	if o.gid < 0 {
		o.gid = int64(c.FSGID)
	}
	fs.opts = o

	sb := vfs.NewSuperblock(t, source, unix.TMPFS_MAGIC)
	if t.Name == "ramfs" {
		sb.Magic = unix.RAMFS_MAGIC
	}
	sb.Data = fs
	sb.UserNS = c.UserNS
	sb.InodeFlags = true
	sb.MaxBytes = maxBytes
	sb.StatFS = fs.statFS
	fs.sb = sb
	now := vfs.Now()
	root, err := fs.newInode(unix.S_IFDIR|uint32(o.mode), uint32(o.uid), uint32(o.gid), 0, "", now)
	if err != nil {
		return nil, err
	}
	sb.MakeRoot(root)
	return fs, nil
}

func (fs *fileSystem) reconfigure(ctx vfs.Context, data string) error {
	o, err := fs.parse(ctx, data)
	if err != nil {
		return err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if o.size >= 0 {
		// A file system that did not count cannot begin to.
		if o.size != 0 && (fs.maxPages.Load() == 0 || fs.pages.Load() > o.size) {
			return unix.EINVAL
		}
	}
	if o.inodes >= 0 {
		if o.inodes != 0 && (fs.maxInodes.Load() == 0 || fs.inodes.Load() > o.inodes) {
			return unix.EINVAL
		}
		fs.maxInodes.Store(o.inodes)
		fs.opts.inodes = o.inodes
	}
	if o.size >= 0 {
		fs.maxPages.Store(o.size)
		fs.opts.size = o.size
	}
	return nil
}

func (fs *fileSystem) showOptions() string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var opts []string
	if n := fs.maxPages.Load(); n != fs.defPages {
		opts = append(opts, fmt.Sprintf("size=%dk", n*mm.PageSize/1024))
	}
	if n := fs.maxInodes.Load(); n != fs.defPages {
		opts = append(opts, fmt.Sprintf("nr_inodes=%d", n))
	}
	if fs.opts.mode != 01777 {
		opts = append(opts, fmt.Sprintf("mode=%03o", fs.opts.mode))
	}
	if fs.opts.uid != 0 {
		opts = append(opts, fmt.Sprintf("uid=%d", fs.opts.uid))
	}
	if fs.opts.gid != 0 {
		opts = append(opts, fmt.Sprintf("gid=%d", fs.opts.gid))
	}
	if fs.sb.Type.Name == "tmpfs" {
		opts = append(opts, "inode64")
	}
	return strings.Join(opts, ",")
}

func (fs *fileSystem) statFS() unix.Statfs_t {
	s := unix.Statfs_t{Type: fs.sb.Magic, Bsize: mm.PageSize, Frsize: mm.PageSize, Namelen: 255}
	if max := fs.maxPages.Load(); max != 0 {
		s.Blocks = uint64(max)
		if free := max - fs.pages.Load(); free > 0 {
			s.Bfree, s.Bavail = uint64(free), uint64(free)
		}
	}
	if max := fs.maxInodes.Load(); max != 0 {
		s.Files = uint64(max)
		if free := max - fs.inodes.Load(); free > 0 {
			s.Ffree = uint64(free)
		}
	}
	return s
}

// charge is the quota callback of the page caches.
func (fs *fileSystem) charge(delta int64) error {
	n := fs.pages.Add(delta)
	if max := fs.maxPages.Load(); delta > 0 && max != 0 && n > max {
		fs.pages.Add(-delta)
		return unix.ENOSPC
	}
	return nil
}

// newInode makes an inode with one reference and nlink 1 (2 for a directory). target is a
// symlink's.
func (fs *fileSystem) newInode(mode, uid, gid uint32, rdev uint64, target string, now vfs.Timespec) (*vfs.Inode, error) {
	n := fs.inodes.Add(1)
	if max := fs.maxInodes.Load(); max != 0 && n > max {
		fs.inodes.Add(-1)
		return nil, unix.ENOSPC
	}
	attr := vfs.Attr{
		Mode: mode, Nlink: 1, UID: uid, GID: gid, BlkSize: mm.PageSize,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	}
	var ops vfs.InodeOps
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		r := &regular{node: node{fs: fs}}
		r.seals.Store(unix.F_SEAL_SEAL)
		r.cache = fs.mem.NewPageCache(nil, 0)
		r.cache.SetQuota(fs.charge)
		r.file.r = r
		ops = r
	case unix.S_IFDIR:
		attr.Nlink = 2
		attr.Size = 2 * bogoDirentSize
		ops = &dir{node: node{fs: fs}}
	case unix.S_IFLNK:
		attr.Size = int64(len(target))
		ops = &symlink{node: node{fs: fs}, target: target}
	default:
		attr.Rdev = rdev
		ops = &special{node{fs: fs}}
	}
	return vfs.NewInode(fs.sb, fs.sb.NewIno(), ops, attr), nil
}
