package overlay

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// magic is OVERLAYFS_SUPER_MAGIC.
const magic = 0x794c7630

// maxLowers is how many lower layers there may be (Linux: OVL_MAX_STACK).
const maxLowers = 500

// Config is what an overlay is made of.
type Config struct {
	// Lowers are the lower layers, the topmost first. At least one.
	Lowers []vfs.Path
	// Upper takes the changes; nil makes the overlay read-only.
	Upper *vfs.Path
	// Work is an empty directory on the file system of Upper.
	Work *vfs.Path
	// Source is what /proc/mounts shows.
	Source string
	// Options is what /proc/mounts shows as options.
	Options string
	// UserXattr: attributes are in user.overlay instead of trusted.overlay.
	UserXattr bool
	// Cred are the rights that the layers are used with; nil: the kernel's.
	Cred *cred.Cred
}

// layer is one of the trees.
type layer struct {
	root vfs.Path // with a reference, on a private mount
	sbID uint64   // number of its file system among those of the layers
	// xwhiteouts: regular files may be whiteouts, marked by an attribute.
	xwhiteouts bool
}

// fileSystem is one overlay.
type fileSystem struct {
	sb     *vfs.Superblock
	cfg    Config
	cred   *cred.Cred
	upper  *layer
	work   vfs.Path
	lowers []layer
	mounts []*vfs.MountNamespace // the private mounts
	prefix string                // of attributes: "trusted.overlay." or "user.overlay."
	temp   atomic.Uint64         // for names in work

	// mu protects the tables.
	mu     sync.Mutex
	inodes map[*vfs.Inode]*inode // by real inode, upper or lower
	index  map[*vfs.Inode]*links // lower inodes with several links, of which something changed
	copied map[*vfs.Inode]*links // the same by upper inode
}

// links is what became of a lower inode with several links.
type links struct {
	lower vfs.Path                 // with a reference
	upper atomic.Pointer[vfs.Path] // where it was copied to; with a reference
	// names is how many of its names are still those of the lower layer.
	names atomic.Int32
}

// Type is the file system type "overlay".
func Type() *vfs.FileSystemType {
	return &vfs.FileSystemType{Name: "overlay", NoDev: true, UserNS: true, Mount: mount, ShowOptions: showOptions}
}

// plainType is what overlays have that New made.
var plainType = Type()

func showOptions(sb *vfs.Superblock) string { return sb.Data.(*fileSystem).cfg.Options }

// mount is mount(2) on type overlay.
func mount(ctx vfs.Context, source string, flags uint64, data string) (*vfs.Superblock, error) {
	cfg := Config{Source: source, Cred: ctx.Cred(), Options: data}
	var lowers []string
	var upper, work string
	for _, opt := range splitEscaped(data, ',') {
		key, val, _ := strings.Cut(opt, "=")
		switch key {
		case "":
		case "lowerdir":
			lowers = splitEscaped(val, ':')
		case "lowerdir+":
			lowers = append(lowers, val)
		case "upperdir":
			upper = unescape(val)
		case "workdir":
			work = unescape(val)
		case "userxattr":
			cfg.UserXattr = true
		case "redirect_dir", "index", "metacopy", "nfs_export":
			if val != "off" && val != "nofollow" {
				return nil, unix.EINVAL
			}
		case "xino", "uuid", "verity", "default_permissions", "volatile":
		default:
			return nil, unix.EINVAL
		}
	}
	if len(lowers) == 0 || (upper == "") != (work == "") && upper != "" {
		return nil, unix.EINVAL
	}
	var held []vfs.Path
	defer func() {
		for _, p := range held {
			p.DecRef()
		}
	}()
	dir := func(name string) (vfs.Path, error) {
		p, err := vfs.Lookup(ctx, vfs.Path{}, name, vfs.LookupFollow|vfs.LookupDirectory)
		if err == nil {
			held = append(held, p)
		}
		return p, err
	}
	for _, l := range lowers {
		p, err := dir(unescape(l))
		if err != nil {
			return nil, err
		}
		cfg.Lowers = append(cfg.Lowers, p)
	}
	if upper != "" {
		u, err := dir(upper)
		if err != nil {
			return nil, err
		}
		w, err := dir(work)
		if err != nil {
			return nil, err
		}
		if u.Mount != w.Mount || isUnder(u.Dentry, w.Dentry) || isUnder(w.Dentry, u.Dentry) {
			return nil, unix.EINVAL
		}
		if err := u.WantWrite(); err != nil {
			return nil, unix.EINVAL
		}
		cfg.Upper, cfg.Work = &u, &w
	}
	fs, err := newFileSystem(Type(), cfg)
	if err != nil {
		return nil, err
	}
	fs.sb.UserNS = ctx.Cred().UserNS
	fs.setFlags(flags)
	return fs.sb, nil
}

func isUnder(d, top *vfs.Dentry) bool {
	for {
		if d == top {
			return true
		}
		p := d.Parent()
		if p == d {
			return false
		}
		d = p
	}
}

// splitEscaped splits at sep, unless a backslash stands before it. The backslashes stay.
func splitEscaped(s string, sep byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unescape drops backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// New makes an overlay. It takes its own references on the layers, whose paths need not be
// mounted: Path{Dentry: sb.Root} will do.
func New(cfg Config) (*vfs.Superblock, error) {
	fs, err := newFileSystem(plainType, cfg)
	if err != nil {
		return nil, err
	}
	fs.setFlags(0)
	return fs.sb, nil
}

// NewScratch makes an overlay whose changes go to the file system scratch (a tmpfs), where
// it makes the directories "upper", with the attributes of the topmost lower layer, and "work".
func NewScratch(source string, lowers []vfs.Path, scratch *vfs.Superblock) (*vfs.Superblock, error) {
	if len(lowers) == 0 {
		return nil, unix.EINVAL
	}
	ctx := vfs.KernelContext()
	ns := vfs.NewMountNamespace(vfs.NewRegistry(), cred.InitUserNS(), scratch, 0)
	defer ns.DecRef()
	root := ns.Root()
	var dirs [2]vfs.Path
	for i, name := range []string{"upper", "work"} {
		if err := vfs.Mkdir(ctx, root, name, 0755); err != nil && err != unix.EEXIST {
			return nil, fmt.Errorf("overlay: making %s: %w", name, err)
		}
		p, err := vfs.Lookup(ctx, root, name, vfs.LookupDirectory)
		if err != nil {
			return nil, fmt.Errorf("overlay: %s: %w", name, err)
		}
		defer p.DecRef()
		dirs[i] = p
	}
	li := lowers[0].Inode()
	a, err := li.Ops.GetAttr(ctx, li)
	if err != nil {
		return nil, fmt.Errorf("overlay: lower layer: %w", err)
	}
	if err := dirs[0].Chown(ctx, a.UID, a.GID); err != nil {
		return nil, err
	}
	if err := dirs[0].Chmod(ctx, a.Mode); err != nil {
		return nil, err
	}
	return New(Config{Source: source, Lowers: lowers, Upper: &dirs[0], Work: &dirs[1]})
}

func newFileSystem(t *vfs.FileSystemType, cfg Config) (_ *fileSystem, err error) {
	if len(cfg.Lowers) == 0 || len(cfg.Lowers) > maxLowers {
		return nil, unix.EINVAL
	}
	fs := &fileSystem{
		cfg: cfg, cred: cfg.Cred, prefix: "trusted.overlay.",
		inodes: make(map[*vfs.Inode]*inode),
		index:  make(map[*vfs.Inode]*links),
		copied: make(map[*vfs.Inode]*links),
	}
	if fs.cred == nil {
		fs.cred = cred.Root()
	}
	if cfg.UserXattr {
		fs.prefix = "user.overlay."
	}
	defer func() {
		if err != nil {
			fs.release()
		}
	}()

	// Layers are seen through private mounts, where nothing else is mounted.
	mounts := make(map[*vfs.Superblock]*vfs.Mount)
	ids := make(map[*vfs.Superblock]uint64)
	private := func(p vfs.Path) (layer, error) {
		i := p.Inode()
		if i == nil || !i.IsDir() {
			return layer{}, unix.ENOTDIR
		}
		sb := p.Dentry.SB()
		m := mounts[sb]
		if m == nil {
			ns := vfs.NewMountNamespace(vfs.NewRegistry(), cred.InitUserNS(), sb, 0)
			fs.mounts = append(fs.mounts, ns)
			m = ns.Root().Mount
			mounts[sb] = m
			ids[sb] = uint64(len(ids))
		}
		q := vfs.Path{Mount: m, Dentry: p.Dentry}
		q.IncRef()
		return layer{root: q, sbID: ids[sb]}, nil
	}
	for _, p := range cfg.Lowers {
		l, err := private(p)
		if err != nil {
			return nil, err
		}
		fs.lowers = append(fs.lowers, l)
	}
	kctx := fs.context(vfs.KernelContext())
	for i := range fs.lowers {
		l := &fs.lowers[i]
		if len(fs.lowers) > 1 || fs.cfg.UserXattr {
			v, err := fs.getXattr(kctx, l.root, "opaque")
			l.xwhiteouts = err == nil && string(v) == "x"
		}
	}
	sb := vfs.NewSuperblock(t, cfg.Source, magic)
	sb.Data = fs
	sb.StatFS = fs.statFS
	sb.Kill = func(*vfs.Superblock) { fs.release() }
	sb.UserNS = cred.InitUserNS()
	fs.sb = sb
	if cfg.Upper != nil {
		l, err := private(*cfg.Upper)
		if err != nil {
			return nil, err
		}
		fs.upper = &l
		sb.MaxBytes = l.root.Dentry.SB().MaxBytes
		sb.InodeFlags = l.root.Dentry.SB().InodeFlags
		sb.SyncFS = func(ctx vfs.Context) error {
			if f := l.root.Dentry.SB().SyncFS; f != nil {
				return f(ctx)
			}
			return nil
		}
		if cfg.Work == nil || cfg.Work.Dentry.SB() != l.root.Dentry.SB() {
			return nil, unix.EINVAL
		}
		w, err := private(*cfg.Work)
		if err != nil {
			return nil, err
		}
		fs.work = w.root
		if err := fs.prepareWork(kctx); err != nil {
			return nil, err
		}
	}

	var up vfs.Path
	if fs.upper != nil {
		up = fs.upper.root
		up.IncRef()
	}
	var lows []lowerPath
	for i := range fs.lowers {
		fs.lowers[i].root.IncRef()
		lows = append(lows, lowerPath{fs.lowers[i].root, i})
	}
	root, err := fs.inode(kctx, nil, "", up, lows)
	if err != nil {
		return nil, err
	}
	sb.MakeRoot(root)
	return fs, nil
}

func (fs *fileSystem) setFlags(flags uint64) {
	flags |= unix.MS_NOATIME // access times are the layers'
	if fs.upper == nil {
		flags |= unix.MS_RDONLY
	}
	fs.sb.SetFlags(flags)
}

// prepareWork makes the directory "work" in the work directory, empty.
func (fs *fileSystem) prepareWork(ctx vfs.Context) error {
	err := vfs.Mkdir(ctx, fs.work, "work", 0)
	if err != nil && err != unix.EEXIST {
		return err
	}
	p, err := vfs.Lookup(ctx, fs.work, "work", vfs.LookupDirectory)
	if err != nil {
		return err
	}
	fs.work.DecRef()
	fs.work = p
	return fs.removeTree(ctx, p)
}

// removeTree empties a directory of the work directory.
func (fs *fileSystem) removeTree(ctx vfs.Context, dir vfs.Path) error {
	entries, err := readAll(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type != unix.DT_DIR {
			if err := vfs.Unlink(ctx, dir, e.Name); err != nil {
				return err
			}
			continue
		}
		p, err := vfs.Lookup(ctx, dir, e.Name, 0)
		if err != nil {
			return err
		}
		err = fs.removeTree(ctx, p)
		p.DecRef()
		if err == nil {
			err = vfs.Rmdir(ctx, dir, e.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// release lets go of the layers.
func (fs *fileSystem) release() {
	for _, c := range fs.index {
		c.lower.DecRef()
		if up := c.upper.Load(); up != nil {
			up.DecRef()
		}
	}
	fs.index, fs.copied = nil, nil
	fs.work.DecRef()
	if fs.upper != nil {
		fs.upper.root.DecRef()
	}
	for _, l := range fs.lowers {
		l.root.DecRef()
	}
	for _, ns := range fs.mounts {
		ns.DecRef()
	}
	fs.work, fs.upper, fs.lowers, fs.mounts = vfs.Path{}, nil, nil, nil
}

func (fs *fileSystem) statFS() unix.Statfs_t {
	p := fs.lowers[0].root
	if fs.upper != nil {
		p = fs.upper.root
	}
	s := p.StatFS()
	s.Type = magic
	s.Fsid = unix.Fsid{}
	return s
}

// layerContext is the caller as the layers see him: with the rights of who mounted.
type layerContext struct {
	vfs.Context
	c *cred.Cred
}

// Cred implements vfs.Context.
func (c *layerContext) Cred() *cred.Cred { return c.c }

// FS implements vfs.Context: no root and no umask of the caller's.
func (c *layerContext) FS() *vfs.FSContext { return nil }

// Limit implements vfs.Context: limits have been looked at.
func (c *layerContext) Limit(int) uint64 { return unix.RLIM_INFINITY }

// context makes ctx one for the layers.
func (fs *fileSystem) context(ctx vfs.Context) vfs.Context {
	if l, ok := ctx.(*layerContext); ok {
		return l // a layer that is an overlay too
	}
	return &layerContext{ctx, fs.cred}
}

// creator is a context that makes files owned by uid and gid.
func (fs *fileSystem) creator(ctx vfs.Context, uid, gid uint32) vfs.Context {
	return &layerContext{ctx, fs.cred.SetFSIDs(uid, gid)}
}

// getXattr reads one of the overlay's own attributes.
func (fs *fileSystem) getXattr(ctx vfs.Context, p vfs.Path, name string) ([]byte, error) {
	i := p.Inode()
	return i.Ops.GetXattr(ctx, i, fs.prefix+name)
}

func (fs *fileSystem) setXattr(ctx vfs.Context, p vfs.Path, name, value string) error {
	i := p.Inode()
	return i.Ops.SetXattr(ctx, i, fs.prefix+name, []byte(value), 0)
}

// isOwnXattr tells whether an attribute is the overlay's and not the user's.
func (fs *fileSystem) isOwnXattr(name string) bool { return strings.HasPrefix(name, fs.prefix) }

// ino translates an inode number of the layers: those of the lowest-numbered file system stay.
func (fs *fileSystem) ino(sb *vfs.Superblock, n uint64) uint64 {
	var id uint64
	switch {
	case fs.lowers[0].root.Dentry.SB() == sb:
		id = fs.lowers[0].sbID
	case fs.upper != nil && fs.upper.root.Dentry.SB() == sb:
		id = fs.upper.sbID
	default:
		for i := range fs.lowers {
			if fs.lowers[i].root.Dentry.SB() == sb {
				id = fs.lowers[i].sbID
				break
			}
		}
	}
	return n ^ id<<54
}
