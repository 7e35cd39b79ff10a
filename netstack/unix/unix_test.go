package unix

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

var ctx = vfs.KernelContext()

type user struct {
	vfs.Context
	uid   uint32
	limit uint64
}

func (u user) Cred() *cred.Cred { return cred.New(cred.InitUserNS(), u.uid, u.uid, nil) }
func (u user) Limit(int) uint64 { return u.limit }
func (u user) TGID() int32      { return 42 }

func newRegistry() (*netstack.Registry, *Family) {
	var r netstack.Registry
	f := NewFamily()
	r.Register(unix.AF_UNIX, f)
	return &r, f
}

func pair(t *testing.T, typ int) (a, b *vfs.File) {
	r, _ := newRegistry()
	a, b, err := r.SocketPair(ctx, unix.AF_UNIX, typ|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	return a, b
}

func sock(f *vfs.File) *Socket { return f.Ops.(*Socket) }

func send(f *vfs.File, s string, files ...*vfs.File) error {
	v := usermem.Bytes([]byte(s))
	for _, x := range files {
		x.IncRef()
	}
	_, err := netstack.Send(ctx, f, &netstack.SendMessage{Data: &v, Control: netstack.Control{Rights: files}})
	return err
}

func recv(f *vfs.File, n, flags int) (string, netstack.RecvMessage, error) {
	b := make([]byte, n)
	v := usermem.Bytes(b)
	m := netstack.RecvMessage{Data: &v, Flags: flags}
	got, err := netstack.Recv(ctx, f, &m)
	return string(b[:min(int(got), n)]), m, err
}

func abstract(name string) []byte { return addr{abstract: "\x00" + name}.bytes() }

func TestRegistry(t *testing.T) {
	r, _ := newRegistry()
	for _, c := range []struct {
		family, typ, proto int
		err                error
	}{
		{unix.AF_INET, unix.SOCK_STREAM, 0, unix.EAFNOSUPPORT},
		{unix.AF_UNIX, unix.SOCK_STREAM, 5, unix.EPROTONOSUPPORT},
		{unix.AF_UNIX, unix.SOCK_RDM, 0, unix.ESOCKTNOSUPPORT},
		{unix.AF_UNIX, 0x100, 0, unix.EINVAL},
		{-1, unix.SOCK_STREAM, 0, unix.EAFNOSUPPORT},
	} {
		_, err := r.Socket(ctx, c.family, c.typ, c.proto)
		require.Equal(t, c.err, err)
	}
}

func TestStreamPair(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	_, _, err := recv(b, 10, 0)
	require.Equal(t, unix.EAGAIN, err)
	require.NoError(t, send(a, "hello "))
	require.NoError(t, send(a, "world"))
	got, _, err := recv(b, 100, unix.MSG_PEEK)
	require.NoError(t, err)
	require.Equal(t, "hello world", got)
	got, _, _ = recv(b, 3, 0)
	require.Equal(t, "hel", got)
	require.EqualValues(t, 8, sock(b).recv.bytes.Load())
	got, _, _ = recv(b, 100, 0)
	require.Equal(t, "lo world", got)

	require.NoError(t, sock(a).Shutdown(ctx, unix.SHUT_WR))
	got, _, err = recv(b, 10, 0)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, waitq.In|waitq.RdHup, b.Readiness(waitq.In|waitq.RdHup))
	require.Equal(t, unix.EPIPE, send(a, "x"))
	require.NoError(t, send(b, "unread"))
	a.DecRef()
	_, _, err = recv(b, 10, 0)
	require.Equal(t, unix.ECONNRESET, err)
	require.Equal(t, waitq.Hup, b.Readiness(waitq.Hup))
	require.Equal(t, unix.EPIPE, send(b, "x"))
	b.DecRef()
}

// TestSendBuffer fills the buffer with writes of one size; the numbers are Linux's.
func TestSendBuffer(t *testing.T) {
	for _, c := range []struct{ size, total int }{
		{1, 278}, {1000, 93000}, {4096, 44 * 4096}, {16384, 13 * 16384}, {65536, 233152},
	} {
		a, b := pair(t, unix.SOCK_STREAM)
		n := 0
		for {
			v := usermem.Bytes(make([]byte, c.size))
			k, err := netstack.Send(ctx, a, &netstack.SendMessage{Data: &v})
			if err != nil {
				require.Equal(t, unix.EAGAIN, err)
				break
			}
			n += int(k)
		}
		require.Equal(t, c.total, n)
		require.Zero(t, a.Readiness(waitq.Out))
		got := 0
		for {
			s, _, err := recv(b, 100000, 0)
			if err != nil {
				break
			}
			got += len(s)
		}
		require.Equal(t, n, got)
		require.Zero(t, sock(a).wmem.Load())
		require.NotZero(t, a.Readiness(waitq.Out))
		a.DecRef()
		b.DecRef()
	}
}

func TestDatagrams(t *testing.T) {
	for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		a, b := pair(t, typ)
		require.NoError(t, send(a, "one"))
		require.NoError(t, send(a, ""))
		require.NoError(t, send(a, "three"))
		got, m, err := recv(b, 2, unix.MSG_TRUNC)
		require.NoError(t, err)
		require.Equal(t, "on", got)
		require.Equal(t, unix.MSG_TRUNC, m.OutFlags)
		got, _, err = recv(b, 10, 0)
		require.NoError(t, err)
		require.Empty(t, got)
		got, _, _ = recv(b, 10, 0)
		require.Equal(t, "three", got)
		require.Equal(t, unix.EMSGSIZE, send(a, strings.Repeat("x", 300000)))
		b.DecRef()
		want := unix.ECONNREFUSED
		if typ == unix.SOCK_SEQPACKET {
			want = unix.EPIPE
		}
		require.Equal(t, want, send(a, "x"))
		a.DecRef()
	}
}

func TestConnect(t *testing.T) {
	r, fam := newRegistry()
	l, err := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	c, err := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	require.Equal(t, unix.EINVAL, sock(l).Listen(ctx, 1))
	require.NoError(t, sock(l).Bind(ctx, abstract("srv")))
	require.Equal(t, unix.EINVAL, sock(l).Bind(ctx, abstract("srv2")))
	require.Equal(t, unix.EADDRINUSE, sock(c).Bind(ctx, abstract("srv")))
	require.Equal(t, unix.ECONNREFUSED, netstack.Connect(ctx, c, abstract("srv")))
	require.Equal(t, waitq.Out|waitq.Hup, c.Readiness(waitq.Out))
	require.NoError(t, sock(l).Listen(ctx, 0))
	require.NoError(t, netstack.Connect(ctx, c, abstract("srv")))
	require.Equal(t, unix.EISCONN, netstack.Connect(ctx, c, abstract("srv")))
	require.NoError(t, send(c, "early"))

	// The backlog is full: a second one waits.
	c2, _ := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	done := make(chan error)
	go func() { done <- netstack.Connect(ctx, c2, abstract("srv")) }()
	select {
	case err := <-done:
		t.Fatal("connected: ", err)
	case <-time.After(20 * time.Millisecond):
	}
	require.Contains(t, string(fam.ProcNetUnix()), "00010000 0001 01")
	require.Contains(t, string(fam.ProcNetUnix()), " @srv\n")
	s, peer, err := netstack.Accept(ctx, l, 0)
	require.NoError(t, err)
	require.Equal(t, addr{}.bytes(), peer)
	require.NoError(t, <-done)
	got, _, _ := recv(s, 10, 0)
	require.Equal(t, "early", got)
	name, err := sock(c).GetPeerName(ctx)
	require.NoError(t, err)
	require.Equal(t, abstract("srv"), name)

	// Closing the listener resets who has not been accepted.
	l.DecRef()
	_, _, err = recv(c2, 10, 0)
	require.Equal(t, unix.ECONNRESET, err)
	c3, _ := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.Equal(t, unix.ECONNREFUSED, netstack.Connect(ctx, c3, abstract("srv")))
	for _, f := range []*vfs.File{c, c2, c3, s} {
		f.DecRef()
	}
	require.Zero(t, fam.count())
	require.Empty(t, fam.abstract)
}

func TestDatagramQueueLimit(t *testing.T) {
	r, _ := newRegistry()
	srv, _ := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, sock(srv).Bind(ctx, abstract("d")))
	c, _ := r.Socket(ctx, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, sock(c).Bind(ctx, addr{}.bytes()))
	require.NoError(t, netstack.Connect(ctx, c, abstract("d")))
	n := 0
	for send(c, "x") == nil {
		n++
	}
	require.Equal(t, maxQueue+1, n)
	require.Zero(t, c.Readiness(waitq.Out))
	w, ch := waitq.NewChan()
	c.EventRegister(w, waitq.Out)
	_, m, err := recv(srv, 10, 0)
	require.NoError(t, err)
	require.Len(t, m.From, 2+6)
	select {
	case <-ch:
	case <-time.After(time.Second):
		t.Fatal("not woken")
	}
	c.EventUnregister(w)
	require.NoError(t, send(c, "x"))
	require.NoError(t, sock(srv).Shutdown(ctx, unix.SHUT_RD))
	require.Equal(t, unix.EPIPE, send(c, "x"))
	srv.DecRef()
	require.Equal(t, unix.ECONNREFUSED, send(c, "x"))
	require.Equal(t, unix.ENOTCONN, send(c, "x"))
	c.DecRef()
}

func TestRights(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	x, y := pair(t, unix.SOCK_STREAM)
	require.NoError(t, send(a, "no"))
	require.NoError(t, send(a, "files", x, y))
	require.NoError(t, send(a, "after"))
	got, m, err := recv(b, 100, 0)
	require.NoError(t, err)
	require.Equal(t, "nofiles", got, "reading stops behind files")
	require.Len(t, m.Control.Rights, 2)
	require.EqualValues(t, 2, x.Refs())
	m.Control.Release()
	require.EqualValues(t, 1, x.Refs())
	require.Empty(t, flight.sockets)

	// Lost with the socket that they wait in.
	require.NoError(t, send(a, "files", x))
	b.DecRef()
	require.EqualValues(t, 1, x.Refs())
	for _, f := range []*vfs.File{a, x, y} {
		f.DecRef()
	}
}

func TestGarbage(t *testing.T) {
	start := lastID.Load()
	r, fam := newRegistry()
	mk := func() (*vfs.File, *vfs.File) {
		a, b, err := r.SocketPair(ctx, unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		require.NoError(t, err)
		return a, b
	}
	// A socket in its own queue.
	a, b := mk()
	require.NoError(t, send(a, "x", b))
	b.DecRef()
	require.Equal(t, 2, fam.count())
	a.DecRef()
	collect()
	require.Zero(t, fam.count())

	// A ring of pairs, each holding the next, kept alive by one descriptor.
	const n = 50
	var as, bs [n]*vfs.File
	for i := range n {
		as[i], bs[i] = mk()
	}
	for i := range n {
		require.NoError(t, send(as[i], "x", bs[(i+1)%n], as[(i+1)%n]))
	}
	keep := bs[7]
	keep.IncRef()
	for i := range n {
		as[i].DecRef()
		bs[i].DecRef()
	}
	collect()
	require.Equal(t, 2*n, fam.count())
	_, m, err := recv(keep, 10, 0)
	require.NoError(t, err)
	require.Len(t, m.Control.Rights, 2)
	m.Control.Release()
	keep.DecRef()
	collect()
	require.Zero(t, fam.count())
	require.Empty(t, flight.sockets)
	require.Empty(t, flight.users)
	require.Greater(t, lastID.Load(), start)

	// A long chain does not need a deep stack, and is freed at once.
	prev, other := mk()
	other.DecRef()
	for range 20000 {
		a, b := mk()
		require.NoError(t, send(a, "x", prev))
		prev.DecRef()
		a.DecRef()
		prev = b
	}
	prev.DecRef()
	// The collector in the background may be the one who drops the chain.
	require.Eventually(t, func() bool {
		fam.mu.Lock()
		defer fam.mu.Unlock()
		return len(fam.sockets) == 0
	}, 10*time.Second, time.Millisecond)
}

func TestInFlightLimit(t *testing.T) {
	r, _ := newRegistry()
	u := user{ctx, 1000, 3}
	a, b, err := r.SocketPair(u, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	var last error
	n := 0
	for ; n < 10; n++ {
		v := usermem.Bytes([]byte("x"))
		a.IncRef()
		if _, last = netstack.Send(u, a, &netstack.SendMessage{Data: &v, Control: netstack.Control{Rights: []*vfs.File{a}}}); last != nil {
			break
		}
	}
	require.Equal(t, unix.ETOOMANYREFS, last)
	require.Equal(t, 4, n)
	b.DecRef()
	require.EqualValues(t, 1, a.Refs())
	a.DecRef()
}

func TestCredentials(t *testing.T) {
	r, _ := newRegistry()
	u := user{ctx, 1000, 1024}
	a, b, err := r.SocketPair(u, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	opt, err := sock(b).GetSockOpt(u, unix.SOL_SOCKET, unix.SO_PEERCRED, netstack.OptArg{Len: 12})
	require.NoError(t, err)
	want := unix.Ucred{Pid: 42, Uid: 1000, Gid: 1000}
	require.Equal(t, usermem.AsBytes(&want), opt)

	require.NoError(t, sock(b).SetSockOpt(u, unix.SOL_SOCKET, unix.SO_PASSCRED, netstack.IntBytes(1)))
	v := usermem.Bytes([]byte("mine"))
	_, err = netstack.Send(u, a, &netstack.SendMessage{Data: &v})
	require.NoError(t, err)
	require.NoError(t, send(a, "root's"))
	got, m, err := recv(b, 100, 0)
	require.NoError(t, err)
	require.Equal(t, "mine", got, "data of two senders are not joined")
	require.Equal(t, want, m.Control.Creds.Ucred(u))
	control, flags := netstack.BuildControl(u, &m.Control, 1000, nil, false)
	require.Zero(t, flags)
	require.Len(t, control, 32)

	_, err = netstack.ParseControl(u, control, nil)
	require.NoError(t, err)
	control[16+4] ^= 1 // another uid
	_, err = netstack.ParseControl(u, control, nil)
	require.Equal(t, unix.EPERM, err)
	_, err = netstack.ParseControl(ctx, control, nil)
	require.NoError(t, err)
	control[0] = 200
	_, err = netstack.ParseControl(ctx, control, nil)
	require.Equal(t, unix.EINVAL, err)
	a.DecRef()
	b.DecRef()
}

func TestTimeoutAndWaitAll(t *testing.T) {
	r, _ := newRegistry()
	a, b, err := r.SocketPair(ctx, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	tv := unix.Timeval{Usec: 30000}
	require.NoError(t, sock(b).SetSockOpt(ctx, unix.SOL_SOCKET, unix.SO_RCVTIMEO, usermem.AsBytes(&tv)))
	start := time.Now()
	_, _, err = recv(b, 10, 0)
	require.Equal(t, unix.EAGAIN, err)
	require.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)
	go func() {
		_ = send(a, "ab")
		time.Sleep(5 * time.Millisecond)
		_ = send(a, "cd")
	}()
	got, _, err := recv(b, 4, unix.MSG_WAITALL)
	require.NoError(t, err)
	require.Equal(t, "abcd", got)
	// A writer of more than fits goes on when the reader reads.
	go func() { _ = send(a, strings.Repeat("z", 1<<20)); a.DecRef() }()
	total := 0
	for {
		got, _, err := recv(b, 50000, 0)
		require.NoError(t, err)
		if got == "" {
			break
		}
		total += len(got)
	}
	require.Equal(t, 1<<20, total)
	b.DecRef()
}

func BenchmarkPingPong(b *testing.B) {
	r, _ := newRegistry()
	x, y, _ := r.SocketPair(ctx, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		v := usermem.Bytes(buf)
		_, _ = x.Write(ctx, &v, 0)
		v = usermem.Bytes(buf)
		_, _ = y.Read(ctx, &v, 0)
	}
}

// count is the number of sockets there are.
func (f *Family) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sockets)
}
