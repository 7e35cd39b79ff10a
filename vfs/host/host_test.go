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
	if os.Geteuid() != 0 {
		t.Skip("needs root to change owners")
	}
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

	// As through /dev/stdin.
	again, err := vfs.OpenPath(fstest.Root(), r.Path, unix.O_RDONLY)
	require.NoError(t, err)
	fstest.Write(t, w, "more")
	dst = usermem.Bytes(buf)
	k, err := again.Read(fstest.Root(), &dst, 0)
	require.NoError(t, err)
	require.Equal(t, "more", string(buf[:k]))
	again.DecRef()
	require.Equal(t, fmt.Sprintf("pipe:[%d]", s.Ino), r.FullPath(vfs.Path{}))

	w.DecRef()
	dst = usermem.Bytes(buf)
	n, err := r.Read(fstest.Root(), &dst, 0)
	require.NoError(t, err)
	require.Zero(t, n, "end of file")
	require.NotZero(t, r.Readiness(waitq.In)&waitq.Hup)
	r.DecRef()
	require.ErrorIs(t, unix.Close(p[0]), unix.EBADF)
}

// memory is a guest's, from address 0 on.
type memory []byte

func (m memory) CopyIn(a usermem.Addr, b []byte) (int, error)  { return copy(b, m[a:]), nil }
func (m memory) CopyOut(a usermem.Addr, b []byte) (int, error) { return copy(m[a:], b), nil }

type memContext struct {
	vfs.Context
	m memory
}

func (c *memContext) Memory() usermem.Memory { return c.m }

func TestFDTerminal(t *testing.T) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	defer unix.Close(master)
	require.NoError(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	asked := 0
	f, err := NewFDFile(slave, FDOptions{TTY: func(_ vfs.Context, _ *vfs.File, cmd uint32, _ uint64) (uint64, error) {
		asked++
		return 0, nil
	}})
	require.NoError(t, err)
	defer f.DecRef()
	require.Equal(t, fmt.Sprintf("/dev/pts/%d", n), f.FullPath(vfs.Path{}))
	ctx := &memContext{fstest.Root(), make(memory, 128)}

	// struct termios of the kernel is 36 bytes; what is behind it is not touched.
	for i := range ctx.m {
		ctx.m[i] = 0xaa
	}
	_, err = f.Ioctl(ctx, unix.TCGETS, 0)
	require.NoError(t, err)
	require.Equal(t, byte(0xaa), ctx.m[36])
	var raw unix.Termios
	copy(usermem.AsBytes(&raw)[:36], ctx.m)
	require.NotZero(t, raw.Lflag&unix.ECHO)
	raw.Lflag &^= unix.ECHO | unix.ICANON
	raw.Oflag &^= unix.OPOST
	copy(ctx.m, usermem.AsBytes(&raw)[:36])
	_, err = f.Ioctl(ctx, unix.TCSETS, 0)
	require.NoError(t, err)
	host, err := unix.IoctlGetTermios(master, unix.TCGETS)
	require.NoError(t, err)
	require.Zero(t, host.Lflag&unix.ECHO)

	require.NoError(t, unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}))
	_, err = f.Ioctl(ctx, unix.TIOCGWINSZ, 0)
	require.NoError(t, err)
	require.Equal(t, []byte{33, 0, 99, 0}, []byte(ctx.m[:4]))
	_, err = f.Ioctl(ctx, unix.TIOCGPGRP, 0)
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	_, err = f.Ioctl(ctx, unix.TIOCSTI, 0)
	require.ErrorIs(t, err, unix.EIO)
	_, err = f.Ioctl(ctx, unix.TIOCCONS, 0)
	require.ErrorIs(t, err, unix.ENOTTY)

	// Reading waits; a big write goes through as the other side reads.
	got := make(chan string)
	go func() {
		dst := usermem.Bytes(make([]byte, 10))
		k, _ := f.Read(ctx, &dst, 0)
		got <- fmt.Sprint(k)
	}()
	time.Sleep(10 * time.Millisecond)
	_, err = unix.Write(master, []byte("key"))
	require.NoError(t, err)
	require.Equal(t, "3", <-got)
	go func() {
		total := 0
		b := make([]byte, 4096)
		for total < 200000 {
			k, err := unix.Read(master, b)
			if err != nil {
				break
			}
			total += k
		}
		got <- fmt.Sprint(total)
	}()
	fstest.Write(t, f, string(make([]byte, 200000)))
	require.Equal(t, "200000", <-got)
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
