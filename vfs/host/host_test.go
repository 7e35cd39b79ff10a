package host

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/tmpfs/fstest"
	"gosv.dev/vfs/waitq"
)

func procFD(t testing.TB) int {
	fd, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func newFS(t testing.TB, dir string, opts Options) vfs.Path {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	sb, err := New(fstest.Memory(t), fd, opts)
	require.NoError(t, err)
	return fstest.Mount(t, sb)
}

func TestDifferential(t *testing.T) {
	unix.Umask(0)
	before := fds.openFDs()
	for _, exclusive := range []bool{false, true} {
		for _, proc := range []int{-1, procFD(t)} {
			t.Run(fmt.Sprintf("exclusive=%v,proc=%v", exclusive, proc >= 0), func(t *testing.T) {
				for seed := range int64(8) {
					dir, mine := t.TempDir(), t.TempDir()
					require.NoError(t, unix.Chmod(dir, 0755))
					require.NoError(t, unix.Chmod(mine, 0755))
					root := newFS(t, mine, Options{Exclusive: exclusive, ProcSelfFD: proc})
					fstest.Differential(t, root, dir, seed, 250)
				}
			})
		}
	}
	require.Equal(t, before, fds.openFDs(), "all descriptors are closed with their inodes")
}

// The same with room for very few descriptors.
func TestFewDescriptors(t *testing.T) {
	old := fds.max
	SetMaxFDs(6)
	defer SetMaxFDs(old)
	dir, mine := t.TempDir(), t.TempDir()
	require.NoError(t, unix.Chmod(dir, 0755))
	require.NoError(t, unix.Chmod(mine, 0755))
	root := newFS(t, mine, Options{ProcSelfFD: procFD(t)})
	fstest.Differential(t, root, dir, 42, 300)
	var files []*vfs.File
	for i := range 50 {
		name := fmt.Sprint("file", i)
		fstest.WriteFile(t, root, name, name)
		files = append(files, fstest.Open(t, fstest.Root(), root, name, unix.O_RDWR, 0))
	}
	for i, f := range files {
		fstest.Write(t, f, "FILE")
		require.Equal(t, fmt.Sprint("FILE", i), fstest.Read(t, f))
	}
	for _, f := range files {
		f.DecRef()
	}
	require.LessOrEqual(t, fds.openFDs(), 6)
}

func TestShared(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("one"), 0644))
	root := newFS(t, dir, Options{ProcSelfFD: procFD(t)})
	require.Equal(t, "one", fstest.ReadFile(t, root, "f"))

	// The host changes the file, replaces it, removes it.
	require.NoError(t, os.WriteFile(path, []byte("second"), 0644))
	require.Equal(t, "second", fstest.ReadFile(t, root, "f"))
	require.Equal(t, int64(6), fstest.Stat(t, root, "f").Size)
	require.NoError(t, os.WriteFile(path+".new", []byte("third time"), 0644))
	require.NoError(t, os.Rename(path+".new", path))
	require.Equal(t, "third time", fstest.ReadFile(t, root, "f"))
	require.NoError(t, os.Remove(path))
	_, err := vfs.Stat(fstest.Root(), root, "f", 0)
	require.ErrorIs(t, err, unix.ENOENT)
	require.NoError(t, os.Mkdir(path, 0755))
	require.True(t, fstest.Stat(t, root, "f").Mode&unix.S_IFMT == unix.S_IFDIR)
	require.Equal(t, []string{"f"}, fstest.List(t, root, "."))

	// We write: the host sees it at once. It appends: a reader at the end sees that.
	w := fstest.Open(t, fstest.Root(), root, "log", unix.O_CREAT|unix.O_RDWR|unix.O_APPEND, 0644)
	defer w.DecRef()
	fstest.Write(t, w, "a\n")
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.Equal(t, "a\n", string(b))
	h, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer h.Close()
	_, err = h.WriteString("b\n")
	require.NoError(t, err)
	fstest.Write(t, w, "c\n")
	require.Equal(t, "a\nb\nc\n", fstest.Read(t, w))
}

func TestExclusiveIsCached(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0644))
	root := newFS(t, dir, Options{Exclusive: true, ReadOnly: true, ProcSelfFD: -1})
	require.Equal(t, "x", fstest.ReadFile(t, root, "f"))
	for _, c := range []struct {
		name string
		err  error
	}{
		{"mkdir", vfs.Mkdir(fstest.Root(), root, "d", 0755)},
		{"unlink", vfs.Unlink(fstest.Root(), root, "f")},
		{"chmod", vfs.Chmod(fstest.Root(), root, "f", 0, 0)},
	} {
		require.ErrorIs(t, c.err, unix.EROFS, c.name)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "f")))
	require.Equal(t, int64(1), fstest.Stat(t, root, "f").Size, "nobody asks the host")
}

// Nothing outside of the directory can be reached, and links are the guest's to follow.
func TestContainment(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0755))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0644))
	require.NoError(t, os.Symlink("../secret", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(filepath.Join(top, "secret"), filepath.Join(dir, "abs")))
	require.NoError(t, os.Symlink("..", filepath.Join(dir, "up")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0644))
	for _, exclusive := range []bool{false, true} {
		root := newFS(t, dir, Options{Exclusive: exclusive, ProcSelfFD: procFD(t)})
		for _, name := range []string{"link", "abs", "../secret", "up/secret", "sub/../../secret", "/../secret"} {
			_, err := vfs.Open(fstest.Root(), root, name, unix.OpenHow{})
			require.ErrorIs(t, err, unix.ENOENT, name)
		}
		target, err := vfs.Readlink(fstest.Root(), root, "link")
		require.NoError(t, err)
		require.Equal(t, "../secret", target)
		done := make(chan error)
		go func() {
			_, err := vfs.Open(fstest.Root(), root, "fifo", unix.OpenHow{Flags: unix.O_RDONLY})
			done <- err
		}()
		select {
		case err := <-done:
			require.Error(t, err, "a FIFO of the host is not opened")
		case <-time.After(5 * time.Second):
			t.Fatal("opening a FIFO of the host hangs")
		}
	}

	// A directory that is exchanged for a link to the outside while it is in use.
	root := newFS(t, dir, Options{ProcSelfFD: procFD(t)})
	require.NoError(t, os.Mkdir(filepath.Join(top, "outside"), 0755))
	require.NoError(t, os.WriteFile(filepath.Join(top, "outside", "f"), []byte("secret"), 0644))
	require.NoError(t, os.Symlink("../outside", filepath.Join(dir, "evil")))
	var wg sync.WaitGroup
	stop := make(chan bool)
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "evil"), unix.AT_FDCWD, filepath.Join(dir, "sub"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 3000 {
		f, err := vfs.Open(fstest.Root(), root, "sub/f", unix.OpenHow{})
		if err == nil {
			f.DecRef()
			t.Fatal("got out")
		}
	}
	close(stop)
	wg.Wait()
}

func TestIDMap(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0644))
	require.NoError(t, os.Chown(filepath.Join(dir, "f"), 1005, 77))
	root := newFS(t, dir, Options{
		UIDs:       []IDRange{{Host: 1000, Guest: 0, Count: 10}},
		GIDs:       []IDRange{{Host: 0, Guest: 500, Count: 1}},
		ProcSelfFD: procFD(t),
	})
	s := fstest.Stat(t, root, "f")
	require.Equal(t, [2]uint32{5, 65534}, [2]uint32{s.UID, s.GID})
	require.NoError(t, vfs.Chown(fstest.Root(), root, "f", 3, 500, 0))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dir, "f"), &st))
	require.Equal(t, [2]uint32{1003, 0}, [2]uint32{st.Uid, st.Gid})
	require.ErrorIs(t, vfs.Chown(fstest.Root(), root, "f", 10, 500, 0), unix.EPERM)
}

func TestUnlinkedButOpen(t *testing.T) {
	for _, proc := range []int{-1, procFD(t)} {
		root := newFS(t, t.TempDir(), Options{ProcSelfFD: proc})
		fstest.WriteFile(t, root, "f", "content")
		f := fstest.Open(t, fstest.Root(), root, "f", unix.O_RDWR, 0)
		require.NoError(t, vfs.Unlink(fstest.Root(), root, "f"))
		fstest.WriteFile(t, root, "f", "another")
		require.Equal(t, "content", fstest.Read(t, f))
		fstest.Write(t, f, "CON")
		require.Equal(t, "CONtent", fstest.Read(t, f))
		s, err := f.Stat(fstest.Root())
		require.NoError(t, err)
		require.Zero(t, s.Nlink)
		f.DecRef()
	}
}

func TestXattrAndAllocate(t *testing.T) {
	ctx := fstest.Root()
	dir := t.TempDir()
	root := newFS(t, dir, Options{ProcSelfFD: procFD(t)})
	f := fstest.Open(t, ctx, root, "f", unix.O_CREAT|unix.O_RDWR, 0644)
	defer f.DecRef()
	if err := f.Path.SetXattr(ctx, "user.x", []byte("v"), 0); err != unix.EOPNOTSUPP {
		require.NoError(t, err)
		v, err := f.Path.GetXattr(ctx, "user.x")
		require.NoError(t, err)
		require.Equal(t, "v", string(v))
		names, err := f.Path.ListXattr(ctx)
		require.NoError(t, err)
		require.Contains(t, names, "user.x")
		require.NoError(t, f.Path.RemoveXattr(ctx, "user.x"))
	}
	fstest.Write(t, f, "0123456789")
	if err := f.Allocate(ctx, 0, 0, 20000); err != unix.EOPNOTSUPP {
		require.NoError(t, err)
		require.Equal(t, int64(20000), fstest.Stat(t, root, "f").Size)
		require.Equal(t, "0123456789", fstest.Read(t, f)[:10])
		require.NoError(t, f.Allocate(ctx, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 2, 3))
		require.Equal(t, "01\x00\x00\x0056789", fstest.Read(t, f)[:10])
	}
	require.NoError(t, f.Sync(ctx, 0, -1, false))
	ts := &[2]vfs.Timespec{{Sec: 100, Nsec: 1}, {Sec: 200, Nsec: 2}}
	require.NoError(t, f.Path.Utimes(ctx, ts))
	s := fstest.Stat(t, root, "f")
	require.Equal(t, ts[0], s.Atime)
	require.Equal(t, ts[1], s.Mtime)

	tmp := fstest.Open(t, ctx, root, ".", unix.O_TMPFILE|unix.O_RDWR, 0640)
	fstest.Write(t, tmp, "tmp")
	require.NoError(t, vfs.Link(ctx, tmp.Path, "", root, "named", unix.AT_EMPTY_PATH))
	tmp.DecRef()
	b, err := os.ReadFile(filepath.Join(dir, "named"))
	require.NoError(t, err)
	require.Equal(t, "tmp", string(b))
}

func TestFDPipe(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	r, err := NewFDFile(p[0], FDOptions{})
	require.NoError(t, err)
	w, err := NewFDFile(p[1], FDOptions{})
	require.NoError(t, err)
	buf := make([]byte, 100)
	dst := usermem.Bytes(buf)
	_, err = r.Read(fstest.Root(), &dst, vfs.IONonblock)
	require.ErrorIs(t, err, unix.EAGAIN)
	require.Zero(t, r.Readiness(waitq.In))
	require.Equal(t, waitq.Out, w.Readiness(waitq.Out))
	flags, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK)

	// A blocked reader is woken.
	got := make(chan string)
	go func() {
		dst := usermem.Bytes(buf)
		n, _ := r.Read(fstest.Root(), &dst, 0)
		got <- string(buf[:n])
	}()
	time.Sleep(20 * time.Millisecond)
	fstest.Write(t, w, "hello")
	require.Equal(t, "hello", <-got)

	// A full pipe makes a writer wait; a big write goes through in the end.
	go func() {
		time.Sleep(20 * time.Millisecond)
		total := 0
		for total < 1<<20 {
			dst := usermem.Bytes(make([]byte, 64<<10))
			n, err := r.Read(fstest.Root(), &dst, 0)
			if n == 0 || err != nil {
				break
			}
			total += int(n)
		}
		got <- fmt.Sprint(total)
	}()
	fstest.Write(t, w, string(make([]byte, 1<<20)))
	require.Equal(t, fmt.Sprint(1<<20), <-got)

	s, err := r.Stat(fstest.Root())
	require.NoError(t, err)
	require.Equal(t, uint32(unix.S_IFIFO), s.Mode&unix.S_IFMT)
	_, err = r.PRead(fstest.Root(), &dst, 0, 0)
	require.ErrorIs(t, err, unix.ESPIPE)

	w.DecRef()
	dst = usermem.Bytes(buf)
	n, err := r.Read(fstest.Root(), &dst, 0)
	require.NoError(t, err)
	require.Zero(t, n, "end of file")
	require.NotZero(t, r.Readiness(waitq.In)&waitq.Hup)
	r.DecRef()
	require.ErrorIs(t, unix.Close(p[0]), unix.EBADF)
}

func TestFDRegular(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR, 0644)
	require.NoError(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("head "))
	require.NoError(t, err)
	dup := func() *vfs.File {
		d, err := unix.Dup(fd)
		require.NoError(t, err)
		f, err := NewFDFile(d, FDOptions{Memory: fstest.Memory(t)})
		require.NoError(t, err)
		return f
	}
	// Two descriptors of one description, as of a shell's >f 2>&1: the position is shared.
	a, b := dup(), dup()
	defer a.DecRef()
	defer b.DecRef()
	fstest.Write(t, a, "out ")
	fstest.Write(t, b, "err ")
	fstest.Write(t, a, "out")
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "head out err out", string(content))
	pos, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	require.NoError(t, err)
	require.Equal(t, int64(16), pos, "the host goes on where the guest stopped")
	require.Equal(t, "head out err out", fstest.Read(t, b))
	require.NoError(t, a.Truncate(fstest.Root(), 4))
	s, err := a.Stat(fstest.Root())
	require.NoError(t, err)
	require.Equal(t, int64(4), s.Size)
}

func TestHostSyscalls(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range HostSyscalls() {
		key := fmt.Sprint(s.Nr, s.Args)
		require.False(t, seen[key], key)
		seen[key] = true
		for _, c := range s.Args {
			require.Less(t, c.Arg, 6)
		}
	}
}
