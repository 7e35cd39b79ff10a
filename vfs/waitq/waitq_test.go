package waitq

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueue(t *testing.T) {
	var q Queue
	q.Notify(In) // nobody is there
	var got []string
	entry := func(name string, exclusive, takes bool) *Entry {
		return &Entry{Exclusive: exclusive, Notify: func(Events) bool { got = append(got, name); return takes }}
	}
	a, busy, b, c, out := entry("a", false, false), entry("busy", true, false), entry("b", true, true), entry("c", true, true), entry("out", false, true)
	for _, e := range []*Entry{a, busy, b, c} {
		q.EventRegister(e, Readable)
	}
	q.EventRegister(out, Writable)
	q.Notify(In)
	require.Equal(t, []string{"a", "busy", "b"}, got) // one that is exclusive takes it
	got = nil
	q.Notify(Err)
	require.Equal(t, []string{"a", "busy", "b", "out"}, got) // errors are for all
	got = nil
	q.EventUnregister(b)
	q.EventUnregister(b)
	q.Notify(In)
	require.Equal(t, []string{"a", "busy", "c"}, got)
	require.Panics(t, func() { q.EventRegister(a, In) })
	for _, e := range []*Entry{a, busy, c, out} {
		q.EventUnregister(e)
	}
	require.True(t, q.Empty())
}

func TestWaiterAllocs(t *testing.T) {
	var q Queue
	require.Zero(t, testing.AllocsPerRun(100, func() {
		w := GetWaiter()
		q.EventRegister(&w.Entry, In)
		q.Notify(In)
		<-w.C
		q.EventUnregister(&w.Entry)
		w.Put()
	}))
}

func TestConcurrent(t *testing.T) {
	var q Queue
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 1000 {
				w := GetWaiter()
				q.EventRegister(&w.Entry, In)
				q.Notify(In)
				<-w.C
				q.EventUnregister(&w.Entry)
				w.Put()
			}
		}()
	}
	wg.Wait()
	require.True(t, q.Empty())
}
