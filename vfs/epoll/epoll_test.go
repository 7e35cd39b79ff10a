package epoll_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/epoll"
	"gosv.dev/vfs/waitq"
)

// flag is a file that is readable when set.
type flag struct {
	vfs.DefaultFileOps
	waitq.Queue
	mu sync.Mutex
	on waitq.Events
}

func (f *flag) Readiness(mask waitq.Events) waitq.Events {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on & mask
}
func (f *flag) EventRegister(e *waitq.Entry, m waitq.Events) { f.Queue.EventRegister(e, m) }
func (f *flag) EventUnregister(e *waitq.Entry)               { f.Queue.EventUnregister(e) }
func (f *flag) Stream() bool                                 { return true }
func (f *flag) set(on waitq.Events) {
	f.mu.Lock()
	f.on = on
	f.mu.Unlock()
	f.Notify(on)
}

func newFlag() (*flag, *vfs.File) {
	f := &flag{}
	return f, vfs.NewAnonFile("anon_inode:[flag]", f, unix.O_RDWR, cred.Root())
}

type pair struct {
	data   uint64
	events uint32
}

func wait(t *testing.T, ep *vfs.File, max int, timeout time.Duration) []pair {
	t.Helper()
	var out []pair
	n, err := epoll.Wait(vfs.KernelContext(), ep, max, timeout, func(e epoll.Event) error {
		out = append(out, pair{e.Data, e.Events})
		return nil
	})
	require.NoError(t, err)
	require.Len(t, out, n)
	return out
}

func TestTriggers(t *testing.T) {
	ep := epoll.New(nil, cred.Root())
	defer ep.DecRef()
	a, fa := newFlag()
	ctl := func(op int, events uint32) error {
		return epoll.Ctl(ep, op, 3, fa, epoll.Event{Events: events, Data: 7})
	}
	require.Equal(t, unix.ENOENT, ctl(unix.EPOLL_CTL_MOD, unix.EPOLLIN))
	require.NoError(t, ctl(unix.EPOLL_CTL_ADD, unix.EPOLLIN))
	require.Equal(t, unix.EEXIST, ctl(unix.EPOLL_CTL_ADD, unix.EPOLLIN))
	require.Equal(t, unix.EINVAL, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 4, ep, epoll.Event{}))
	require.Equal(t, unix.EINVAL, epoll.Ctl(fa, unix.EPOLL_CTL_ADD, 4, ep, epoll.Event{}))
	require.Empty(t, wait(t, ep, 10, 0))
	in := []pair{{7, unix.EPOLLIN}}
	a.set(waitq.In)
	for range 3 { // level-triggered
		require.Equal(t, in, wait(t, ep, 10, -1))
	}
	a.set(0)
	require.Empty(t, wait(t, ep, 10, time.Millisecond))
	a.set(waitq.In)
	require.NoError(t, ctl(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLET))
	require.Equal(t, in, wait(t, ep, 10, 0))
	require.Empty(t, wait(t, ep, 10, 0)) // once an edge
	a.set(waitq.In)
	require.Equal(t, in, wait(t, ep, 10, 0))
	require.NoError(t, ctl(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLONESHOT))
	require.Equal(t, in, wait(t, ep, 10, 0))
	a.set(waitq.In | waitq.Hup)
	require.Empty(t, wait(t, ep, 10, 0))
	require.NoError(t, ctl(unix.EPOLL_CTL_MOD, unix.EPOLLOUT|unix.EPOLLONESHOT))
	require.Equal(t, []pair{{7, unix.EPOLLHUP}}, wait(t, ep, 10, 0)) // always of interest
	require.NoError(t, ctl(unix.EPOLL_CTL_DEL, 0))
	require.Equal(t, unix.ENOENT, ctl(unix.EPOLL_CTL_DEL, 0))
	require.True(t, a.Empty())
	fa.DecRef()

	// A file that is closed is watched no more.
	b, fb := newFlag()
	require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 5, fb, epoll.Event{Events: unix.EPOLLIN}))
	b.set(waitq.In)
	fb.DecRef()
	require.Empty(t, wait(t, ep, 10, 0))
	require.True(t, b.Empty())

	// An error in copying out leaves the event.
	c, fc := newFlag()
	require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 5, fc, epoll.Event{Events: unix.EPOLLIN | unix.EPOLLET}))
	c.set(waitq.In)
	_, err := epoll.Wait(vfs.KernelContext(), ep, 1, 0, func(epoll.Event) error { return unix.EFAULT })
	require.Equal(t, unix.EFAULT, err)
	require.Len(t, wait(t, ep, 1, 0), 1)
	fc.DecRef()
}

// Few places for many ready files: all get their turn.
func TestRoundRobin(t *testing.T) {
	ep := epoll.New(nil, cred.Root())
	defer ep.DecRef()
	for i := range 10 {
		f, file := newFlag()
		defer file.DecRef()
		f.on = waitq.In
		require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, int32(i), file, epoll.Event{Events: unix.EPOLLIN, Data: uint64(i)}))
	}
	seen := map[uint64]int{}
	for range 5 {
		for _, p := range wait(t, ep, 4, 0) {
			seen[p.data]++
		}
	}
	require.Len(t, seen, 10)
}

func TestNested(t *testing.T) {
	a, fa := newFlag()
	defer fa.DecRef()
	eps := []*vfs.File{epoll.New(nil, cred.Root())}
	require.NoError(t, epoll.Ctl(eps[0], unix.EPOLL_CTL_ADD, 0, fa, epoll.Event{Events: unix.EPOLLIN, Data: 9}))
	add := func(outer, inner *vfs.File) error {
		return epoll.Ctl(outer, unix.EPOLL_CTL_ADD, 1, inner, epoll.Event{Events: unix.EPOLLIN, Data: 1})
	}
	for range 4 {
		n := epoll.New(nil, cred.Root())
		require.NoError(t, add(n, eps[len(eps)-1]))
		eps = append(eps, n)
	}
	extra := epoll.New(nil, cred.Root())
	require.Equal(t, unix.ELOOP, add(extra, eps[4])) // a chain of six
	require.Equal(t, unix.ELOOP, add(eps[0], extra))
	require.Equal(t, unix.ELOOP, add(eps[0], eps[3])) // a circle
	extra.DecRef()
	require.Zero(t, eps[4].Readiness(waitq.Readable))
	done := make(chan []pair)
	go func() { done <- wait(t, eps[4], 1, -1) }()
	time.Sleep(5 * time.Millisecond)
	a.set(waitq.In)
	require.Equal(t, []pair{{1, unix.EPOLLIN}}, <-done)
	require.Equal(t, []pair{{9, unix.EPOLLIN}}, wait(t, eps[0], 1, 0))
	a.set(0)
	require.Zero(t, eps[4].Readiness(waitq.Readable))
	for _, e := range eps {
		e.DecRef()
	}
	require.True(t, a.Empty())
}

func TestExclusive(t *testing.T) {
	a, fa := newFlag()
	defer fa.DecRef()
	woken := make(chan int, 10)
	for i := range 3 {
		ep := epoll.New(nil, cred.Root())
		defer ep.DecRef()
		require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 0, fa, epoll.Event{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLET}))
		require.Equal(t, unix.EINVAL, epoll.Ctl(ep, unix.EPOLL_CTL_MOD, 0, fa, epoll.Event{Events: unix.EPOLLIN}))
		require.Equal(t, unix.EINVAL, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 1, fa, epoll.Event{Events: unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT}))
		go func() {
			if len(wait(t, ep, 1, 200*time.Millisecond)) > 0 {
				woken <- i
			}
		}()
	}
	time.Sleep(30 * time.Millisecond)
	a.set(waitq.In)
	<-woken
	time.Sleep(300 * time.Millisecond)
	require.Empty(t, woken)
}

// Many threads wait on one epoll: each edge is taken by one of them, none is lost.
func TestManyWaiters(t *testing.T) {
	ep := epoll.New(nil, cred.Root())
	defer ep.DecRef()
	const n = 50
	var wg sync.WaitGroup
	got := make(chan uint64, 1000)
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				for _, p := range wait(t, ep, 3, -1) {
					if p.data == n {
						return // level-triggered: everybody sees it
					}
					got <- p.data
				}
			}
		}()
	}
	for i := range n {
		f, file := newFlag()
		defer file.DecRef()
		require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, int32(i), file, epoll.Event{Events: unix.EPOLLIN | unix.EPOLLET, Data: uint64(i)}))
		go f.set(waitq.In)
	}
	seen := map[uint64]bool{}
	for len(seen) < n {
		select {
		case d := <-got:
			seen[d] = true
		case <-time.After(5 * time.Second):
			t.Fatal("an event was lost")
		}
	}
	f, file := newFlag()
	defer file.DecRef()
	require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, n, file, epoll.Event{Events: unix.EPOLLIN, Data: n}))
	f.set(waitq.In)
	wg.Wait()
}

func TestWaitAllocs(t *testing.T) {
	ep := epoll.New(nil, cred.Root())
	defer ep.DecRef()
	f, file := newFlag()
	defer file.DecRef()
	f.on = waitq.In
	require.NoError(t, epoll.Ctl(ep, unix.EPOLL_CTL_ADD, 1, file, epoll.Event{Events: unix.EPOLLIN}))
	emit := func(epoll.Event) error { return nil }
	ctx := vfs.KernelContext()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = epoll.Wait(ctx, ep, 8, -1, emit) }))
}
