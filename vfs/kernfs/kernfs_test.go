package kernfs_test

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
	"gosv.dev/vfs/tmpfs/fstest"
)

func mount(t *testing.T, root kernfs.Node) vfs.Path {
	typ := kernfs.NewFS("testfs", 0x77, root)
	sb, err := typ.Mount(fstest.Root(), "none", 0, "")
	require.NoError(t, err)
	return fstest.Mount(t, sb)
}

func TestTree(t *testing.T) {
	value := "1"
	root := kernfs.NewDir(
		kernfs.Entry{Name: "version", Node: kernfs.Text("v1\n")},
		kernfs.Entry{Name: "link", Node: kernfs.Link("sub/x")},
		kernfs.Entry{Name: "null", Node: &kernfs.Device{Attr: kernfs.Attr{Mode: unix.S_IFCHR | 0666}, Rdev: 259}},
	)
	root.Sub("sub").Add("x", &kernfs.File{
		Read:  func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString(value); return nil },
		Write: func(_ vfs.Context, p []byte) error { value = string(p); return nil },
	})
	p := mount(t, root)
	ctx := fstest.Root()
	require.Equal(t, []string{"link", "null", "sub", "version"}, fstest.List(t, p, "."))
	require.Equal(t, "v1\n", fstest.ReadFile(t, p, "version"))
	require.Equal(t, "1", fstest.ReadFile(t, p, "link"))
	f := fstest.Open(t, ctx, p, "sub/x", unix.O_RDWR|unix.O_TRUNC, 0)
	fstest.Write(t, f, "22")
	b := make([]byte, 8)
	dst := usermem.Bytes(b)
	n, err := f.PRead(ctx, &dst, 0, 0)
	require.NoError(t, err)
	require.Equal(t, "22", string(b[:n]))
	f.DecRef()
	require.Equal(t, unix.EPERM, vfs.Mkdir(ctx, p, "new", 0755))
	require.Equal(t, unix.EPERM, vfs.Unlink(ctx, p, "version"))
	_, err = vfs.Open(ctx, p, "new", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR})
	require.Equal(t, unix.EACCES, err)
	s := fstest.Stat(t, p, "sub/x")
	require.Equal(t, uint32(unix.S_IFREG|0644), s.Mode)
	require.Equal(t, s.Ino, fstest.Stat(t, p, "sub/x").Ino)
	require.Equal(t, uint32(3), fstest.Stat(t, p, ".").Nlink)
	root.Remove("version")
	_, err = vfs.Stat(ctx, p, "version", 0)
	require.Equal(t, unix.ENOENT, err)
	_, err = vfs.Open(fstest.User(5), p, "sub/x", unix.OpenHow{Flags: unix.O_WRONLY})
	require.Equal(t, unix.EACCES, err)
}

// Names that a function knows come and go.
func TestDynamic(t *testing.T) {
	alive := map[int]bool{1: true, 2: true}
	made := 0
	root := &kernfs.Dir{
		Lookup: func(_ vfs.Context, name string) (kernfs.Node, error) {
			pid, err := strconv.Atoi(name)
			if err != nil || !alive[pid] {
				return nil, unix.ENOENT
			}
			made++
			d := kernfs.NewDir(kernfs.Entry{Name: "stat", Node: kernfs.Text(name)})
			d.Valid = func() bool { return alive[pid] }
			d.Owner = func() (uint32, uint32) { return uint32(1000 + pid), 0 }
			d.Mode = 0500
			return d, nil
		},
		List: func(vfs.Context) ([]kernfs.Entry, error) {
			var out []kernfs.Entry
			for pid := range alive {
				out = append(out, kernfs.Entry{Name: strconv.Itoa(pid), Type: unix.DT_DIR})
			}
			return out, nil
		},
	}
	p := mount(t, root)
	ctx := fstest.Root()
	require.ElementsMatch(t, []string{"1", "2"}, fstest.List(t, p, "."))
	require.Equal(t, "2", fstest.ReadFile(t, p, "2/stat"))
	require.Equal(t, uint32(1002), fstest.Stat(t, p, "2").UID)
	require.Equal(t, 1, made) // cached while it is valid
	_, err := vfs.Stat(fstest.User(1001), p, "2/stat", 0)
	require.Equal(t, unix.EACCES, err)
	dir, err := vfs.Lookup(ctx, p, "2", 0)
	require.NoError(t, err)
	delete(alive, 2)
	_, err = vfs.Stat(ctx, p, "2", 0)
	require.Equal(t, unix.ENOENT, err)
	dir.DecRef()
	_, err = vfs.Stat(ctx, p, "3", 0)
	require.Equal(t, unix.ENOENT, err)
	alive[3] = true
	require.Equal(t, "3", fstest.ReadFile(t, p, "3/stat"))
}

func TestMagicLink(t *testing.T) {
	var target vfs.Path
	root := kernfs.NewDir(kernfs.Entry{Name: "hidden", Node: kernfs.Text("content")})
	root.Add("fd", &kernfs.MagicLink{
		Target: func(vfs.Context) (string, error) { return "pipe:[1]", nil },
		Follow: func(vfs.Context) (vfs.Path, error) { target.IncRef(); return target, nil },
	})
	p := mount(t, root)
	ctx := fstest.Root()
	target, err := vfs.Lookup(ctx, p, "hidden", 0)
	require.NoError(t, err)
	defer target.DecRef()
	require.Equal(t, "content", fstest.ReadFile(t, p, "fd"))
	s, err := vfs.Readlink(ctx, p, "fd")
	require.NoError(t, err)
	require.Equal(t, "pipe:[1]", s)
	for _, c := range []struct {
		resolve uint64
		err     error
	}{{unix.RESOLVE_NO_MAGICLINKS, unix.ELOOP}, {unix.RESOLVE_NO_SYMLINKS, unix.ELOOP}, {unix.RESOLVE_BENEATH, unix.EXDEV}, {unix.RESOLVE_NO_XDEV, nil}} {
		f, err := vfs.Open(ctx, p, "fd", unix.OpenHow{Resolve: c.resolve})
		require.Equal(t, c.err, err)
		if f != nil {
			f.DecRef()
		}
	}
	f, err := vfs.Open(ctx, p, "fd", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR})
	require.NoError(t, err) // root may write what is read-only; the file gives no way to
	f.DecRef()
}
