package vfs

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

func wr(t *testing.T, ctx Context, f *File, s string) {
	t.Helper()
	src := usermem.Bytes([]byte(s))
	n, err := f.Write(ctx, &src, 0)
	require.NoError(t, err)
	require.Equal(t, int64(len(s)), n)
}

func TestReadWrite(t *testing.T) {
	w := newWorld(t)
	f, err := w.open("/f", unix.O_CREAT|unix.O_RDWR)
	w.must(err)
	wr(t, w.ctx, f, "hello")
	_, err = f.Seek(w.ctx, 1, unix.SEEK_SET)
	w.must(err)
	wr(t, w.ctx, f, "E")
	require.Equal(t, "hEllo", w.read("/f"))
	a, err := w.open("/f", unix.O_WRONLY|unix.O_APPEND)
	w.must(err)
	wr(t, w.ctx, a, "!")
	dst := usermem.Bytes(make([]byte, 4))
	_, err = a.Read(w.ctx, &dst, 0)
	require.Equal(t, unix.EBADF, err)
	_, err = f.PRead(w.ctx, &dst, -1, 0)
	require.Equal(t, unix.EINVAL, err)
	require.Equal(t, "hEllo!", w.read("/f"))
	w.ctx.lim = map[int]uint64{unix.RLIMIT_FSIZE: 8}
	src := usermem.Bytes([]byte("12345"))
	n, err := a.Write(w.ctx, &src, 0)
	w.must(err)
	require.Equal(t, int64(2), n)
	_, err = a.Write(w.ctx, &src, 0)
	require.Equal(t, unix.EFBIG, err)
	require.Equal(t, unix.EFBIG, f.Truncate(w.ctx, 9))
	require.Equal(t, []unix.Signal{unix.SIGXFSZ, unix.SIGXFSZ}, w.ctx.sigs)
	w.must(f.Truncate(w.ctx, 2))
	require.Equal(t, "hE", w.read("/f"))
	require.Equal(t, unix.ETXTBSY, f.DenyWrite())
	f.DecRef()
	a.DecRef()
	x, err := OpenExec(w.ctx, Path{}, "/f", LookupFollow)
	require.Equal(t, unix.EACCES, err)
	require.Nil(t, x)
	w.must(Chmod(w.ctx, Path{}, "/f", 0755, 0))
	x, err = OpenExec(w.ctx, Path{}, "/f", LookupFollow)
	w.must(err)
	_, err = w.open("/f", unix.O_RDWR)
	require.Equal(t, unix.ETXTBSY, err)
	require.Equal(t, unix.ETXTBSY, Truncate(w.ctx, Path{}, "/f", 0))
	x.AllowWrite()
	x.DecRef()
	f, err = w.open("/f", unix.O_RDWR|unix.O_TRUNC)
	w.must(err)
	f.DecRef()
	require.Empty(t, w.read("/f"))
}

func TestBlocking(t *testing.T) {
	w := newWorld(t)
	s := &streamOps{}
	f := NewAnonFile("pipe:[]", s, unix.O_RDWR, w.ctx.cred)
	require.Regexp(t, `^pipe:\[\d+\]$`, f.FullPath(Path{}))
	got := make(chan int64)
	go func() {
		dst := usermem.Bytes(make([]byte, 10))
		n, err := f.Read(w.ctx, &dst, 0)
		require.NoError(t, err)
		got <- n
	}()
	time.Sleep(10 * time.Millisecond)
	src := usermem.Bytes([]byte("1234567"))
	n, err := f.Write(w.ctx, &src, 0)
	w.must(err)
	require.Equal(t, int64(7), n)
	first := <-got
	require.Positive(t, first)
	s.mu.Lock()
	s.n = 0
	s.mu.Unlock()
	dst := usermem.Bytes(make([]byte, 10))
	_, err = f.Read(w.ctx, &dst, IONonblock)
	require.Equal(t, unix.EAGAIN, err)
	close(w.ctx.intr)
	_, err = f.Read(w.ctx, &dst, 0)
	require.Equal(t, ErrRestartSys, err)
	require.True(t, s.Empty())
	_, err = f.PRead(w.ctx, &dst, 0, 0)
	require.Equal(t, unix.ESPIPE, err)
	f.DecRef()
}

func TestFDTable(t *testing.T) {
	w := newWorld(t)
	w.tree("/f")
	tab := NewFDTable()
	open := func() *File { f, err := w.open("/f", 0); w.must(err); return f }
	for i := range 200 {
		fd, err := tab.NewFD(0, open(), i%2 == 0, 1024)
		w.must(err)
		require.Equal(t, int32(i), fd)
	}
	w.must(tab.Close(w.ctx, 5))
	require.Equal(t, unix.EBADF, tab.Close(w.ctx, 5))
	_, err := tab.Get(5)
	require.Equal(t, unix.EBADF, err)
	_, err = tab.Get(-1)
	require.Equal(t, unix.EBADF, err)
	fd, err := tab.Dup(w.ctx, 7, 0, false, 1024)
	w.must(err)
	require.Equal(t, int32(5), fd)
	fd, err = tab.Dup(w.ctx, 7, 300, true, 1024)
	w.must(err)
	require.Equal(t, int32(300), fd)
	_, err = tab.Dup(w.ctx, 7, 0, true, 200)
	require.Equal(t, unix.EMFILE, err)
	fd, err = tab.Dup3(w.ctx, 7, 900, false, 1024)
	w.must(err)
	require.Equal(t, int32(900), fd)
	_, err = tab.Dup3(w.ctx, 7, 1024, false, 1024)
	require.Equal(t, unix.EBADF, err)
	c := tab.Clone()
	require.Equal(t, tab.Count(), c.Count())
	c.CloseOnExec(w.ctx)
	require.Equal(t, 101, c.Count())
	w.must(c.CloseRange(w.ctx, 3, ^uint32(0), false))
	require.Equal(t, 1, c.Count())
	var seen []int32
	c.ForEach(func(fd int32, f *File, _ bool) bool { seen = append(seen, fd); return true })
	require.Equal(t, []int32{1}, seen)
	c.DecRef(w.ctx)
	i := open()
	inode := i.Inode()
	i.DecRef()
	tab.DecRef(w.ctx)
	require.Zero(t, inode.readers.Load())
}

func TestFDTableConcurrent(t *testing.T) {
	w := newWorld(t)
	w.tree("/f")
	tab := NewFDTable()
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := w.caller(w.ctx.cred)
			for k := range 500 {
				f, _ := Open(ctx, Path{}, "/f", unix.OpenHow{})
				fd, _ := tab.NewFD(0, f, false, 1<<20)
				if g, err := tab.Get(fd); err != nil || g != f {
					t.Error("wrong file")
				} else {
					g.DecRef()
				}
				for x := range int32(8) {
					if g, err := tab.Get(x); err == nil {
						g.DecRef()
					}
				}
				if k%3 > 0 {
					_ = tab.Close(ctx, fd)
				}
			}
		}()
	}
	wg.Wait()
	tab.DecRef(w.ctx)
	n, _ := Lookup(w.ctx, Path{}, "/f", 0)
	require.Zero(t, n.Inode().readers.Load())
	n.DecRef()
}

func TestPosixLocks(t *testing.T) {
	w := newWorld(t)
	w.tree("/f")
	a, b := NewFDTable(), NewFDTable()
	fa, _ := w.open("/f", unix.O_RDWR)
	fb, _ := w.open("/f", unix.O_RDWR)
	set := func(o *FDTable, f *File, typ int16, start, n int64) error {
		return f.SetLock(w.ctx, o, false, false, &unix.Flock_t{Type: typ, Start: start, Len: n})
	}
	w.must(set(a, fa, unix.F_WRLCK, 0, 100))
	w.must(set(a, fa, unix.F_UNLCK, 40, 20))
	require.Equal(t, unix.EAGAIN, set(b, fb, unix.F_RDLCK, 39, 1))
	w.must(set(b, fb, unix.F_WRLCK, 40, 20))
	w.must(set(a, fa, unix.F_RDLCK, 60, 40))
	w.must(set(b, fb, unix.F_RDLCK, 99, 0))
	fl := unix.Flock_t{Type: unix.F_WRLCK, Start: 70}
	w.must(fb.GetLock(w.ctx, b, false, &fl))
	require.Equal(t, unix.Flock_t{Type: unix.F_RDLCK, Start: 60, Len: 40, Pid: 1}, fl)
	require.Equal(t, unix.EINVAL, set(a, fa, unix.F_WRLCK, -1, 0))
	require.Contains(t, w.reg.Locks(nil), "POSIX  ADVISORY  WRITE 1 ")

	// OFD locks are another owner.
	require.Equal(t, unix.EAGAIN, fa.SetLock(w.ctx, a, true, false, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1}))

	// b waits for a; a must not wait for b.
	done := make(chan error)
	go func() {
		done <- fb.SetLock(w.caller(w.ctx.cred), b, false, true, &unix.Flock_t{Type: unix.F_WRLCK, Len: 10})
	}()
	for {
		w.reg.lockList.mu.Lock()
		n := len(w.reg.lockList.blocked)
		w.reg.lockList.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, unix.EDEADLK, fa.SetLock(w.ctx, a, false, true, &unix.Flock_t{Type: unix.F_WRLCK, Start: 45, Len: 1}))
	// Closing any descriptor of the file drops a's locks.
	other, _ := w.open("/f", unix.O_RDONLY)
	fd, _ := a.NewFD(0, other, false, 100)
	w.must(a.Close(w.ctx, fd))
	w.must(<-done)
	fa.DecRef()
	fb.DecRef()
}

func TestFlock(t *testing.T) {
	w := newWorld(t)
	w.tree("/f")
	a, _ := w.open("/f", 0)
	b, _ := w.open("/f", 0)
	w.must(a.Flock(w.ctx, unix.LOCK_SH))
	w.must(b.Flock(w.ctx, unix.LOCK_SH|unix.LOCK_NB))
	require.Equal(t, unix.EWOULDBLOCK, a.Flock(w.ctx, unix.LOCK_EX|unix.LOCK_NB))
	// The failed conversion has lost the lock.
	w.must(b.Flock(w.ctx, unix.LOCK_EX|unix.LOCK_NB))
	done := make(chan error)
	go func() { done <- a.Flock(w.caller(w.ctx.cred), unix.LOCK_SH) }()
	time.Sleep(5 * time.Millisecond)
	b.DecRef()
	w.must(<-done)
	require.Equal(t, unix.EINVAL, a.Flock(w.ctx, 0))
	a.DecRef()
}

func TestLease(t *testing.T) {
	w := newWorld(t)
	w.tree("/f")
	w.reg.LeaseBreakTime.Store(1)
	f, _ := w.open("/f", unix.O_RDONLY)
	sig := make(chan unix.Signal, 4)
	owner := FileOwner{ID: 1, Send: func(s unix.Signal, _ int32, _ int64, _ int32) { sig <- s }}
	w.must(f.SetLease(w.ctx, unix.F_RDLCK, owner))
	require.Equal(t, int16(unix.F_RDLCK), f.GetLease())
	g, err := w.open("/f", unix.O_RDONLY)
	w.must(err)
	g.DecRef()
	_, err = w.open("/f", unix.O_WRONLY|unix.O_NONBLOCK)
	require.Equal(t, unix.EWOULDBLOCK, err)
	require.Equal(t, unix.SIGIO, <-sig)
	require.Equal(t, int16(unix.F_UNLCK), f.GetLease())
	go func() { _ = f.SetLease(w.caller(w.ctx.cred), unix.F_UNLCK, owner) }()
	g, err = w.open("/f", unix.O_WRONLY)
	w.must(err)
	require.Equal(t, unix.EAGAIN, f.SetLease(w.ctx, unix.F_RDLCK, owner))
	g.DecRef()
	// One who does not give up loses it.
	w.must(f.SetLease(w.ctx, unix.F_WRLCK, owner))
	start := time.Now()
	g, err = w.open("/f", unix.O_RDONLY)
	w.must(err)
	require.Greater(t, time.Since(start), 500*time.Millisecond)
	require.Equal(t, int16(unix.F_RDLCK), f.GetLease())
	g.DecRef()
	f.DecRef()
}
