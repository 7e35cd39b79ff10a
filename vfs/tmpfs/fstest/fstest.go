// Package fstest tests file systems: by a list of checks, and by doing the same random operations on
// a file system and on a directory of the host and comparing what they answer.
package fstest

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// Context is a caller with given credentials.
type Context struct {
	vfs.Context
	C *cred.Cred
}

// Cred implements vfs.Context.
func (c *Context) Cred() *cred.Cred { return c.C }

// Root is a caller that may do everything.
func Root() vfs.Context { return vfs.KernelContext() }

// User is an ordinary caller.
func User(uid uint32) vfs.Context {
	return &Context{vfs.KernelContext(), cred.New(cred.InitUserNS(), uid, uid, nil)}
}

// Memory makes a memory for a test.
func Memory(t testing.TB) *mm.Memory {
	m, err := mm.NewMemory(256 << 20)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// Mount mounts sb as the root of a new namespace, and takes over its reference.
func Mount(t testing.TB, sb *vfs.Superblock) vfs.Path {
	ns := vfs.NewMountNamespace(vfs.NewRegistry(), cred.InitUserNS(), sb, 0)
	sb.DecRef()
	t.Cleanup(ns.DecRef)
	return ns.Root()
}

// Open opens a file; it is closed by the caller.
func Open(t testing.TB, ctx vfs.Context, root vfs.Path, name string, flags uint64, mode uint64) *vfs.File {
	f, err := vfs.Open(ctx, root, name, unix.OpenHow{Flags: flags, Mode: mode})
	require.NoError(t, err, name)
	return f
}

// WriteFile makes a file with the given content.
func WriteFile(t testing.TB, root vfs.Path, name, content string) {
	f := Open(t, Root(), root, name, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, 0644)
	defer f.DecRef()
	Write(t, f, content)
}

// Write writes to an open file.
func Write(t testing.TB, f *vfs.File, content string) {
	src := usermem.Bytes([]byte(content))
	n, err := f.Write(Root(), &src, 0)
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), n)
}

// ReadFile is the content of a file.
func ReadFile(t testing.TB, root vfs.Path, name string) string {
	f := Open(t, Root(), root, name, unix.O_RDONLY, 0)
	defer f.DecRef()
	return Read(t, f)
}

// Read reads an open file from its beginning.
func Read(t testing.TB, f *vfs.File) string {
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		dst := usermem.Bytes(buf)
		n, err := f.PRead(Root(), &dst, int64(len(all)), 0)
		require.NoError(t, err)
		if n == 0 {
			return string(all)
		}
		all = append(all, buf[:n]...)
	}
}

// List is the sorted names in a directory.
func List(t testing.TB, root vfs.Path, name string) []string {
	f := Open(t, Root(), root, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	defer f.DecRef()
	var names []string
	require.NoError(t, f.ReadDir(Root(), func(e vfs.Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	}))
	sort.Strings(names)
	return names
}

// Stat asks for the attributes of a name.
func Stat(t testing.TB, root vfs.Path, name string) vfs.Stats {
	s, err := vfs.Stat(Root(), root, name, 0)
	require.NoError(t, err, name)
	return s
}

// system is what random operations are done on.
type system interface {
	create(name string) error
	mkdir(name string) error
	symlink(target, name string) error
	link(old, new string) error
	unlink(name string) error
	rmdir(name string) error
	rename(old, new string, flags uint) error
	write(name string, off int64, data []byte, flags int) error
	truncate(name string, size int64) error
	chmod(name string, mode uint32) error
	// tree describes everything.
	tree() (string, error)
}

// Differential does random operations on root, which begins with the same content as the directory
// dir of the host (which it changes too), and compares.
func Differential(t *testing.T, root vfs.Path, dir string, seed int64, steps int) {
	r := rand.New(rand.NewSource(seed))
	// Where both are tmpfs, directories have the same numbers too.
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	same := st.Type == unix.TMPFS_MAGIC && root.StatFS().Type == unix.TMPFS_MAGIC
	a, b := &guest{root, same}, &native{dir, same}
	names := []string{"a", "b", "c", "d"}
	path := func() string {
		n := 1 + r.Intn(3)
		var p []string
		for range n {
			p = append(p, names[r.Intn(len(names))])
		}
		return strings.Join(p, "/")
	}
	var log []string
	for i := range steps {
		var op string
		var do func(s system) error
		p, q := path(), path()
		switch r.Intn(13) {
		case 0, 1:
			op, do = "create "+p, func(s system) error { return s.create(p) }
		case 2, 3:
			op, do = "mkdir "+p, func(s system) error { return s.mkdir(p) }
		case 4:
			op, do = "symlink "+p, func(s system) error { return s.symlink("nowhere", p) }
		case 5:
			op, do = "link "+p+" "+q, func(s system) error { return s.link(p, q) }
		case 6:
			op, do = "unlink "+p, func(s system) error { return s.unlink(p) }
		case 7:
			op, do = "rmdir "+p, func(s system) error { return s.rmdir(p) }
		case 8:
			flags := []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[r.Intn(4)]
			op, do = fmt.Sprintf("rename %s %s %d", p, q, flags), func(s system) error { return s.rename(p, q, flags) }
		case 9, 10:
			off, data := int64(r.Intn(20000)), make([]byte, r.Intn(9000))
			r.Read(data)
			flags := []int{0, unix.O_APPEND, unix.O_TRUNC}[r.Intn(3)]
			op, do = fmt.Sprintf("write %s %d %d %#x", p, off, len(data), flags), func(s system) error { return s.write(p, off, data, flags) }
		case 11:
			size := int64(r.Intn(30000))
			op, do = fmt.Sprintf("truncate %s %d", p, size), func(s system) error { return s.truncate(p, size) }
		case 12:
			mode := uint32(r.Intn(01000))
			if os.Geteuid() != 0 {
				mode |= 0700 // the host lets root only use files without rights
			}
			op, do = fmt.Sprintf("chmod %s %o", p, mode), func(s system) error { return s.chmod(p, mode) }
		}
		ea, eb := do(a), do(b)
		log = append(log, fmt.Sprintf("%s: %v, host %v", op, ea, eb))
		if ea == unix.EXDEV && strings.HasPrefix(op, "rename") {
			// What an overlay may refuse: take it back.
			if eb != nil {
				continue
			}
			f := strings.Fields(op)
			if f[3] == fmt.Sprint(unix.RENAME_EXCHANGE) {
				require.NoError(t, b.rename(f[2], f[1], unix.RENAME_EXCHANGE))
				continue
			}
			require.NoError(t, b.rename(f[2], f[1], unix.RENAME_NOREPLACE))
			_ = a.rmdir(f[2])
			continue
		}
		if ea != eb {
			t.Fatalf("seed %d: %s", seed, strings.Join(log[max(0, len(log)-30):], "\n"))
		}
		if i%20 == 19 || i == steps-1 {
			ta, err := a.tree()
			require.NoError(t, err)
			tb, err := b.tree()
			require.NoError(t, err)
			if ta != tb {
				t.Fatalf("seed %d: %s\n--- here\n%s--- host\n%s", seed, strings.Join(log[max(0, len(log)-40):], "\n"), ta, tb)
			}
		}
	}
}

// node describes an entry for tree.
func node(w *strings.Builder, dirs bool, name string, mode uint32, nlink uint64, size int64, content string) {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if !dirs {
			nlink, size = 0, 0
		}
		fmt.Fprintf(w, "%s %o %d %d\n", name, mode, nlink, size)
	case unix.S_IFLNK:
		fmt.Fprintf(w, "%s %o %d -> %s\n", name, mode, nlink, content)
	default:
		var sum uint32 = 2166136261
		for _, c := range []byte(content) {
			sum = (sum ^ uint32(c)) * 16777619
		}
		fmt.Fprintf(w, "%s %o %d %d %08x\n", name, mode, nlink, size, sum)
	}
}

type guest struct {
	root vfs.Path
	dirs bool // describe the numbers of directories
}

func (g *guest) create(name string) error {
	f, err := vfs.Open(Root(), g.root, name, unix.OpenHow{Flags: unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY, Mode: 0644})
	if err == nil {
		f.DecRef()
	}
	return err
}
func (g *guest) mkdir(name string) error           { return vfs.Mkdir(Root(), g.root, name, 0755) }
func (g *guest) symlink(target, name string) error { return vfs.Symlink(Root(), target, g.root, name) }
func (g *guest) link(old, new string) error {
	return vfs.Link(Root(), g.root, old, g.root, new, 0)
}
func (g *guest) unlink(name string) error { return vfs.Unlink(Root(), g.root, name) }
func (g *guest) rmdir(name string) error  { return vfs.Rmdir(Root(), g.root, name) }
func (g *guest) rename(old, new string, flags uint) error {
	return vfs.Rename(Root(), g.root, old, g.root, new, uint32(flags))
}
func (g *guest) write(name string, off int64, data []byte, flags int) error {
	f, err := vfs.Open(Root(), g.root, name, unix.OpenHow{Flags: uint64(unix.O_WRONLY | flags)})
	if err != nil {
		return err
	}
	defer f.DecRef()
	src := usermem.Bytes(data)
	if _, err = f.PWrite(Root(), &src, off, 0); err != nil {
		return err
	}
	return f.Ops.Flush(Root(), f)
}
func (g *guest) truncate(name string, size int64) error {
	return vfs.Truncate(Root(), g.root, name, size)
}
func (g *guest) chmod(name string, mode uint32) error {
	return vfs.Chmod(Root(), g.root, name, mode, vfs.LookupFollow)
}
func (g *guest) tree() (string, error) {
	var w strings.Builder
	err := g.walk(&w, ".")
	return w.String(), err
}
func (g *guest) walk(w *strings.Builder, name string) error {
	s, err := vfs.Stat(Root(), g.root, name, 0)
	if err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	content := ""
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		content, err = vfs.Readlink(Root(), g.root, name)
	case unix.S_IFREG:
		var f *vfs.File
		f, err = vfs.Open(Root(), g.root, name, unix.OpenHow{})
		if err == nil {
			b := make([]byte, s.Size+1)
			var n int
			n, err = f.ReadKernel(b, 0)
			content = string(b[:n])
			f.DecRef()
		}
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	node(w, g.dirs, name, s.Mode, uint64(s.Nlink), s.Size, content)
	if s.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	f, err := vfs.Open(Root(), g.root, name, unix.OpenHow{Flags: unix.O_DIRECTORY})
	if err != nil {
		return err
	}
	var kids []vfs.Dirent
	err = f.ReadDir(Root(), func(e vfs.Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			kids = append(kids, e)
		}
		return true
	})
	f.DecRef()
	if err != nil {
		return err
	}
	sort.Slice(kids, func(i, j int) bool { return kids[i].Name < kids[j].Name })
	for _, k := range kids {
		path := filepath.Join(name, k.Name)
		st, err := vfs.Stat(Root(), g.root, path, 0)
		if err != nil {
			return fmt.Errorf("listed but not there: %s: %w", path, err)
		}
		if st.Ino != k.Ino || uint8(st.Mode>>12) != k.Type {
			return fmt.Errorf("%s: listed as %d type %d, is %d mode %o", path, k.Ino, k.Type, st.Ino, st.Mode)
		}
		if err := g.walk(w, path); err != nil {
			return err
		}
	}
	return nil
}

type native struct {
	dir  string
	dirs bool
}

func (n *native) at(name string) string { return n.dir + "/" + name }

func (n *native) create(name string) error {
	fd, err := unix.Open(n.at(name), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0644)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}
func (n *native) mkdir(name string) error           { return unix.Mkdir(n.at(name), 0755) }
func (n *native) symlink(target, name string) error { return unix.Symlink(target, n.at(name)) }
func (n *native) link(old, new string) error        { return unix.Link(n.at(old), n.at(new)) }
func (n *native) unlink(name string) error          { return unix.Unlink(n.at(name)) }
func (n *native) rmdir(name string) error           { return unix.Rmdir(n.at(name)) }
func (n *native) rename(old, new string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, n.at(old), unix.AT_FDCWD, n.at(new), flags)
}
func (n *native) write(name string, off int64, data []byte, flags int) error {
	fd, err := unix.Open(n.at(name), unix.O_WRONLY|flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Pwrite(fd, data, off)
	return err
}
func (n *native) truncate(name string, size int64) error { return unix.Truncate(n.at(name), size) }
func (n *native) chmod(name string, mode uint32) error   { return unix.Chmod(n.at(name), mode) }
func (n *native) tree() (string, error) {
	var w strings.Builder
	err := filepath.Walk(n.dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(n.dir, path)
		content := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			content, err = os.Readlink(path)
		case unix.S_IFREG:
			var b []byte
			b, err = os.ReadFile(path)
			content = string(b)
		}
		node(&w, n.dirs, name, st.Mode, uint64(st.Nlink), st.Size, content)
		return err
	})
	return w.String(), err
}
