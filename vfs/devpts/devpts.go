// Package devpts is the file system of pseudo-terminals: ptmx, which makes a new
// pair each time it is opened, and one node for each slave. Every mount is an
// instance of its own.
//
// Lock order: instance.mu, then locks of package tty. Inodes are made and evicted
// without it.
package devpts

import (
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/tty"
)

const (
	magic = 0x1cd1 // DEVPTS_SUPER_MAGIC

	// maxPairs is the most pairs of one instance (Linux: /proc/sys/kernel/pty/max).
	maxPairs = 4096

	rootIno = 1
	ptmxIno = 2
	ttyIno  = 3 // of slave 0
)

// instance is one mounted devpts.
type instance struct {
	sb   *vfs.Superblock
	ptmx *vfs.Inode

	mu      sync.Mutex
	opts    options
	slaves  map[uint32]*vfs.Inode // a reference each
	ttys    map[uint32]*tty.TTY
	freeNum []bool // numbers in use
}

// Count is the number of pairs (/proc/sys/kernel/pty/nr).
func (p *instance) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ttys)
}

type options struct {
	uid, gid       uint32
	setUID, setGID bool
	mode, ptmxMode uint32
	max            int
}

// Type returns the file system type.
func Type() *vfs.FileSystemType {
	t := &vfs.FileSystemType{Name: "devpts", NoDev: true, UserNS: true}
	t.Mount = func(ctx vfs.Context, source string, flags uint64, data string) (*vfs.Superblock, error) {
		o := options{mode: 0600, max: maxPairs}
		if err := o.parse(ctx, data); err != nil {
			return nil, err
		}
		return mount(ctx, t, source, o), nil
	}
	t.Reconfigure = func(ctx vfs.Context, sb *vfs.Superblock, _ uint64, data string) error {
		p := sb.Data.(*instance)
		p.mu.Lock()
		o := p.opts
		p.mu.Unlock()
		if err := o.parse(ctx, data); err != nil {
			return err
		}
		p.mu.Lock()
		p.opts = o
		p.mu.Unlock()
		p.ptmx.UpdateAttr(func(a *vfs.Attr) { a.Mode = unix.S_IFCHR | o.ptmxMode })
		return nil
	}
	t.CheckOption = func(ctx vfs.Context, option string) error { return new(options).parse(ctx, option) }
	t.ShowOptions = func(sb *vfs.Superblock) string {
		p := sb.Data.(*instance)
		p.mu.Lock()
		o := p.opts
		p.mu.Unlock()
		var s []string
		if o.setUID {
			s = append(s, "uid="+strconv.Itoa(int(o.uid)))
		}
		if o.setGID {
			s = append(s, "gid="+strconv.Itoa(int(o.gid)))
		}
		s = append(s, "mode="+octal(o.mode), "ptmxmode="+octal(o.ptmxMode))
		if o.max != maxPairs {
			s = append(s, "max="+strconv.Itoa(o.max))
		}
		return strings.Join(s, ",")
	}
	return t
}

func octal(m uint32) string {
	s := strconv.FormatUint(uint64(m), 8)
	for len(s) < 3 {
		s = "0" + s
	}
	return s
}

func (o *options) parse(ctx vfs.Context, data string) error {
	for _, opt := range strings.Split(data, ",") {
		key, val, _ := strings.Cut(opt, "=")
		base := 10
		if key == "mode" || key == "ptmxmode" {
			base = 8
		}
		var n uint64
		switch key {
		case "", "newinstance":
			continue
		case "uid", "gid", "mode", "ptmxmode", "max":
			var err error
			if n, err = strconv.ParseUint(val, base, 32); err != nil {
				return unix.EINVAL
			}
		default:
			return unix.EINVAL
		}
		ns := ctx.Cred().UserNS
		switch key {
		case "uid":
			if o.uid = ns.MapUIDToKernel(uint32(n)); o.uid == cred.Invalid {
				return unix.EINVAL
			}
			o.setUID = true
		case "gid":
			if o.gid = ns.MapGIDToKernel(uint32(n)); o.gid == cred.Invalid {
				return unix.EINVAL
			}
			o.setGID = true
		case "mode":
			o.mode = uint32(n) & 0777
		case "ptmxmode":
			o.ptmxMode = uint32(n) & 0777
		case "max":
			if n == 0 || n > maxPairs {
				return unix.EINVAL
			}
			o.max = int(n)
		}
	}
	return nil
}

func mount(ctx vfs.Context, t *vfs.FileSystemType, source string, o options) *vfs.Superblock {
	sb := vfs.NewSuperblock(t, source, magic)
	p := &instance{sb: sb, opts: o, slaves: make(map[uint32]*vfs.Inode), ttys: make(map[uint32]*tty.TTY)}
	// sb.UserNS stays nil: terminals may be opened also where a user namespace has mounted them.
	sb.Data = p
	sb.NoNegative = true
	now := vfs.Now()
	uid, gid := ctx.Cred().FSUID, ctx.Cred().FSGID
	p.ptmx = vfs.NewInode(sb, ptmxIno, &nodeOps{}, vfs.Attr{
		Mode: unix.S_IFCHR | o.ptmxMode, Nlink: 1, UID: uid, GID: gid, Rdev: unix.Mkdev(5, 2), BlkSize: 1024,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	})
	sb.MakeRoot(vfs.NewInode(sb, rootIno, &dirOps{p: p}, vfs.Attr{
		Mode: unix.S_IFDIR | 0755, Nlink: 2, UID: uid, GID: gid, BlkSize: 1024,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	}))
	sb.Kill = func(*vfs.Superblock) { p.ptmx.DecRef() }
	return sb
}

// newPair makes a pair and its slave's node.
func (p *instance) newPair(ctx vfs.Context) (*tty.TTY, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.freeNum) && p.freeNum[n] {
		n++
	}
	if n >= p.opts.max {
		return nil, unix.ENOSPC
	}
	if n == len(p.freeNum) {
		p.freeNum = append(p.freeNum, false)
	}
	p.freeNum[n] = true

	t := tty.New(uint32(n))
	now := vfs.Now()
	uid, gid := ctx.Cred().FSUID, ctx.Cred().FSGID
	if p.opts.setUID {
		uid = p.opts.uid
	}
	if p.opts.setGID {
		gid = p.opts.gid
	}
	i := vfs.NewInode(p.sb, ttyIno+uint64(n), &nodeOps{t: t}, vfs.Attr{
		Mode: unix.S_IFCHR | p.opts.mode, Nlink: 1, UID: uid, GID: gid, Rdev: t.Rdev, BlkSize: 1024,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	})
	p.slaves[t.Index], p.ttys[t.Index] = i, t
	return t, nil
}

// drop takes a pair's node away: its master has been closed.
func (p *instance) drop(t *tty.TTY) {
	p.mu.Lock()
	i := p.slaves[t.Index]
	delete(p.slaves, t.Index)
	delete(p.ttys, t.Index)
	p.freeNum[t.Index] = false
	p.mu.Unlock()
	if i != nil {
		i.UpdateAttr(func(a *vfs.Attr) { a.Nlink = 0 })
		i.DecRef()
	}
}

func (p *instance) slave(name string) *vfs.Inode {
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != name {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.slaves[uint32(n)]
	if i != nil {
		i.IncRef()
	}
	return i
}

// OpenPTMX is the driver of device 5:2. The instance is the one that the node is in, or
// the one mounted at "pts" beside the node.
func OpenPTMX(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	if p, ok := i.SB.Data.(*instance); ok {
		return p.openMaster(ctx, f.Path.Mount)
	}
	if f.Path.Dentry == nil {
		return nil, unix.ENODEV
	}
	dir := vfs.Path{Mount: f.Path.Mount, Dentry: f.Path.Dentry.Parent()}
	if dir.Dentry == nil {
		return nil, unix.ENODEV
	}
	at, err := vfs.Lookup(ctx, dir, "pts", vfs.LookupFollow|vfs.LookupDirectory)
	if err != nil {
		return nil, unix.ENODEV
	}
	defer at.DecRef()
	p, ok := at.Mount.SB.Data.(*instance)
	if !ok {
		return nil, unix.ENODEV
	}
	return p.openMaster(ctx, at.Mount)
}

func (p *instance) openMaster(ctx vfs.Context, m *vfs.Mount) (vfs.FileOps, error) {
	t, err := p.newPair(ctx)
	if err != nil {
		return nil, err
	}
	// An open master keeps its instance.
	p.sb.IncRef()
	onClose := func() {
		p.drop(t)
		p.sb.DecRef()
	}
	peer := func(ctx vfs.Context, flags uint32) (*vfs.File, error) {
		root := vfs.Path{Mount: m, Dentry: m.Root()}
		at, err := vfs.Lookup(ctx, root, strconv.Itoa(int(t.Index)), 0)
		if err != nil {
			return nil, unix.EIO
		}
		defer at.DecRef()
		return vfs.OpenPath(ctx, at, flags&^unix.O_CLOEXEC)
	}
	return t.OpenMaster(onClose, peer), nil
}

// OpenSlave is the driver of devices 136:0 and up.
func OpenSlave(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	n, ok := i.Ops.(*nodeOps)
	if !ok || n.t == nil {
		return nil, unix.EIO // a node made by hand: no terminal belongs to it
	}
	s, err := n.t.OpenSlave(ctx, f.OpenFlags())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// nodeOps is ptmx (t is nil) or a slave's node.
type nodeOps struct {
	vfs.DefaultInodeOps
	t *tty.TTY
}

func (*nodeOps) SetAttr(_ vfs.Context, i *vfs.Inode, s *vfs.SetAttr) error {
	i.UpdateAttr(func(a *vfs.Attr) { s.Apply(a) })
	return nil
}

// dirOps is the root directory.
type dirOps struct {
	vfs.DefaultInodeOps
	p *instance
}

func (d *dirOps) Lookup(_ vfs.Context, _ *vfs.Inode, name string) (*vfs.Inode, error) {
	if name == "ptmx" {
		d.p.ptmx.IncRef()
		return d.p.ptmx, nil
	}
	if i := d.p.slave(name); i != nil {
		return i, nil
	}
	return nil, unix.ENOENT
}

// Revalidate implements vfs.Revalidator: slaves come and go by themselves.
func (d *dirOps) Revalidate(_ vfs.Context, _ *vfs.Inode, name string, i *vfs.Inode) bool {
	if name == "ptmx" {
		return true
	}
	now := d.p.slave(name)
	if now != nil {
		now.DecRef()
	}
	return now == i
}

func (d *dirOps) SetAttr(_ vfs.Context, i *vfs.Inode, s *vfs.SetAttr) error {
	if s.Valid&vfs.AttrSize != 0 {
		return unix.EISDIR
	}
	i.UpdateAttr(func(a *vfs.Attr) { s.Apply(a) })
	return nil
}

func (d *dirOps) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
	return &dirFile{p: d.p}, nil
}

// dirFile is the open root directory. Positions: 0 ".", 1 "..", 2 ptmx, then 3 + number.
type dirFile struct {
	vfs.DefaultFileOps
	p *instance
}

func (f *dirFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	switch whence {
	case unix.SEEK_CUR:
		off += pos
	case unix.SEEK_SET:
	default:
		return 0, unix.EINVAL
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	return off, nil
}

func (f *dirFile) Read(vfs.Context, *vfs.File, *usermem.IO, int64, vfs.IOFlags) (int64, error) {
	return 0, unix.EISDIR
}

func (f *dirFile) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return nil }

func (f *dirFile) ReadDir(_ vfs.Context, _ *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	first := []vfs.Dirent{
		{Name: ".", Ino: rootIno, Type: unix.DT_DIR, Off: 1},
		{Name: "..", Ino: rootIno, Type: unix.DT_DIR, Off: 2},
		{Name: "ptmx", Ino: ptmxIno, Type: unix.DT_CHR, Off: 3},
	}
	for ; pos < 3; pos++ {
		if !emit(first[pos]) {
			return pos, nil
		}
	}
	f.p.mu.Lock()
	var nums []int64
	for n := range f.p.slaves {
		if int64(n)+3 >= pos {
			nums = append(nums, int64(n))
		}
	}
	f.p.mu.Unlock()
	sort.Slice(nums, func(i, j int) bool { return nums[i] < nums[j] })
	for _, n := range nums {
		d := vfs.Dirent{Name: strconv.FormatInt(n, 10), Ino: uint64(ttyIno + n), Type: unix.DT_CHR, Off: n + 4}
		if !emit(d) {
			return n + 3, nil
		}
		pos = n + 4
	}
	return pos, nil
}
