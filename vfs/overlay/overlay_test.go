package overlay_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/host"
	. "gosv.dev/vfs/overlay"
	"gosv.dev/vfs/tmpfs"
	"gosv.dev/vfs/tmpfs/fstest"
)

func newTmpfs(t testing.TB, mem *mm.Memory) *vfs.Superblock {
	sb, err := tmpfs.New(fstest.Root(), mem, "none", "mode=755")
	require.NoError(t, err)
	return sb
}

// layers mounts a new tmpfs to be filled.
func lowerFS(t testing.TB, mem *mm.Memory) vfs.Path {
	return fstest.Mount(t, newTmpfs(t, mem))
}

func hostLower(t testing.TB, mem *mm.Memory, dir string) vfs.Path {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	sb, err := host.New(mem, fd, host.Options{Exclusive: true, ReadOnly: true, ProcSelfFD: -1})
	require.NoError(t, err)
	t.Cleanup(sb.DecRef)
	return vfs.Path{Dentry: sb.Root}
}

// scratch makes an overlay with a tmpfs for the changes.
func scratch(t testing.TB, mem *mm.Memory, lowers ...vfs.Path) vfs.Path {
	up := newTmpfs(t, mem)
	defer up.DecRef()
	sb, err := NewScratch("overlay", lowers, up)
	require.NoError(t, err)
	return fstest.Mount(t, sb)
}

// fill makes a random tree by shell commands.
func fill(t testing.TB, dir string, seed int) {
	script := fmt.Sprintf(`cd %s; umask 022
for d in a b c; do mkdir -p $d/a $d/b; echo $d%d > $d/c; ln -s nowhere $d/d
  head -c %d /dev/zero > $d/a/b; ln $d/a/b $d/b/b; chmod 640 $d/c; mkdir $d/a/a; echo x > $d/a/a/c; done
rm -r c/b; echo top > d`, dir, seed, seed*1000)
	out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, unix.Chmod(dir, 0755))
}

func TestDifferential(t *testing.T) {
	unix.Umask(0)
	mem := fstest.Memory(t)
	for seed := range 10 {
		a, b := t.TempDir(), t.TempDir()
		fill(t, a, seed)
		fill(t, b, seed)
		root := scratch(t, mem, hostLower(t, mem, a))
		before := snapshot(t, a)
		fstest.Differential(t, root, b, int64(seed), 200)
		require.Equal(t, before, snapshot(t, a), "the lower layer is untouched")
	}
}

func snapshot(t testing.TB, dir string) string {
	out, err := exec.Command("/bin/sh", "-c", "cd "+dir+"; find . -printf '%p %m %n %s %T@ %l\n' | sort; find . -type f | sort | xargs cat | cksum").CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestMerge(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	bottom, top := lowerFS(t, mem), lowerFS(t, mem)
	for _, d := range []string{"both", "opaque", "only-bottom", "file-below"} {
		require.NoError(t, vfs.Mkdir(ctx, bottom, d, 0755))
		fstest.WriteFile(t, bottom, d+"/bottom", "bottom")
		fstest.WriteFile(t, bottom, d+"/same", "bottom")
	}
	fstest.WriteFile(t, bottom, "deleted", "x")
	fstest.WriteFile(t, bottom, "dir-above", "x")
	for _, d := range []string{"both", "opaque", "dir-above"} {
		require.NoError(t, vfs.Mkdir(ctx, top, d, 0755))
		fstest.WriteFile(t, top, d+"/top", "top")
		fstest.WriteFile(t, top, d+"/same", "top")
	}
	fstest.WriteFile(t, top, "file-below", "a file")
	require.NoError(t, vfs.Mknod(ctx, top, "deleted", unix.S_IFCHR, 0))
	p, err := vfs.Lookup(ctx, top, "opaque", 0)
	require.NoError(t, err)
	require.NoError(t, p.SetXattr(ctx, "trusted.overlay.opaque", []byte("y"), 0))
	p.DecRef()

	check := func(root vfs.Path) {
		require.Equal(t, []string{"both", "dir-above", "file-below", "only-bottom", "opaque"}, fstest.List(t, root, "."))
		require.Equal(t, []string{"bottom", "same", "top"}, fstest.List(t, root, "both"))
		require.Equal(t, []string{"same", "top"}, fstest.List(t, root, "opaque"))
		require.Equal(t, "top", fstest.ReadFile(t, root, "both/same"))
		require.Equal(t, "bottom", fstest.ReadFile(t, root, "both/bottom"))
		require.Equal(t, "a file", fstest.ReadFile(t, root, "file-below"))
		_, err := vfs.Stat(ctx, root, "deleted", 0)
		require.ErrorIs(t, err, unix.ENOENT)
		_, err = vfs.Stat(ctx, root, "opaque/bottom", 0)
		require.ErrorIs(t, err, unix.ENOENT)
	}

	ro, err := New(Config{Lowers: []vfs.Path{top, bottom}, Source: "overlay"})
	require.NoError(t, err)
	root := fstest.Mount(t, ro)
	check(root)
	require.ErrorIs(t, vfs.Mkdir(ctx, root, "x", 0755), unix.EROFS)
	require.ErrorIs(t, vfs.Chmod(ctx, root, "both", 0, 0), unix.EROFS)
	require.Equal(t, int64(0x794c7630), root.StatFS().Type)

	root = scratch(t, mem, top, bottom)
	check(root)
	require.Equal(t, uint32(1), fstest.Stat(t, root, "both").Nlink)

	// Directories of lower layers cannot be moved; delete and make again, and they are empty.
	require.ErrorIs(t, vfs.Rename(ctx, root, "both", root, "moved", 0), unix.EXDEV)
	for _, f := range fstest.List(t, root, "both") {
		require.NoError(t, vfs.Unlink(ctx, root, "both/"+f))
	}
	require.Empty(t, fstest.List(t, root, "both"))
	require.NoError(t, vfs.Rmdir(ctx, root, "both"))
	require.NoError(t, vfs.Mkdir(ctx, root, "both", 0755))
	require.Empty(t, fstest.List(t, root, "both"))
	require.NoError(t, vfs.Mkdir(ctx, root, "new", 0755))
	fstest.WriteFile(t, root, "new/f", "f")
	require.NoError(t, vfs.Rmdir(ctx, root, "both"))
	require.NoError(t, vfs.Rename(ctx, root, "new", root, "both", 0), "a new directory over a whiteout")
	require.Equal(t, []string{"f"}, fstest.List(t, root, "both"))
	fstest.WriteFile(t, root, "deleted", "back")
	require.Equal(t, "back", fstest.ReadFile(t, root, "deleted"))
	require.ErrorIs(t, vfs.Mknod(ctx, root, "white", unix.S_IFCHR, 0), unix.EPERM)
}

func TestCopyUp(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	low := lowerFS(t, mem)
	require.NoError(t, vfs.Mkdir(ctx, low, "d", 0751))
	content := strings.Repeat("0123456789abcdef", 50000) + strings.Repeat("\x00", 1<<20) + "end"
	fstest.WriteFile(t, low, "d/f", content)
	lp, err := vfs.Lookup(ctx, low, "d/f", 0)
	require.NoError(t, err)
	defer lp.DecRef()
	require.NoError(t, lp.Chown(ctx, 11, 12))
	require.NoError(t, lp.Chmod(ctx, 0640))
	require.NoError(t, lp.SetXattr(ctx, "user.x", []byte("v"), 0))
	require.NoError(t, lp.SetXattr(ctx, "trusted.overlay.origin", []byte("junk"), 0))
	ts := &[2]vfs.Timespec{{Sec: 1000, Nsec: 5}, {Sec: 2000, Nsec: 6}}
	require.NoError(t, lp.Utimes(ctx, ts))
	dp, err := vfs.Lookup(ctx, low, "d", 0)
	require.NoError(t, err)
	require.NoError(t, dp.Utimes(ctx, ts))
	dp.DecRef()

	root := scratch(t, mem, low)
	before := fstest.Stat(t, root, "d/f")
	ro := fstest.Open(t, ctx, root, "d/f", unix.O_RDONLY, 0)
	defer ro.DecRef()
	opts := &mm.MMapOpts{Flags: unix.MAP_PRIVATE, Length: 4096, Prot: unix.PROT_READ}
	require.NoError(t, ro.MMap(ctx, opts))
	require.Equal(t, before.Ino, opts.File.Ino)
	require.Equal(t, before.Dev, opts.File.Dev)
	require.Equal(t, "/d/f", opts.File.Name())
	opts.File.Release()

	f := fstest.Open(t, ctx, root, "d/f", unix.O_RDWR, 0)
	after := fstest.Stat(t, root, "d/f")
	require.Equal(t, before.Mtime, after.Mtime)
	require.Equal(t, before.Ino, after.Ino)
	require.Equal(t, before.Dev, after.Dev)
	require.Equal(t, [4]uint32{before.Mode, before.UID, before.GID, before.Nlink}, [4]uint32{after.Mode, after.UID, after.GID, after.Nlink})
	require.Less(t, after.Blocks, before.Blocks, "zeroes are a hole")
	require.Equal(t, content, fstest.Read(t, f))
	require.Equal(t, ts[1], fstest.Stat(t, root, "d").Mtime, "the directory's time is kept")
	names, err := f.Path.ListXattr(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"user.x"}, names)
	_, err = f.Path.GetXattr(ctx, "trusted.overlay.origin")
	require.ErrorIs(t, err, unix.EOPNOTSUPP)
	fstest.Write(t, f, "NEW")
	require.Equal(t, "NEW3", fstest.Read(t, ro)[:4], "who had it open sees the change")
	require.Equal(t, content, fstest.ReadFile(t, low, "d/f"))
	f.DecRef()

	// The number stays when everything is forgotten.
	root.Dentry.SB().ShrinkDentries(1 << 30)
	require.Equal(t, before.Ino, fstest.Stat(t, root, "d/f").Ino)
	f = fstest.Open(t, ctx, root, "d", unix.O_DIRECTORY, 0)
	require.NoError(t, f.ReadDir(ctx, func(e vfs.Dirent) bool {
		if e.Name == "f" {
			require.Equal(t, before.Ino, e.Ino)
		}
		return true
	}))
	f.DecRef()

	// Truncation copies nothing; deleted while open, a file can still be changed.
	fstest.WriteFile(t, low, "g", content)
	f = fstest.Open(t, ctx, root, "g", unix.O_RDONLY, 0)
	require.NoError(t, vfs.Unlink(ctx, root, "g"))
	require.NoError(t, f.Path.Chmod(ctx, 0600))
	require.Equal(t, content, fstest.Read(t, f))
	f.DecRef()
	_, err = vfs.Stat(ctx, root, "g", 0)
	require.ErrorIs(t, err, unix.ENOENT)
}

func TestHardLinks(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	low := lowerFS(t, mem)
	fstest.WriteFile(t, low, "a", "one")
	require.NoError(t, vfs.Link(ctx, low, "a", low, "b", 0))
	require.NoError(t, vfs.Link(ctx, low, "a", low, "c", 0))
	root := scratch(t, mem, low)
	require.Equal(t, uint32(3), fstest.Stat(t, root, "a").Nlink)
	fstest.WriteFile(t, root, "a", "two")
	require.Equal(t, "two", fstest.ReadFile(t, root, "b"))
	require.Equal(t, fstest.Stat(t, root, "a").Ino, fstest.Stat(t, root, "b").Ino)
	root.Dentry.SB().ShrinkDentries(1 << 30)
	require.Equal(t, "two", fstest.ReadFile(t, root, "c"))
	require.Equal(t, uint32(3), fstest.Stat(t, root, "c").Nlink)
	require.NoError(t, vfs.Unlink(ctx, root, "a"))
	require.Equal(t, "two", fstest.ReadFile(t, root, "b"))
	require.Equal(t, uint32(2), fstest.Stat(t, root, "b").Nlink)
}

func TestMountOptions(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	base := lowerFS(t, mem)
	for _, d := range []string{"l1", "l2", "odd:name", "u", "w", "u/in"} {
		require.NoError(t, vfs.Mkdir(ctx, base, d, 0755))
	}
	fstest.WriteFile(t, base, "l1/one", "1")
	fstest.WriteFile(t, base, "l2/two", "2")
	fstest.WriteFile(t, base, "odd:name/three", "3")
	c := &fsContext{Context: ctx, fs: vfs.NewFSContext(base, base, 0)}
	for _, bad := range []string{"", "lowerdir=", "lowerdir=/l1,upperdir=/u", "lowerdir=/l1,upperdir=/u,workdir=/u/in", "lowerdir=/l1,bogus=1", "lowerdir=/l1,metacopy=on"} {
		_, err := Type().Mount(c, "overlay", 0, bad)
		require.Error(t, err, bad)
	}
	sb, err := Type().Mount(c, "overlay", 0, `lowerdir=/l1:l2:/odd\:name,upperdir=/u,workdir=/w`)
	require.NoError(t, err)
	root := fstest.Mount(t, sb)
	require.Equal(t, []string{"in", "one", "three", "two"}, fstest.List(t, root, "."))
	require.NoError(t, vfs.Unlink(ctx, root, "two"))
	s := fstest.Stat(t, base, "u/two")
	require.Equal(t, uint32(unix.S_IFCHR), s.Mode&unix.S_IFMT)
	require.Zero(t, s.Rdev)
	require.Empty(t, fstest.List(t, base, "w/work"))
}

type fsContext struct {
	vfs.Context
	fs *vfs.FSContext
}

func (c *fsContext) FS() *vfs.FSContext { return c.fs }

func TestOwnership(t *testing.T) {
	mem := fstest.Memory(t)
	low := lowerFS(t, mem)
	require.NoError(t, vfs.Mkdir(fstest.Root(), low, "pub", 0777))
	require.NoError(t, vfs.Mkdir(fstest.Root(), low, "priv", 0700))
	require.NoError(t, vfs.Chmod(fstest.Root(), low, "pub", 0777, 0))
	root := scratch(t, mem, low)
	u := fstest.User(1000)
	require.ErrorIs(t, vfs.Mkdir(u, root, "priv/x", 0755), unix.EACCES)
	require.NoError(t, vfs.Mkdir(u, root, "pub/d", 0755))
	f, err := vfs.Open(u, root, "pub/d/f", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 04755})
	require.NoError(t, err)
	f.DecRef()
	s := fstest.Stat(t, root, "pub/d/f")
	require.Equal(t, [3]uint32{unix.S_IFREG | 04755, 1000, 1000}, [3]uint32{s.Mode, s.UID, s.GID})
	require.NoError(t, vfs.Unlink(u, root, "pub/d/f"))

	// Set-group-id directories, over a whiteout too.
	require.NoError(t, vfs.Mkdir(fstest.Root(), root, "sg", 0777))
	require.NoError(t, vfs.Chown(fstest.Root(), root, "sg", 0, 7, 0))
	require.NoError(t, vfs.Chmod(fstest.Root(), root, "sg", 02777, 0))
	require.NoError(t, vfs.Mkdir(u, root, "sg/d", 0755))
	s = fstest.Stat(t, root, "sg/d")
	require.Equal(t, [3]uint32{unix.S_IFDIR | 02755, 1000, 7}, [3]uint32{s.Mode, s.UID, s.GID})
}

// Many goroutines use and change the same files; run with -race.
func TestConcurrency(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	dir := t.TempDir()
	fill(t, dir, 7)
	root := scratch(t, mem, hostLower(t, mem, dir))
	names := []string{"a/c", "a/a/b", "a/b/b", "b/c", "b/a/a/c", "d", "new", "a/new"}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 300 {
				n, m := names[(g*7+i)%len(names)], names[(g*3+i*5)%len(names)]
				switch (g + i) % 7 {
				case 0:
					if f, err := vfs.Open(ctx, root, n, unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0644}); err == nil {
						src := usermem.Bytes([]byte("hello"))
						_, _ = f.Write(ctx, &src, 0)
						f.DecRef()
					}
				case 1:
					_ = vfs.Unlink(ctx, root, n)
				case 2:
					_ = vfs.Rename(ctx, root, n, root, m, 0)
				case 3:
					_ = vfs.Link(ctx, root, n, root, m, 0)
				case 4:
					_ = vfs.Chmod(ctx, root, n, 0600, 0)
				case 5:
					_, _ = vfs.Stat(ctx, root, n, 0)
					root.Dentry.SB().ShrinkDentries(3)
				case 6:
					if f, err := vfs.Open(ctx, root, filepath.Dir(n), unix.OpenHow{}); err == nil {
						_ = f.ReadDir(ctx, func(vfs.Dirent) bool { return true })
						f.DecRef()
					}
				}
			}
		}()
	}
	wg.Wait()
	for _, n := range names {
		if _, err := vfs.Stat(ctx, root, n, 0); err == nil {
			fstest.ReadFile(t, root, n)
		}
	}
}

func TestReleases(t *testing.T) {
	mem := fstest.Memory(t)
	before := mem.Stats().Shmem
	low := newTmpfs(t, mem)
	up := newTmpfs(t, mem)
	sb, err := NewScratch("overlay", []vfs.Path{{Dentry: low.Root}}, up)
	require.NoError(t, err)
	ns := vfs.NewMountNamespace(vfs.NewRegistry(), cred.InitUserNS(), sb, 0)
	sb.DecRef()
	for i := range 20 {
		fstest.WriteFile(t, ns.Root(), fmt.Sprint(i), strings.Repeat("x", 10000))
	}
	ns.DecRef()
	low.DecRef()
	up.DecRef()
	require.Equal(t, before, mem.Stats().Shmem)
}

func BenchmarkOpenReadClose(b *testing.B) {
	mem := fstest.Memory(b)
	dir := b.TempDir()
	require.NoError(b, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 4096), 0644))
	root := scratch(b, mem, hostLower(b, mem, dir))
	buf := make([]byte, 4096)
	ctx := fstest.Root()
	b.ReportAllocs()
	for b.Loop() {
		f, err := vfs.Open(ctx, root, "f", unix.OpenHow{})
		if err != nil {
			b.Fatal(err)
		}
		dst := usermem.Bytes(buf)
		if n, err := f.Read(ctx, &dst, 0); n != 4096 || err != nil {
			b.Fatal(n, err)
		}
		f.DecRef()
	}
}
