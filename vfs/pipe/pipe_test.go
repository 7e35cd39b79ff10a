package pipe

import (
	"bytes"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

var ctx = vfs.KernelContext()

func files(t *testing.T, flags uint32) (r, w *vfs.File) {
	r, w, err := NewFiles(ctx, nil, flags)
	require.NoError(t, err)
	t.Cleanup(func() {
		if r.Refs() > 0 {
			r.DecRef()
		}
		if w.Refs() > 0 {
			w.DecRef()
		}
	})
	return r, w
}

func write(f *vfs.File, b []byte) (int64, error) {
	v := usermem.Bytes(b)
	return f.Write(ctx, &v, 0)
}

func read(f *vfs.File, n int) ([]byte, error) {
	b := make([]byte, n)
	v := usermem.Bytes(b)
	got, err := f.Read(ctx, &v, 0)
	return b[:got], err
}

func TestReadWrite(t *testing.T) {
	r, w := files(t, unix.O_NONBLOCK)
	_, err := read(r, 1)
	require.Equal(t, unix.EAGAIN, err)
	n, err := write(w, bytes.Repeat([]byte("ab"), 50000))
	require.NoError(t, err)
	require.EqualValues(t, DefaultSize, n)
	_, err = write(w, []byte("x"))
	require.Equal(t, unix.EAGAIN, err)
	require.Zero(t, w.Readiness(waitq.All)&waitq.Out)
	// Room comes a page at a time.
	_, err = read(r, 4095)
	require.NoError(t, err)
	_, err = write(w, []byte("x"))
	require.Equal(t, unix.EAGAIN, err)
	_, err = read(r, 1)
	require.NoError(t, err)
	require.NotZero(t, w.Readiness(waitq.All)&waitq.Out)
	n, err = write(w, []byte("xyz"))
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	require.Equal(t, DefaultSize-4096+3, Of(r).Buffered())
	w.DecRef()
	all, err := read(r, 1<<20)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(all, []byte("abxyz")))
	all, err = read(r, 10)
	require.NoError(t, err)
	require.Empty(t, all)
	require.Equal(t, waitq.Hup, r.Readiness(waitq.All))
}

func TestAtomic(t *testing.T) {
	r, w := files(t, unix.O_NONBLOCK)
	_, err := write(w, make([]byte, DefaultSize-100))
	require.NoError(t, err)
	// 100 bytes are left in the last page, but a short write is never split.
	_, err = write(w, make([]byte, 101))
	require.Equal(t, unix.EAGAIN, err)
	n, err := write(w, make([]byte, 100))
	require.NoError(t, err)
	require.EqualValues(t, 100, n)
	r.DecRef()
	_, err = write(w, []byte("x"))
	require.Equal(t, unix.EPIPE, err)
	require.NotZero(t, w.Readiness(waitq.All)&waitq.Err)
}

func TestPackets(t *testing.T) {
	r, w := files(t, unix.O_DIRECT|unix.O_NONBLOCK)
	for _, s := range []string{"one", "three", "two"} {
		_, err := write(w, []byte(s))
		require.NoError(t, err)
	}
	b, err := read(r, 100)
	require.NoError(t, err)
	require.Equal(t, "one", string(b))
	b, _ = read(r, 2)
	require.Equal(t, "th", string(b))
	b, _ = read(r, 100)
	require.Equal(t, "two", string(b))
}

func TestSize(t *testing.T) {
	r, w := files(t, unix.O_NONBLOCK)
	const maxSize = 1 << 20
	p := Of(r)
	n, err := p.SetSize(cred.Root(), 100000, maxSize)
	require.NoError(t, err)
	require.Equal(t, 131072, n)
	_, err = write(w, make([]byte, 131072))
	require.NoError(t, err)
	_, err = p.SetSize(cred.Root(), 65536, maxSize)
	require.Equal(t, unix.EBUSY, err)
	_, err = p.SetSize(cred.Root(), maxSize+1, maxSize)
	require.Equal(t, unix.EPERM, err)
	n, err = p.SetSize(cred.Root(), maxSize+1, math.MaxUint64)
	require.NoError(t, err)
	require.Equal(t, 2*maxSize, n)
	_, err = p.SetSize(cred.Root(), 1<<31+1, math.MaxUint64)
	require.Equal(t, unix.EINVAL, err)
}

func TestSpliceAndTee(t *testing.T) {
	r1, w1 := files(t, unix.O_NONBLOCK)
	r2, w2 := files(t, unix.O_NONBLOCK)
	_, err := write(w1, []byte("hello world"))
	require.NoError(t, err)
	n, err := Tee(ctx, r1, w2, 5, 0)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	// What is appended in the one pipe does not show in the other.
	_, err = write(w1, []byte("!"))
	require.NoError(t, err)
	_, err = write(w2, []byte("?"))
	require.NoError(t, err)
	n, err = Splice(ctx, r1, nil, w2, nil, 8, 0)
	require.NoError(t, err)
	require.EqualValues(t, 8, n)
	b, _ := read(r2, 100)
	require.Equal(t, "hello?hello wo", string(b))
	b, _ = read(r1, 100)
	require.Equal(t, "rld!", string(b))
	_, err = Splice(ctx, r1, nil, w1, nil, 8, 0)
	require.Equal(t, unix.EINVAL, err)
	_, err = Splice(ctx, r1, nil, w2, nil, 8, 0)
	require.Equal(t, unix.EAGAIN, err)

	v := usermem.Bytes([]byte("guest"))
	_, err = VMSplice(ctx, w1, &v, 0)
	require.NoError(t, err)
	_, err = write(w1, []byte(" data"))
	require.NoError(t, err)
	b, _ = read(r1, 100)
	require.Equal(t, "guest data", string(b))
	Of(r1).unread([]byte("in front "))
	_, _ = write(w1, []byte("behind"))
	b, _ = read(r1, 100)
	require.Equal(t, "in front behind", string(b))
}

func TestBlocking(t *testing.T) {
	r, w := files(t, 0)
	const total = 1 << 20
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		n, err := write(w, make([]byte, total))
		require.NoError(t, err)
		require.EqualValues(t, total, n)
		w.DecRef()
	}()
	got := 0
	for {
		b, err := read(r, 10000)
		require.NoError(t, err)
		if len(b) == 0 {
			break
		}
		got += len(b)
	}
	require.Equal(t, total, got)
	wg.Wait()
}

func TestFIFO(t *testing.T) {
	p := New(nil)
	_, err := openFIFO(ctx, p, false, true, true)
	require.Equal(t, unix.ENXIO, err)
	e, err := openFIFO(ctx, p, true, false, true)
	require.NoError(t, err)
	// Nobody has written yet: no hang-up.
	require.Zero(t, e.Readiness(waitq.All))
	w, err := openFIFO(ctx, p, false, true, true)
	require.NoError(t, err)
	w.Release(nil)
	require.Equal(t, waitq.Hup, e.Readiness(waitq.All))
	e.Release(nil)

	done := make(chan *End)
	go func() {
		e, _ := openFIFO(ctx, p, true, false, false)
		done <- e
	}()
	time.Sleep(10 * time.Millisecond)
	w, err = openFIFO(ctx, p, false, true, false)
	require.NoError(t, err)
	e = <-done
	w.Release(nil)
	require.Equal(t, waitq.Hup, e.Readiness(waitq.All))
}

func BenchmarkPingPong(b *testing.B) {
	r, w, _ := NewFiles(ctx, nil, unix.O_NONBLOCK)
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		v := usermem.Bytes(buf)
		_, _ = w.Write(ctx, &v, 0)
		v = usermem.Bytes(buf)
		_, _ = r.Read(ctx, &v, 0)
	}
}
