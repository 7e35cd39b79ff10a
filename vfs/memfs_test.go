package vfs

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// A file system for tests: trees of maps.

type memNode struct {
	DefaultInodeOps
	mu      sync.Mutex
	kids    map[string]*Inode
	data    []byte
	target  string
	evicted bool
}

func memType() *FileSystemType {
	t := &FileSystemType{Name: "memfs", NoDev: true, UserNS: true}
	t.Mount = func(ctx Context, source string, flags uint64, data string) (*Superblock, error) {
		sb := NewSuperblock(t, source, 0x1234)
		sb.MakeRoot(NewInode(sb, sb.NewIno(), &memNode{kids: map[string]*Inode{}},
			Attr{Mode: unix.S_IFDIR | 0755, Nlink: 2}))
		return sb, nil
	}
	return t
}

func (n *memNode) Lookup(_ Context, dir *Inode, name string) (*Inode, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := n.kids[name]; i != nil {
		i.IncRef()
		return i, nil
	}
	return nil, unix.ENOENT
}

func (n *memNode) make(ctx Context, dir *Inode, name string, mode uint32, rdev uint64, target string) (*Inode, error) {
	uid, gid, mode := InitOwner(ctx, dir, mode)
	k := &memNode{target: target}
	nlink := uint32(1)
	if mode&unix.S_IFMT == unix.S_IFDIR {
		k.kids = map[string]*Inode{}
		nlink = 2
	}
	now := Now()
	i := NewInode(dir.SB, dir.SB.NewIno(), k, Attr{Mode: mode, Nlink: nlink, UID: uid, GID: gid, Rdev: rdev, Atime: now, Mtime: now, Ctime: now})
	if name != "" {
		n.mu.Lock()
		n.kids[name] = i
		n.mu.Unlock()
		i.IncRef()
	}
	return i, nil
}

func (n *memNode) Create(ctx Context, dir *Inode, name string, mode uint32) (*Inode, error) {
	return n.make(ctx, dir, name, mode, 0, "")
}
func (n *memNode) Mknod(ctx Context, dir *Inode, name string, mode uint32, rdev uint64) (*Inode, error) {
	return n.make(ctx, dir, name, mode, rdev, "")
}
func (n *memNode) Mkdir(ctx Context, dir *Inode, name string, mode uint32) (*Inode, error) {
	return n.make(ctx, dir, name, mode, 0, "")
}
func (n *memNode) Symlink(ctx Context, dir *Inode, name, target string) (*Inode, error) {
	return n.make(ctx, dir, name, unix.S_IFLNK|0777, 0, target)
}
func (n *memNode) Tmpfile(ctx Context, dir *Inode, mode uint32) (*Inode, error) {
	i, err := n.make(ctx, dir, "", mode, 0, "")
	i.UpdateAttr(func(a *Attr) { a.Nlink = 0 })
	return i, err
}
func (n *memNode) Link(_ Context, _ *Inode, name string, target *Inode) (*Inode, error) {
	n.mu.Lock()
	n.kids[name] = target
	n.mu.Unlock()
	target.UpdateAttr(func(a *Attr) { a.Nlink++ })
	target.IncRef()
	target.IncRef()
	return target, nil
}
func (n *memNode) Unlink(_ Context, _ *Inode, name string, victim *Inode) error {
	n.mu.Lock()
	delete(n.kids, name)
	n.mu.Unlock()
	victim.UpdateAttr(func(a *Attr) { a.Nlink-- })
	victim.DecRef()
	return nil
}
func (n *memNode) Rmdir(_ Context, _ *Inode, name string, victim *Inode) error {
	v := victim.Ops.(*memNode)
	v.mu.Lock()
	empty := len(v.kids) == 0
	v.mu.Unlock()
	if !empty {
		return unix.ENOTEMPTY
	}
	n.mu.Lock()
	delete(n.kids, name)
	n.mu.Unlock()
	victim.UpdateAttr(func(a *Attr) { a.Nlink = 0 })
	victim.DecRef()
	return nil
}
func (n *memNode) Rename(ctx Context, _ *Inode, oldName string, src *Inode, newDir *Inode, newName string, victim *Inode, flags uint32) error {
	to := newDir.Ops.(*memNode)
	if flags&unix.RENAME_EXCHANGE != 0 {
		n.kids[oldName], to.kids[newName] = victim, src
		return nil
	}
	if victim != nil {
		var err error
		if victim.IsDir() {
			err = to.Rmdir(ctx, newDir, newName, victim)
		} else {
			err = to.Unlink(ctx, newDir, newName, victim)
		}
		if err != nil {
			return err
		}
	}
	n.mu.Lock()
	delete(n.kids, oldName)
	n.mu.Unlock()
	to.mu.Lock()
	to.kids[newName] = src
	to.mu.Unlock()
	return nil
}
func (n *memNode) Readlink(Context, *Inode) (string, error) { return n.target, nil }
func (n *memNode) SetAttr(_ Context, i *Inode, a *SetAttr) error {
	if a.Valid&AttrSize != 0 {
		n.mu.Lock()
		n.data = append(n.data, make([]byte, max(int(a.Size)-len(n.data), 0))...)[:a.Size]
		n.mu.Unlock()
	}
	i.UpdateAttr(func(at *Attr) {
		a.Apply(at)
		if a.Valid&AttrSize != 0 {
			at.Size = a.Size
		}
	})
	return nil
}
func (n *memNode) Open(_ Context, i *Inode, _ *File) (FileOps, error) {
	return &memFile{i: i, n: n}, nil
}
func (n *memNode) Evict(*Inode) {
	if n.evicted {
		panic("evicted twice")
	}
	n.evicted = true
}

type memFile struct {
	DefaultFileOps
	i *Inode
	n *memNode
}

func (f *memFile) Read(_ Context, _ *File, dst *usermem.IO, off int64, _ IOFlags) (int64, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, nil
	}
	b := f.n.data[off:]
	if uint64(len(b)) > dst.Len() {
		b = b[:dst.Len()]
	}
	n, err := dst.Write(b)
	return int64(n), err
}
func (f *memFile) Write(_ Context, _ *File, src *usermem.IO, off int64, flags IOFlags) (int64, int64, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if flags&IOAppend != 0 {
		off = int64(len(f.n.data))
	}
	b := make([]byte, src.Len())
	n, err := src.Read(b)
	if end := int(off) + n; end > len(f.n.data) {
		f.n.data = append(f.n.data, make([]byte, end-len(f.n.data))...)
	}
	copy(f.n.data[off:], b[:n])
	f.i.UpdateAttr(func(a *Attr) { a.Size = int64(len(f.n.data)) })
	return int64(n), off + int64(n), err
}
func (f *memFile) Seek(_ Context, _ *File, pos, off int64, whence int) (int64, error) {
	return GenericSeek(pos, off, whence, f.i.Size(), 1<<62)
}
func (f *memFile) ReadDir(_ Context, _ *File, pos int64, emit func(Dirent) bool) (int64, error) {
	f.n.mu.Lock()
	names := []string{".", ".."}
	for k := range f.n.kids {
		names = append(names, k)
	}
	f.n.mu.Unlock()
	slices.Sort(names)
	for ; pos < int64(len(names)); pos++ {
		if !emit(Dirent{Name: names[pos], Off: pos + 1}) {
			break
		}
	}
	return pos, nil
}

// testCtx is a caller.
type testCtx struct {
	mu   sync.Mutex
	cred *cred.Cred
	fs   *FSContext
	sigs []unix.Signal
	intr chan struct{} // closed: a signal has come
	lim  map[int]uint64
	tgid int32
}

func (c *testCtx) Cred() *cred.Cred { return c.cred }
func (c *testCtx) Memory() usermem.Memory {
	return noMemory{}
}
func (c *testCtx) TGID() int32 { return c.tgid }
func (c *testCtx) TID() int32  { return c.tgid }
func (c *testCtx) Limit(r int) uint64 {
	if l, ok := c.lim[r]; ok {
		return l
	}
	return unix.RLIM_INFINITY
}
func (c *testCtx) Signal(s unix.Signal) {
	c.mu.Lock()
	c.sigs = append(c.sigs, s)
	c.mu.Unlock()
}
func (c *testCtx) FS() *FSContext { return c.fs }
func (c *testCtx) Block(ch <-chan struct{}, timeout time.Duration) error {
	var t <-chan time.Time
	if timeout >= 0 {
		t = time.After(timeout)
	}
	select {
	case <-ch:
		return nil
	case <-c.intr:
		return ErrRestartSys
	case <-t:
		return unix.ETIMEDOUT
	}
}

// world is a registry with a namespace and a caller who is root.
type world struct {
	*testing.T
	reg *Registry
	ns  *MountNamespace
	ctx *testCtx
}

func newWorld(t *testing.T) *world {
	reg := NewRegistry()
	mt := memType()
	reg.Register(mt)
	sb, err := mt.Mount(KernelContext(), "root", 0, "")
	require.NoError(t, err)
	ns := NewMountNamespace(reg, cred.InitUserNS(), sb, 0)
	sb.DecRef()
	w := &world{T: t, reg: reg, ns: ns}
	w.ctx = w.caller(cred.Root())
	return w
}

func (w *world) caller(c *cred.Cred) *testCtx {
	return &testCtx{cred: c, fs: NewFSContext(w.ns.Root(), w.ns.Root(), 022), intr: make(chan struct{}), tgid: 1}
}

// user is a caller without rights.
func (w *world) user(uid uint32) *testCtx {
	c := w.caller(cred.New(cred.InitUserNS(), uid, uid, nil))
	c.tgid = int32(uid)
	return c
}

func (w *world) open(path string, flags uint64) (*File, error) {
	return Open(w.ctx, Path{}, path, unix.OpenHow{Flags: flags, Mode: 0644})
}

func (w *world) must(err error) {
	w.Helper()
	require.NoError(w.T, err)
}

// tree makes files: "d/" is a directory, "l->t" a link, others are files with their name as content.
func (w *world) tree(names ...string) {
	w.Helper()
	for _, n := range names {
		switch {
		case n[len(n)-1] == '/' && !slices.Contains([]byte(n), '>'):
			w.must(Mkdir(w.ctx, Path{}, n, 0755))
		case slices.Contains([]byte(n), '>'):
			k := slices.Index([]byte(n), '>')
			w.must(Symlink(w.ctx, n[k+1:], Path{}, n[:k-1]))
		default:
			f, err := w.open(n, unix.O_CREAT|unix.O_WRONLY)
			w.must(err)
			src := usermem.Bytes([]byte(n))
			_, err = f.Write(w.ctx, &src, 0)
			w.must(err)
			f.DecRef()
		}
	}
}

func (w *world) read(path string) string {
	w.Helper()
	f, err := w.open(path, unix.O_RDONLY)
	w.must(err)
	defer f.DecRef()
	b := make([]byte, 100)
	dst := usermem.Bytes(b)
	n, err := f.Read(w.ctx, &dst, 0)
	w.must(err)
	return string(b[:n])
}

// streamOps is a file that has a byte when told so.
type streamOps struct {
	DefaultFileOps
	waitq.Queue
	mu sync.Mutex
	n  int
}

func (s *streamOps) Stream() bool { return true }
func (s *streamOps) Readiness(mask waitq.Events) waitq.Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 {
		return mask & (waitq.Readable | waitq.Writable)
	}
	return mask & waitq.Writable
}
func (s *streamOps) EventRegister(e *waitq.Entry, m waitq.Events) { s.Queue.EventRegister(e, m) }
func (s *streamOps) EventUnregister(e *waitq.Entry)               { s.Queue.EventUnregister(e) }
func (s *streamOps) Read(_ Context, _ *File, dst *usermem.IO, _ int64, _ IOFlags) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return 0, unix.EAGAIN
	}
	n, err := dst.Write(make([]byte, min(s.n, int(dst.Len()))))
	s.n -= n
	return int64(n), err
}
func (s *streamOps) Write(_ Context, _ *File, src *usermem.IO, _ int64, _ IOFlags) (int64, int64, error) {
	b := make([]byte, min(src.Len(), 3))
	n, err := src.Read(b)
	s.mu.Lock()
	s.n += n
	s.mu.Unlock()
	s.Notify(waitq.Readable)
	return int64(n), 0, err
}
