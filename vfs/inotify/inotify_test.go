package inotify_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/inotify"
	"gosv.dev/vfs/tmpfs"
	"gosv.dev/vfs/tmpfs/fstest"
)

var names = []struct {
	mask uint32
	name string
}{
	{unix.IN_ACCESS, "ACCESS"}, {unix.IN_MODIFY, "MODIFY"}, {unix.IN_ATTRIB, "ATTRIB"}, {unix.IN_CLOSE_WRITE, "CLOSE_WRITE"},
	{unix.IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"}, {unix.IN_OPEN, "OPEN"}, {unix.IN_MOVED_FROM, "MOVED_FROM"}, {unix.IN_MOVED_TO, "MOVED_TO"},
	{unix.IN_CREATE, "CREATE"}, {unix.IN_DELETE, "DELETE"}, {unix.IN_DELETE_SELF, "DELETE_SELF"}, {unix.IN_MOVE_SELF, "MOVE_SELF"},
	{unix.IN_UNMOUNT, "UNMOUNT"}, {unix.IN_Q_OVERFLOW, "OVERFLOW"}, {unix.IN_IGNORED, "IGNORED"}, {unix.IN_ISDIR, "ISDIR"},
}

// events reads and formats what there is: "wd:MASK(name)", # for a cookie.
const maxEvents = 16384

func events(t *testing.T, f *vfs.File) string {
	buf := make([]byte, 65536)
	dst := usermem.Bytes(buf)
	n, err := f.Read(fstest.Root(), &dst, vfs.IONonblock)
	if err == unix.EAGAIN {
		return ""
	}
	require.NoError(t, err)
	var out []string
	for b := buf[:n]; len(b) > 0; {
		le := binary.LittleEndian
		wd, mask, cookie, l := int32(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
		var s []string
		for _, x := range names {
			if mask&x.mask != 0 {
				s = append(s, x.name)
			}
		}
		e := fmt.Sprintf("%d:%s", wd, strings.Join(s, "|"))
		if l > 0 {
			require.Zero(t, l%16)
			e += "(" + strings.TrimRight(string(b[16:16+l]), "\x00") + ")"
		}
		if cookie != 0 {
			e += "#"
		}
		out = append(out, e)
		b = b[16+l:]
	}
	return strings.Join(out, " ")
}

// The expected events are what Linux 6.18 gives for the same calls.
func TestEvents(t *testing.T) {
	sb, err := tmpfs.New(fstest.Root(), fstest.Memory(t), "none", "")
	require.NoError(t, err)
	root := fstest.Mount(t, sb)
	ctx := fstest.Root()
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	must(vfs.Mkdir(ctx, root, "dir", 0755))
	in, err := inotify.New(cred.Root(), maxEvents, unix.O_NONBLOCK)
	must(err)
	watch := func(path string, mask uint32) int32 {
		t.Helper()
		wd, err := inotify.AddWatch(ctx, in, root, path, mask)
		must(err)
		return wd
	}
	expect := func(want string) { t.Helper(); require.Equal(t, want, events(t, in)) }
	open := func(path string, flags uint64) *vfs.File {
		t.Helper()
		return fstest.Open(t, ctx, root, path, flags, 0644)
	}

	watch("dir", unix.IN_ALL_EVENTS)
	f := open("dir/a", unix.O_CREAT|unix.O_RDWR)
	expect("1:CREATE(a) 1:OPEN(a)")
	watch("dir/a", unix.IN_ALL_EVENTS)
	fstest.Write(t, f, "x")
	fstest.Write(t, f, "x")
	expect("1:MODIFY(a) 2:MODIFY 1:MODIFY(a) 2:MODIFY")
	dst := usermem.Bytes(make([]byte, 1))
	_, err = f.PRead(ctx, &dst, 0, 0)
	must(err)
	expect("1:ACCESS(a) 2:ACCESS")
	must(f.Path.Chmod(ctx, 0600))
	expect("1:ATTRIB(a) 2:ATTRIB")
	must(f.Path.Utimes(ctx, nil))
	expect("1:ATTRIB(a) 2:ATTRIB")
	must(f.Truncate(ctx, 0))
	expect("1:MODIFY(a) 2:MODIFY")
	f.DecRef()
	expect("1:CLOSE_WRITE(a) 2:CLOSE_WRITE")
	open("dir/a", unix.O_TRUNC|unix.O_WRONLY).DecRef()
	expect("1:OPEN(a) 2:OPEN 1:MODIFY(a) 2:MODIFY 1:CLOSE_WRITE(a) 2:CLOSE_WRITE")
	must(vfs.Link(ctx, root, "dir/a", root, "dir/b", 0))
	expect("2:ATTRIB 1:CREATE(b)")
	must(vfs.Unlink(ctx, root, "dir/b"))
	expect("2:ATTRIB 1:DELETE(b)")
	must(vfs.Rename(ctx, root, "dir/a", root, "dir/c", 0))
	expect("1:MOVED_FROM(a)# 1:MOVED_TO(c)# 2:MOVE_SELF")
	open("dir/x", unix.O_CREAT|unix.O_WRONLY).DecRef()
	expect("1:CREATE(x) 1:OPEN(x) 1:CLOSE_WRITE(x)")
	must(vfs.Rename(ctx, root, "dir/x", root, "dir/c", 0))
	expect("1:MOVED_FROM(x)# 1:MOVED_TO(c)# 2:ATTRIB 2:DELETE_SELF 2:IGNORED")
	must(vfs.Mkdir(ctx, root, "dir/s", 0755))
	expect("1:CREATE|ISDIR(s)")
	watch("dir/s", unix.IN_ALL_EVENTS)
	d := open("dir/s", unix.O_DIRECTORY)
	must(d.ReadDir(ctx, func(vfs.Dirent) bool { return true }))
	d.DecRef()
	expect("1:OPEN|ISDIR(s) 3:OPEN|ISDIR 1:ACCESS|ISDIR(s) 3:ACCESS|ISDIR 1:CLOSE_NOWRITE|ISDIR(s) 3:CLOSE_NOWRITE|ISDIR")
	must(vfs.Rename(ctx, root, "dir/s", root, "dir/t", 0))
	expect("1:MOVED_FROM|ISDIR(s)# 1:MOVED_TO|ISDIR(t)# 3:MOVE_SELF")
	must(vfs.Rmdir(ctx, root, "dir/t"))
	expect("3:DELETE_SELF 3:IGNORED 1:DELETE|ISDIR(t)")
	f = open("dir/o", unix.O_CREAT|unix.O_RDWR)
	watch("dir/o", unix.IN_ALL_EVENTS)
	expect("1:CREATE(o) 1:OPEN(o)")
	must(vfs.Unlink(ctx, root, "dir/o"))
	expect("4:ATTRIB 1:DELETE(o)")
	fstest.Write(t, f, "1")
	expect("1:MODIFY(o) 4:MODIFY")
	f.DecRef()
	expect("1:CLOSE_WRITE(o) 4:CLOSE_WRITE 4:DELETE_SELF 4:IGNORED")
	must(vfs.Unlink(ctx, root, "dir/c"))
	expect("1:DELETE(c)")
	must(vfs.Rmdir(ctx, root, "dir"))
	expect("1:DELETE_SELF 1:IGNORED")

	// Options.
	open("w", unix.O_CREAT|unix.O_WRONLY).DecRef()
	wd := watch("w", unix.IN_OPEN|unix.IN_ONESHOT)
	_, err = inotify.AddWatch(ctx, in, root, "w", unix.IN_OPEN|unix.IN_MASK_CREATE)
	require.Equal(t, unix.EEXIST, err)
	open("w", 0).DecRef()
	expect(fmt.Sprintf("%d:OPEN %d:IGNORED", wd, wd))
	_, err = inotify.AddWatch(ctx, in, root, "w", unix.IN_OPEN|unix.IN_ONLYDIR)
	require.Equal(t, unix.ENOTDIR, err)
	_, err = inotify.AddWatch(ctx, in, root, "w", 0)
	require.Equal(t, unix.EINVAL, err)
	wd = watch("w", unix.IN_OPEN)
	require.Equal(t, wd, watch("w", unix.IN_MODIFY|unix.IN_MASK_ADD))
	f = open("w", unix.O_WRONLY)
	for range 3 {
		fstest.Write(t, f, "coalesced")
	}
	expect(fmt.Sprintf("%d:OPEN %d:MODIFY", wd, wd))
	require.NoError(t, inotify.RmWatch(in, wd))
	require.Equal(t, unix.EINVAL, inotify.RmWatch(in, wd))
	expect(fmt.Sprintf("%d:IGNORED", wd))

	// Too many events.
	watch("w", unix.IN_OPEN|unix.IN_MODIFY)
	for range maxEvents {
		fstest.Write(t, f, "1")
		open("w", 0).DecRef()
	}
	f.DecRef()
	all := ""
	for {
		s := events(t, in)
		if s == "" {
			break
		}
		all = s
	}
	require.True(t, strings.HasSuffix(all, "-1:OVERFLOW"))
	in.DecRef()
}

func TestUnmount(t *testing.T) {
	reg := vfs.NewRegistry()
	mem := fstest.Memory(t)
	sb, err := tmpfs.New(fstest.Root(), mem, "none", "")
	require.NoError(t, err)
	ns := vfs.NewMountNamespace(reg, cred.InitUserNS(), sb, 0)
	sb.DecRef()
	defer ns.DecRef()
	ctx := fstest.Root()
	root := ns.Root()
	require.NoError(t, vfs.Mkdir(ctx, root, "m", 0755))
	reg.Register(tmpfs.Type(mem))
	require.NoError(t, vfs.DoMount(ctx, ns, "x", root, "m", "tmpfs", 0, ""))
	require.NoError(t, vfs.Mkdir(ctx, root, "m/d", 0755))
	in, err := inotify.New(cred.Root(), maxEvents, unix.O_NONBLOCK)
	require.NoError(t, err)
	_, err = inotify.AddWatch(ctx, in, root, "m/d", unix.IN_OPEN)
	require.NoError(t, err)
	// A watch does not keep the file system busy, and memory pressure does not end it.
	reg.ShrinkDentries(1000)
	require.NoError(t, vfs.DoUmount(ctx, ns, root, "m", 0))
	require.Equal(t, "1:UNMOUNT 1:IGNORED", events(t, in))
	in.DecRef()
}
