package vfs

import (
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// mount is mount(2); "" as source makes a memfs.
func (w *world) mount(src, at string, flags uint64) error {
	fstype := "memfs"
	return DoMount(w.ctx, w.ns, src, Path{}, at, fstype, flags, "")
}

func (w *world) umount(at string, flags int) error {
	return DoUmount(w.ctx, w.ns, Path{}, at, flags)
}

func (w *world) exists(path string) bool {
	_, err := Stat(w.ctx, Path{}, path, 0)
	return err == nil
}

func TestMount(t *testing.T) {
	w := newWorld(t)
	w.tree("/m/", "/d/", "/full/", "/f", "/l->f", "/a/", "/a/under")
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"new", w.mount("x", "/m", 0), nil},
		{"on top", w.mount("x", "/m", 0), nil},
		{"rmdir", Rmdir(w.ctx, Path{}, "/m"), unix.EBUSY},
		{"rename", Rename(w.ctx, Path{}, "/m", Path{}, "/mm", 0), unix.EBUSY},
		{"expire", w.umount("/m", unix.MNT_EXPIRE), unix.EAGAIN},
		{"expired", w.umount("/m", unix.MNT_EXPIRE), nil},
		{"still", Mkdir(w.ctx, Path{}, "/m/s", 0755), nil},
		{"umount", w.umount("/m", 0), nil},
		{"not mounted", w.umount("/m", 0), unix.EINVAL},
		{"gone", Rmdir(w.ctx, Path{}, "/m/s"), unix.ENOENT},
		{"file", w.mount("x", "/f", 0), unix.ENOTDIR},
		{"bind file on dir", w.mount("/f", "/d", unix.MS_BIND), unix.ENOTDIR},
		{"bind dir on file", w.mount("/d", "/f", unix.MS_BIND), unix.ENOTDIR},
		{"bind file on file", w.mount("/f", "/l", unix.MS_BIND), nil},
		{"umount nofollow", w.umount("/l", unix.UMOUNT_NOFOLLOW), unix.EINVAL},
		{"umount link", w.umount("/l", 0), nil},
		{"move what is no mount", w.mount("/d", "/full", unix.MS_MOVE), unix.EINVAL},
		{"shared no mount", w.mount("", "/d", unix.MS_SHARED), unix.EINVAL},
		{"unknown", DoMount(w.ctx, w.ns, "x", Path{}, "/d", "nofs", 0, ""), unix.ENODEV},
		{"bind", w.mount("/d", "/d", unix.MS_BIND), nil},
		{"two kinds", w.mount("", "/d", unix.MS_SHARED|unix.MS_PRIVATE), unix.EINVAL},
		{"read-only bind", w.mount("", "/d", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY), nil},
		{"mkdir ro", Mkdir(w.ctx, Path{}, "/d/q", 0), unix.EROFS},
		{"mkdir mountpoint", Mkdir(w.ctx, Path{}, "/d", 0), unix.EEXIST},
		{"unlink ro", Unlink(w.ctx, Path{}, "/d/nope"), unix.EROFS},
		{"chmod ro", Chmod(w.ctx, Path{}, "/d", 0700, 0), unix.EROFS},
		{"access ro", Access(w.ctx, Path{}, "/d", unix.W_OK, 0), unix.EROFS},
		{"unbindable", w.mount("", "/d", unix.MS_UNBINDABLE), nil},
		{"bind unbindable", w.mount("/d", "/full", unix.MS_BIND), unix.EINVAL},
		{"m again", w.mount("x", "/m", 0), nil},
		{"in", Mkdir(w.ctx, Path{}, "/m/in", 0755), nil},
		{"move into itself", w.mount("/m", "/m/in", unix.MS_MOVE), unix.ELOOP},
		{"move", w.mount("/m", "/a", unix.MS_MOVE), nil},
		{"not a user's", DoMount(w.user(5), w.ns, "x", Path{}, "/full", "memfs", 0, ""), unix.EPERM},
		{"xdev", Rename(w.ctx, Path{}, "/a/in", Path{}, "/in", 0), unix.EXDEV},
		{"xdev link", Link(w.ctx, Path{}, "/f", Path{}, "/a/hard", 0), unix.EXDEV},
	} {
		require.Equal(t, c.want, c.err, c.name)
	}
	require.True(t, w.exists("/a/in"))
	require.False(t, w.exists("/a/under"))
	_, err := Lookup(w.ctx, Path{}, "a/in", LookupNoXDev)
	require.Equal(t, unix.EXDEV, err)
	_, err = w.open("/d/q", unix.O_CREAT|unix.O_RDWR)
	require.Equal(t, unix.EROFS, err)

	// ".." leads out of a mount, and a busy mount stays.
	f, err := w.open("/a/in/../../f", 0)
	w.must(err)
	f.DecRef()
	f, err = w.open("/a/in", 0)
	w.must(err)
	require.Equal(t, unix.EBUSY, w.umount("/a", 0))
	sb := f.Inode().SB
	killed := false
	sb.Kill = func(*Superblock) { killed = true }
	w.must(w.umount("/a", unix.MNT_DETACH))
	require.True(t, w.exists("/a/under"))
	require.False(t, killed)
	f.DecRef()
	require.True(t, killed)

	info := w.ns.MountInfo(Path{})
	require.Regexp(t, regexp.MustCompile(`(?m)^\d+ \d+ 0:\d+ /d /d ro,relatime unbindable - memfs root rw$`), info)
	require.Contains(t, w.ns.Mounts(Path{}), "root /d memfs ro,relatime 0 0\n")
}

func TestMountFlags(t *testing.T) {
	w := newWorld(t)
	w.tree("/m/")
	w.must(w.mount("x", "/m", unix.MS_NODEV|unix.MS_NOEXEC|MountNoSymFollow|unix.MS_NOATIME))
	w.tree("/m/f", "/m/l->f")
	w.must(Mknod(w.ctx, Path{}, "/m/null", unix.S_IFCHR|0666, unix.Mkdev(1, 3)))
	_, err := w.open("/m/null", unix.O_RDWR)
	require.Equal(t, unix.EACCES, err)
	_, err = w.open("/m/l", 0)
	require.Equal(t, unix.ELOOP, err)
	w.must(Chmod(w.ctx, Path{}, "/m/f", 0777, 0))
	require.Equal(t, unix.EACCES, Access(w.ctx, Path{}, "/m/f", unix.X_OK, 0))
	s, err := StatFS(w.ctx, Path{}, "/m")
	w.must(err)
	require.Equal(t, int64(0x20|4|8|1024|8192), s.Flags)
	f, err := w.open("/m/f", unix.O_RDWR)
	w.must(err)
	require.Equal(t, unix.EBUSY, w.mount("", "/m", unix.MS_REMOUNT|unix.MS_RDONLY))
	require.Equal(t, unix.EBUSY, w.mount("", "/m", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY))
	f.DecRef()
	w.must(w.mount("", "/m", unix.MS_REMOUNT|unix.MS_RDONLY))
	_, err = w.open("/m/f", unix.O_RDWR)
	require.Equal(t, unix.EROFS, err)

	// A device that has a driver.
	RegisterCharDev(w.reg, "mem", 1, 3, 1, func(Context, *Inode, *File) (FileOps, error) { return &streamOps{}, nil })
	w.must(Mknod(w.ctx, Path{}, "/null", unix.S_IFCHR|0666, unix.Mkdev(1, 3)))
	w.must(Mknod(w.ctx, Path{}, "/other", unix.S_IFCHR|0666, unix.Mkdev(1, 4)))
	f, err = w.open("/null", unix.O_RDWR)
	w.must(err)
	f.DecRef()
	_, err = w.open("/other", unix.O_RDWR)
	require.Equal(t, unix.ENXIO, err)
	w.must(Chmod(w.ctx, Path{}, "/", 0777, 0))
	require.Equal(t, unix.EPERM, Mknod(w.user(4), Path{}, "/x", unix.S_IFCHR, 5))
}

// propagation fields of the mount at a place.
func (w *world) fields(ns *MountNamespace, at string) string {
	for _, l := range strings.Split(ns.MountInfo(Path{}), "\n") {
		f := strings.Fields(l)
		if len(f) > 6 && f[4] == at {
			return strings.Join(f[6:len(f)-4], " ")
		}
	}
	return "none"
}

func TestPropagation(t *testing.T) {
	w := newWorld(t)
	w.tree("/s/", "/peer/", "/slave/", "/priv/", "/both/", "/bothpeer/")
	w.must(w.mount("x", "/s", 0))
	w.must(w.mount("", "/s", unix.MS_SHARED))
	w.must(Mkdir(w.ctx, Path{}, "/s/p", 0755))
	for _, d := range []string{"/peer", "/slave", "/priv", "/both"} {
		w.must(w.mount("/s", d, unix.MS_BIND))
	}
	w.must(w.mount("", "/slave", unix.MS_SLAVE))
	w.must(w.mount("", "/priv", unix.MS_PRIVATE))
	w.must(w.mount("", "/both", unix.MS_SLAVE))
	w.must(w.mount("", "/both", unix.MS_SHARED))
	w.must(w.mount("/both", "/bothpeer", unix.MS_BIND))
	require.Equal(t, "shared:1", w.fields(w.ns, "/peer"))
	require.Equal(t, "master:1", w.fields(w.ns, "/slave"))
	require.Equal(t, "", w.fields(w.ns, "/priv"))
	require.Equal(t, "shared:2 master:1", w.fields(w.ns, "/both"))
	require.Equal(t, "shared:2 master:1", w.fields(w.ns, "/bothpeer"))

	w.must(w.mount("y", "/peer/p", 0))
	w.must(Mkdir(w.ctx, Path{}, "/peer/p/q", 0755))
	for _, d := range []string{"/s", "/slave", "/both", "/bothpeer"} {
		require.True(t, w.exists(d+"/p/q"), d)
	}
	require.False(t, w.exists("/priv/p/q"))
	require.Equal(t, "shared:3", w.fields(w.ns, "/s/p"))
	require.Equal(t, "master:3", w.fields(w.ns, "/slave/p"))
	require.Equal(t, "shared:4 master:3", w.fields(w.ns, "/both/p"))
	require.Equal(t, "shared:4 master:3", w.fields(w.ns, "/bothpeer/p"))

	// What happens in a slave does not come back.
	w.must(w.mount("z", "/slave/p/q", 0))
	require.Equal(t, "none", w.fields(w.ns, "/s/p/q"))
	w.must(w.umount("/slave/p/q", 0))
	require.Equal(t, unix.EINVAL, w.mount("/s/p", "/priv", unix.MS_MOVE)) // its parent is shared

	w.must(w.umount("/s/p", 0))
	for _, d := range []string{"/peer", "/slave", "/both", "/bothpeer"} {
		require.Equal(t, "none", w.fields(w.ns, d+"/p"))
	}
	// A mount that the receiver has already comes to lie on top.
	w.must(w.mount("own", "/slave/p", 0))
	w.must(Mkdir(w.ctx, Path{}, "/slave/p/own", 0755))
	w.must(w.mount("y", "/s/p", 0))
	require.True(t, w.exists("/slave/p/own"))
	w.must(w.umount("/s/p", 0))
	require.True(t, w.exists("/slave/p/own"))

	// Recursive bind, with what is unbindable left out.
	w.tree("/tree/", "/copy/")
	w.must(w.mount("t", "/tree", 0))
	w.tree("/tree/a/", "/tree/b/")
	w.must(w.mount("ta", "/tree/a", 0))
	w.must(w.mount("tb", "/tree/b", unix.MS_NOSUID))
	w.must(w.mount("", "/tree/a", unix.MS_UNBINDABLE))
	w.must(w.mount("/tree", "/copy", unix.MS_BIND|unix.MS_REC))
	require.Equal(t, "none", w.fields(w.ns, "/copy/a"))
	require.Equal(t, "", w.fields(w.ns, "/copy/b"))
	w.must(w.mount("", "/", unix.MS_REC|unix.MS_PRIVATE))
	require.NotContains(t, w.ns.MountInfo(Path{}), "shared:")
	require.NotContains(t, w.ns.MountInfo(Path{}), "master:")
}

func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	w.tree("/m/", "/n/", "/sh/")
	w.must(w.mount("x", "/m", unix.MS_NOSUID))
	w.must(w.mount("x", "/sh", 0))
	w.must(w.mount("", "/sh", unix.MS_SHARED))
	w.must(Mkdir(w.ctx, Path{}, "/sh/p", 0755))
	w.must(w.ctx.fs.Chdir(w.ctx, Path{}, "/m"))
	other := w.caller(w.ctx.cred)
	w.must(other.fs.Chdir(other, Path{}, "/m"))
	ns2, err := w.ns.Clone(w.ctx, cred.InitUserNS(), other.fs)
	w.must(err)
	require.NotEqual(t, w.ctx.fs.Cwd().Mount, other.fs.Cwd().Mount)
	cwd, _ := CwdString(other.fs.Cwd(), other.fs.Root())
	require.Equal(t, "/m", cwd)
	cwd, _ = CwdString(other.fs.Cwd(), w.ctx.fs.Root())
	require.Equal(t, "(unreachable)/m", cwd)

	e, ch := waitq.NewChan()
	ns2.EventRegister(e, waitq.Pri)
	w.must(DoMount(other, ns2, "y", Path{}, "/n", "memfs", 0, ""))
	<-ch
	require.Equal(t, "none", w.fields(w.ns, "/n"))
	require.Equal(t, unix.EINVAL, DoMount(other, w.ns, "y", Path{}, "/n", "memfs", 0, "")) // not his namespace
	w.must(w.mount("z", "/sh/p", 0))
	require.Equal(t, "shared:2", w.fields(ns2, "/sh/p"))

	// In a less privileged namespace mounts are locked, and propagation is one way.
	userns, c, err := cred.New(cred.InitUserNS(), 1000, 1000, nil).NewUserNS()
	w.must(err)
	require.NoError(t, userns.WriteUIDMap(c, c, 0, []byte("0 1000 1\n")))
	less := w.caller(c)
	ns3, err := w.ns.Clone(less, userns, less.fs)
	w.must(err)
	require.Equal(t, "master:1", w.fields(ns3, "/sh"))
	require.Equal(t, unix.EINVAL, DoUmount(less, ns3, Path{}, "/m", 0))
	require.Equal(t, unix.EPERM, DoMount(less, ns3, "", Path{}, "/m", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	w.must(DoMount(less, ns3, "", Path{}, "/m", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_RDONLY, ""))
	require.Equal(t, unix.EPERM, DoMount(less, w.ns, "y", Path{}, "/n", "memfs", 0, ""))
	w.must(DoMount(less, ns3, "y", Path{}, "/n", "memfs", 0, ""))
	require.Equal(t, "none", w.fields(w.ns, "/n"))
	less.fs.DecRef()
	ns3.DecRef()
	other.fs.DecRef()
	ns2.EventUnregister(e)
	ns2.DecRef()
	w.must(w.ctx.fs.Chdir(w.ctx, Path{}, "/"))
	w.must(w.umount("/m", 0))
	w.must(w.umount("/sh/p", 0))
}

func TestPivotRoot(t *testing.T) {
	w := newWorld(t)
	w.tree("/new/", "/plain/", "/oldfile")
	w.must(w.mount("n", "/new", 0))
	w.tree("/new/put/", "/new/newfile")
	at := func(p string) Path { x, err := Lookup(w.ctx, Path{}, p, 0); w.must(err); return x }
	n, put, plain, root := at("/new"), at("/new/put"), at("/plain"), at("/")
	require.Equal(t, unix.EBUSY, w.ns.PivotRoot(w.ctx, plain, plain))
	require.Equal(t, unix.EBUSY, w.ns.PivotRoot(w.ctx, root, root))
	require.Equal(t, unix.EBUSY, w.ns.PivotRoot(w.ctx, n, plain))
	w.must(w.ns.PivotRoot(w.ctx, n, put))
	require.True(t, w.exists("/newfile"))
	require.True(t, w.exists("/put/oldfile"))
	require.True(t, w.exists("/put/new"))
	require.False(t, w.exists("/put/../oldfile"))
	for _, p := range []Path{n, put, plain, root} {
		p.DecRef()
	}
	w.must(w.umount("/put", unix.MNT_DETACH))
	require.False(t, w.exists("/put/oldfile"))
	require.Len(t, strings.Split(strings.TrimSpace(w.ns.MountInfo(Path{})), "\n"), 1)
	// pivot_root(".", ".") puts the old root on top of the new.
	w.tree("/again/")
	w.must(w.mount("a", "/again", 0))
	w.tree("/again/inside")
	again := at("/again")
	w.must(w.ns.PivotRoot(w.ctx, again, again))
	w.must(w.ns.Umount(w.ctx, followMounts(again), unix.MNT_DETACH))
	again.DecRef()
	require.True(t, w.exists("/inside"))
}

func TestChroot(t *testing.T) {
	w := newWorld(t)
	w.tree("/jail/", "/jail/etc/", "/secret", "/jail/l->/../secret")
	w.must(w.ctx.fs.Chroot(w.ctx, Path{}, "/jail"))
	w.must(w.ctx.fs.Chdir(w.ctx, Path{}, "/"))
	require.True(t, w.exists("../../etc"))
	_, err := w.open("/l", 0)
	require.Equal(t, unix.ENOENT, err)
	require.False(t, w.exists("/../secret"))
}

func TestNewMountAPI(t *testing.T) {
	w := newWorld(t)
	w.tree("/m/", "/n/", "/o/")
	fc, err := FSOpen(w.ctx, w.ns, "memfs", 0)
	w.must(err)
	_, err = FSMount(w.ctx, w.ns, fc, 0, 0)
	require.Equal(t, unix.EINVAL, err)
	w.must(FSConfig(w.ctx, fc, unix.FSCONFIG_SET_STRING, "source", "src"))
	w.must(FSConfig(w.ctx, fc, unix.FSCONFIG_CMD_CREATE, "", ""))
	mf, err := FSMount(w.ctx, w.ns, fc, 0, unix.MOUNT_ATTR_NODEV)
	w.must(err)
	fc.DecRef()
	w.must(Mkdir(w.ctx, mf.Path, "dir", 0755)) // before it is attached
	w.must(MoveMount(w.ctx, w.ns, mf.Path, "", Path{}, "/m", unix.MOVE_MOUNT_F_EMPTY_PATH))
	mf.DecRef()
	require.True(t, w.exists("/m/dir"))
	require.Contains(t, w.ns.Mounts(Path{}), "src /m memfs rw,nodev,relatime 0 0")

	tr, err := OpenTree(w.ctx, w.ns, Path{}, "/m", unix.OPEN_TREE_CLONE)
	w.must(err)
	w.must(MountSetAttr(w.ctx, w.ns, tr.Path, "", unix.AT_EMPTY_PATH, MountAttr{Set: unix.MOUNT_ATTR_RDONLY, Clear: unix.MOUNT_ATTR_NODEV}))
	w.must(MoveMount(w.ctx, w.ns, tr.Path, "", Path{}, "/n", unix.MOVE_MOUNT_F_EMPTY_PATH))
	tr.DecRef()
	require.Equal(t, unix.EROFS, Mkdir(w.ctx, Path{}, "/n/x", 0755))
	require.Contains(t, w.ns.Mounts(Path{}), "src /n memfs ro,relatime 0 0")

	// A tree that is not attached goes with its file.
	tr, err = OpenTree(w.ctx, w.ns, Path{}, "/m", unix.OPEN_TREE_CLONE)
	w.must(err)
	m := tr.Path.Mount
	tr.DecRef()
	require.Zero(t, m.refs.Load())

	pick, err := FSPick(w.ctx, w.ns, Path{}, "/m", 0)
	w.must(err)
	w.must(FSConfig(w.ctx, pick, unix.FSCONFIG_SET_FLAG, "ro", ""))
	w.must(FSConfig(w.ctx, pick, unix.FSCONFIG_CMD_RECONFIGURE, "", ""))
	pick.DecRef()
	require.Equal(t, unix.EROFS, Mkdir(w.ctx, Path{}, "/m/x", 0755))

	ids, err := ListMount(w.ctx, w.ns, ^uint64(0), 0, 10, false)
	w.must(err)
	require.Len(t, ids, 3)
	b, err := StatMount(w.ctx, w.ns, ids[2], 0x3f)
	w.must(err)
	require.Contains(t, string(b), "/n\x00")
	w.must(w.umount("/m", 0))
	w.must(w.umount("/n", 0))
}

// A name with a mount on it in another namespace can be removed: the mount goes.
func TestRemoveForeignMountpoint(t *testing.T) {
	w := newWorld(t)
	w.tree("/d/")
	other := w.caller(w.ctx.cred)
	ns2, err := w.ns.Clone(other, cred.InitUserNS(), other.fs)
	w.must(err)
	w.must(DoMount(other, ns2, "y", Path{}, "/d", "memfs", 0, ""))
	w.must(Rmdir(w.ctx, Path{}, "/d"))
	require.Equal(t, "none", w.fields(ns2, "/d"))
	other.fs.DecRef()
	ns2.DecRef()
}

// Mounts come and go beneath walkers; in the end no reference is left.
func TestConcurrentMounts(t *testing.T) {
	w := newWorld(t)
	w.tree("/s/", "/s/p/", "/peer/")
	w.must(w.mount("/s", "/s", unix.MS_BIND))
	w.must(w.mount("", "/s", unix.MS_SHARED))
	w.must(w.mount("/s", "/peer", unix.MS_BIND))
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := w.caller(w.ctx.cred)
			for !stop.Load() {
				for _, path := range []string{"/s/p/x", "/peer/p/../p/x", "/s/p/../../peer/p"} {
					if p, err := Lookup(ctx, Path{}, path, 0); err == nil {
						FullPath(p, ctx.fs.Root())
						p.DecRef()
					} else if err != unix.ENOENT {
						t.Error(path, err)
						return
					}
				}
				w.ns.MountInfo(ctx.fs.Root())
			}
		}()
	}
	for range 300 {
		w.must(w.mount("x", "/s/p", 0))
		_ = Mkdir(w.ctx, Path{}, "/peer/p/x", 0755)
		if err := w.umount("/peer/p", 0); err == unix.EBUSY {
			w.must(w.umount("/peer/p", unix.MNT_DETACH))
		} else {
			w.must(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	require.Equal(t, "none", w.fields(w.ns, "/s/p"))
	require.Equal(t, 3, w.ns.count)
	require.Len(t, w.reg.Superblocks(), 1)
}
