package vfs

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWalk(t *testing.T) {
	w := newWorld(t)
	w.tree("/a/", "/a/b/", "/a/b/f", "/l->a/b", "/abs->/a/b/f", "/loop->loop", "/dangle->nothing", "/a/up->../a/b/../b/f",
		"/tol->l/", "/chain0->/a/b/f")
	for i := range 45 {
		w.must(Symlink(w.ctx, fmt.Sprintf("chain%d", i), Path{}, fmt.Sprintf("/chain%d", i+1)))
	}
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		path  string
		flags LookupFlags
		want  string
		err   error
	}{
		{"/a/b/f", 0, "/a/b/f", nil},
		{"//a/./b//f", 0, "/a/b/f", nil},
		{"a/b/../../../../a", 0, "/a", nil},
		{"/l", 0, "/l", nil},
		{"/l/", 0, "/a/b", nil},
		{"/l", LookupFollow, "/a/b", nil},
		{"/l/f", 0, "/a/b/f", nil},
		{"/tol", LookupFollow, "/a/b", nil},
		{"/abs", LookupFollow, "/a/b/f", nil},
		{"/a/up", LookupFollow, "/a/b/f", nil},
		{"/loop", LookupFollow, "", unix.ELOOP},
		{"/loop/x", 0, "", unix.ELOOP},
		{"/chain39", LookupFollow, "/a/b/f", nil},
		{"/chain40", LookupFollow, "", unix.ELOOP},
		{"/dangle", LookupFollow, "", unix.ENOENT},
		{"/dangle", 0, "/dangle", nil},
		{"/a/b/f/", 0, "", unix.ENOTDIR},
		{"/a/b/f/x", 0, "", unix.ENOTDIR},
		{"/a/b/f/..", 0, "", unix.ENOTDIR},
		{"/a/b/f/.", 0, "", unix.ENOTDIR},
		{"/a/b/f", LookupDirectory, "", unix.ENOTDIR},
		{"/nope/x", 0, "", unix.ENOENT},
		{"", 0, "", unix.ENOENT},
		{"", LookupEmpty, "/", nil},
		{"/" + long, 0, "", unix.ENAMETOOLONG},
		{"/" + strings.Repeat("a/", 2048), 0, "", unix.ENAMETOOLONG},
		{"/a", LookupBeneath, "", unix.EXDEV},
		{"a/../..", LookupBeneath, "", unix.EXDEV},
		{"abs", LookupBeneath | LookupFollow, "", unix.EXDEV},
		{"l/f", LookupNoSymlinks, "", unix.ELOOP},
		{"../../a", LookupInRoot, "/a", nil},
	} {
		p, err := Lookup(w.ctx, Path{}, c.path, c.flags)
		if c.err != nil {
			require.Equal(t, c.err, err, c.path)
			continue
		}
		require.NoError(t, err, c.path)
		s, _ := FullPath(p, w.ctx.fs.Root())
		require.Equal(t, c.want, s, c.path)
		p.DecRef()
	}
}

func TestInRoot(t *testing.T) {
	w := newWorld(t)
	w.tree("/j/", "/j/etc/", "/j/etc/p", "/j/l->/etc/p", "/j/up->../../../etc/p", "/etc/", "/etc/p")
	j, err := Lookup(w.ctx, Path{}, "/j", 0)
	w.must(err)
	defer j.DecRef()
	for _, path := range []string{"l", "up", "/etc/p", "etc/../../../etc/p"} {
		p, err := Lookup(w.ctx, j, path, LookupInRoot|LookupFollow)
		w.must(err)
		s, _ := FullPath(p, w.ctx.fs.Root())
		require.Equal(t, "/j/etc/p", s, path)
		p.DecRef()
	}
}

func TestOpen(t *testing.T) {
	w := newWorld(t)
	w.tree("/d/", "/f", "/l->f", "/dangle->d/new", "/ld->d")
	for _, c := range []struct {
		path  string
		flags uint64
		err   error
	}{
		{"/f", unix.O_RDONLY, nil},
		{"/f", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"/l", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"/l", unix.O_NOFOLLOW, unix.ELOOP},
		{"/l", unix.O_NOFOLLOW | unix.O_CREAT, unix.ELOOP},
		{"/ld", unix.O_NOFOLLOW | unix.O_DIRECTORY, unix.ENOTDIR},
		{"/l", unix.O_NOFOLLOW | unix.O_PATH, nil},
		{"/d", unix.O_RDONLY, nil},
		{"/d", unix.O_WRONLY, unix.EISDIR},
		{"/d", unix.O_CREAT, unix.EISDIR},
		{"/d/", unix.O_CREAT, unix.EISDIR},
		{"/n/", unix.O_CREAT, unix.EISDIR},
		{"/f", unix.O_DIRECTORY, unix.ENOTDIR},
		{"/f", unix.O_DIRECTORY | unix.O_CREAT, unix.EINVAL},
		{"/dangle", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"/dangle", unix.O_RDONLY, unix.ENOENT},
		{"/dangle", unix.O_CREAT | unix.O_WRONLY, nil},
		{"/d/new", unix.O_RDONLY, nil},
		{"/d", unix.O_TMPFILE, unix.EINVAL},
		{"/d", unix.O_TMPFILE | unix.O_RDWR, nil},
		{"/f", unix.O_TMPFILE | unix.O_RDWR, unix.ENOTDIR},
		{"", unix.O_RDONLY, unix.ENOENT},
	} {
		f, err := w.open(c.path, c.flags)
		require.Equal(t, c.err, err, "%s %#o", c.path, c.flags)
		if f != nil {
			f.DecRef()
		}
	}
	f, err := w.open("/d", unix.O_TMPFILE|unix.O_RDWR)
	w.must(err)
	require.Contains(t, f.FullPath(Path{}), " (deleted)")
	w.must(Link(w.ctx, f.Path, "", Path{}, "/d/named", unix.AT_EMPTY_PATH))
	f.DecRef()
	_, err = Stat(w.ctx, Path{}, "/d/named", 0)
	w.must(err)
}

func TestPermissions(t *testing.T) {
	w := newWorld(t)
	w.tree("/pub/", "/priv/", "/priv/f", "/pub/f", "/st/")
	w.must(Chmod(w.ctx, Path{}, "/priv", 0700, 0))
	w.must(Chmod(w.ctx, Path{}, "/st", 01777, 0))
	u, v := w.user(1000), w.user(1001)
	how := unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0666}
	_, err := Open(u, Path{}, "/priv/f", unix.OpenHow{})
	require.Equal(t, unix.EACCES, err)
	_, err = Open(u, Path{}, "/pub/f", unix.OpenHow{Flags: unix.O_WRONLY})
	require.Equal(t, unix.EACCES, err)
	_, err = Open(u, Path{}, "/pub/n", how)
	require.Equal(t, unix.EACCES, err)
	f, err := Open(u, Path{}, "/st/u", how)
	w.must(err)
	f.DecRef()
	s, err := Stat(w.ctx, Path{}, "/st/u", 0)
	w.must(err)
	require.Equal(t, uint32(unix.S_IFREG|0644), s.Mode)
	require.Equal(t, uint32(1000), s.UID)
	require.Equal(t, unix.EPERM, Unlink(v, Path{}, "/st/u"))
	require.Equal(t, unix.EPERM, Rename(v, Path{}, "/st/u", Path{}, "/st/x", 0))
	require.Equal(t, unix.EPERM, Chmod(v, Path{}, "/st/u", 0777, 0))
	require.Equal(t, unix.EPERM, Chown(u, Path{}, "/st/u", 1001, ^uint32(0), 0))
	require.Equal(t, unix.EPERM, Link(v, Path{}, "/pub/f", Path{}, "/st/hard", 0))
	w.must(Symlink(v, "u", Path{}, "/st/vl"))
	_, err = Open(u, Path{}, "/st/vl", unix.OpenHow{})
	require.Equal(t, unix.EACCES, err) // protected_symlinks
	require.Equal(t, unix.EACCES, Access(u, Path{}, "/priv/f", unix.R_OK, 0))
	require.NoError(t, Access(u, Path{}, "/pub/f", unix.R_OK, 0))
	w.must(Unlink(u, Path{}, "/st/u"))
	// Writing drops setuid, but not for root.
	f, err = Open(u, Path{}, "/st/s", how)
	w.must(err)
	w.must(Chmod(w.ctx, Path{}, "/st/s", 04755, 0))
	wr(t, u, f, "x")
	s, _ = Stat(w.ctx, Path{}, "/st/s", 0)
	require.Equal(t, uint32(unix.S_IFREG|0755), s.Mode)
	f.DecRef()
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.tree("/d/", "/d/f", "/f", "/e/")
	for _, c := range []struct {
		err, want error
	}{
		{Rmdir(w.ctx, Path{}, "/d"), unix.ENOTEMPTY},
		{Unlink(w.ctx, Path{}, "/d"), unix.EISDIR},
		{Rmdir(w.ctx, Path{}, "/f"), unix.ENOTDIR},
		{Unlink(w.ctx, Path{}, "/f/"), unix.ENOTDIR},
		{Unlink(w.ctx, Path{}, "/nope"), unix.ENOENT},
		{Rmdir(w.ctx, Path{}, "/d/."), unix.EINVAL},
		{Rmdir(w.ctx, Path{}, "/d/.."), unix.ENOTEMPTY},
		{Rmdir(w.ctx, Path{}, "/"), unix.EBUSY},
		{Unlink(w.ctx, Path{}, "/"), unix.EISDIR},
		{Mkdir(w.ctx, Path{}, "/d", 0), unix.EEXIST},
		{Mkdir(w.ctx, Path{}, "/", 0), unix.EEXIST},
		{Mkdir(w.ctx, Path{}, "/nope/x", 0), unix.ENOENT},
		{Symlink(w.ctx, "x", Path{}, "/n/"), unix.ENOENT},
		{Rmdir(w.ctx, Path{}, "/e/"), nil},
	} {
		require.Equal(t, c.want, c.err)
	}
	// A working directory that is removed.
	w.tree("/gone/")
	w.must(w.ctx.fs.Chdir(w.ctx, Path{}, "/gone"))
	i := w.ctx.fs.Cwd().Inode()
	w.must(Rmdir(w.ctx, Path{}, "../gone"))
	_, deleted := CwdString(w.ctx.fs.Cwd(), w.ctx.fs.Root())
	require.True(t, deleted)
	require.Equal(t, unix.ENOENT, Mkdir(w.ctx, Path{}, "x", 0755))
	_, err := Stat(w.ctx, Path{}, "x", 0)
	require.Equal(t, unix.ENOENT, err)
	require.False(t, i.Ops.(*memNode).evicted)
	w.must(w.ctx.fs.Chdir(w.ctx, Path{}, "/"))
	require.True(t, i.Ops.(*memNode).evicted)
}

func TestRename(t *testing.T) {
	w := newWorld(t)
	w.tree("/a/", "/a/b/", "/a/b/c/", "/f", "/g", "/d/", "/full/", "/full/x")
	mv := func(a, b string, flags uint32) error { return Rename(w.ctx, Path{}, a, Path{}, b, flags) }
	for _, c := range []struct {
		a, b  string
		flags uint32
		want  error
	}{
		{"/a", "/a/b/x", 0, unix.EINVAL},
		{"/a", "/a/b", 0, unix.EINVAL},
		{"/a/b/c", "/a", 0, unix.ENOTEMPTY},
		{"/a/b", "/a/b", 0, nil},
		{"/f", "/d", 0, unix.EISDIR},
		{"/d", "/f", 0, unix.ENOTDIR},
		{"/d", "/full", 0, unix.ENOTEMPTY},
		{"/f", "/g", unix.RENAME_NOREPLACE, unix.EEXIST},
		{"/f", "/nope/x", 0, unix.ENOENT},
		{"/f", "/new/", 0, unix.ENOTDIR},
		{"/.", "/x", 0, unix.EBUSY},
		{"/f", "/nope", unix.RENAME_EXCHANGE, unix.ENOENT},
		{"/a", "/a/b", unix.RENAME_EXCHANGE, unix.EINVAL},
		{"/f", "/full", unix.RENAME_EXCHANGE, nil},
		{"/full", "/f", unix.RENAME_EXCHANGE, nil},
		{"/f", "/g", 0, nil},
		{"/a/b", "/full/b", 0, nil},
		{"/d", "/a", 0, nil},
	} {
		require.Equal(t, c.want, mv(c.a, c.b, c.flags), "%s %s", c.a, c.b)
	}
	require.Equal(t, "/f", w.read("/g"))
	_, err := Stat(w.ctx, Path{}, "/full/b/c", 0)
	w.must(err)
	_, err = Stat(w.ctx, Path{}, "/f", 0)
	require.Equal(t, unix.ENOENT, err)
	f, err := w.open("/full/x", 0)
	w.must(err)
	w.must(mv("/full", "/moved", 0))
	require.Equal(t, "/moved/x", f.FullPath(w.ctx.fs.Root()))
	w.must(Unlink(w.ctx, Path{}, "/moved/x"))
	require.Equal(t, "/moved/x (deleted)", f.FullPath(w.ctx.fs.Root()))
	f.DecRef()
}

// Renames, creations and removals beside walks: nothing is found where it never was, and
// all references come out right.
func TestConcurrentWalk(t *testing.T) {
	w := newWorld(t)
	w.tree("/x/", "/y/", "/x/d/", "/x/d/f")
	root := w.ns.Root().Dentry.SB()
	root.MaxCached = 8 // so that the cache is shrunk all the time
	var wg sync.WaitGroup
	stop := make(chan struct{})
	bad := make(chan error, 100)
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := w.caller(w.ctx.cred)
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, path := range []string{"/x/d/f", "/y/d/f", "/x/../y/d/../d/f", "/x/d/f/g", fmt.Sprintf("/y/n%d", k%20)} {
					p, err := Lookup(ctx, Path{}, path, 0)
					if err == nil {
						if g == 0 {
							FullPath(p, ctx.fs.Root())
						}
						p.DecRef()
					} else if err != unix.ENOENT && err != unix.ENOTDIR {
						bad <- err
					}
				}
			}
		}()
	}
	for k := range 3000 {
		a, b := "/x/d", "/y/d"
		if k%2 == 1 {
			a, b = b, a
		}
		if err := Rename(w.ctx, Path{}, a, Path{}, b, 0); err != nil {
			t.Error(err)
			break
		}
		name := fmt.Sprintf("/y/n%d", k%20)
		if f, err := w.open(name, unix.O_CREAT|unix.O_RDWR); err == nil {
			f.DecRef()
			w.must(Unlink(w.ctx, Path{}, name))
		} else {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	close(bad)
	for err := range bad {
		t.Error(err)
	}
	require.Less(t, root.Dentries(), 100)
}

func TestWalkAllocs(t *testing.T) {
	w := newWorld(t)
	w.tree("/a/", "/a/b/", "/a/b/c/", "/a/b/c/f", "/l->a/b/c")
	u := w.user(7)
	for _, path := range []string{"/a/b/c/f", "l/../c/f"} {
		n := testing.AllocsPerRun(200, func() {
			p, err := Lookup(u, Path{}, path, LookupFollow)
			if err != nil {
				t.Fatal(err)
			}
			p.DecRef()
		})
		require.Zero(t, n, path)
	}
}

func BenchmarkWalk(b *testing.B) {
	t := &testing.T{}
	w := newWorld(t)
	w.tree("/a/", "/a/b/", "/a/b/c/", "/a/b/c/f")
	b.ReportAllocs()
	for b.Loop() {
		p, _ := Lookup(w.ctx, Path{}, "/a/b/c/f", LookupFollow)
		p.DecRef()
	}
}
