package mm

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel memory: what the sentry keeps for guests in its own heap counts for the
// limit together with the frames (Linux: kmem of a memory cgroup). It has two parts:
//
//   - what is charged, with ChargeKernel, by those who keep the data of guests
//     (messages in sockets and queues): exact, and at once;
//   - the rest, which WatchHeap measures whenever the heap has been collected:
//     objects of all other kinds (open files, inodes, regions, tasks and their
//     stacks). The calls that make them ask KernelRoom first.
//
// Either is refused with ENOMEM when caches have been shrunk, the heap has been
// collected and there is still no room. Some memory is then left for frames, and data
// and lasting objects (files, queues) also leave some for the others, so that somebody
// can still start a program that removes them; and some kernel memory may always be had, so that a guest that
// fills its memory with pages can still open a file. Frames are never refused
// without the OOM killer, so it also ends a guest whose kernel memory grows by ways
// that nobody asks on.

const (
	// heapSpare is what the heap holds without a guest's doing; it is not counted.
	heapSpare = 24 << 20
	// heapSlack, or a quarter of the heap, is how much a heap may grow before it is
	// collected; less when the sandbox comes near its limit, down to minSlack: what has
	// come since the last collection is not counted.
	heapSlack = 64 << 20
	minSlack  = 4 << 20
	maxGC     = 400 // percent: a small heap needs not be collected that soon
)

// KernelBytes is the kernel memory that counts for the limit.
func (m *Memory) KernelBytes() int64 { return m.kcharged.Load() + m.kother.Load() }

// inUse is how many pages count for the limit.
func (m *Memory) inUse() int64 { return m.used.Load() + m.KernelBytes()>>PageShift }

// kernelShort is how many pages are missing for what the kernel has by now, if reserve
// pages are to be left.
func (m *Memory) kernelShort(reserve int64) int64 {
	k := m.KernelBytes() >> PageShift
	if k <= m.limit/16 {
		return 0
	}
	return m.used.Load() + k - (m.limit - reserve)
}

// ChargeKernel counts n bytes of the sentry's heap that it keeps for a guest; ENOMEM
// if there is no room. It shrinks caches when memory is short, and must be called
// with no lock that a shrinker takes. It does nothing if m is nil.
func (m *Memory) ChargeKernel(n int64) error {
	if m == nil {
		return nil
	}
	m.kcharged.Add(n)
	if n <= 0 || m.kernelShort(m.limit/8) <= 0 || m.makeKernelRoom(m.limit/8) {
		return nil
	}
	m.kcharged.Add(-n)
	return unix.ENOMEM
}

// UnchargeKernel undoes ChargeKernel.
func (m *Memory) UnchargeKernel(n int64) {
	if m != nil {
		m.kcharged.Add(-n)
	}
}

// KernelRoom tells whether the sentry may make another object for a guest: nil, or
// ENOMEM. Lasting objects are those that do not go with their process. See ChargeKernel
// for the locks.
func (m *Memory) KernelRoom(lasting bool) error {
	if m == nil {
		return nil
	}
	reserve := m.limit / 16
	if lasting {
		reserve = m.limit / 8
	}
	if m.kernelShort(reserve) <= 0 || m.makeKernelRoom(reserve) {
		return nil
	}
	return unix.ENOMEM
}

// makeKernelRoom shrinks caches until no page is missing, and reports whether it could.
func (m *Memory) makeKernelRoom(reserve int64) bool {
	m.reclaimMu.Lock()
	defer m.reclaimMu.Unlock()
	return m.shrinkFor(func() int64 { return m.kernelShort(reserve) })
}

// shrinkFor asks the shrinkers until short, a number of pages, is not positive.
// reclaimMu is held.
func (m *Memory) shrinkFor(short func() int64) bool {
	for _, hard := range []bool{false, true} {
		s := short()
		if s <= 0 {
			return true
		}
		// A little more than needed, so that not every page asks again.
		m.shrink((s+min(256, m.limit/64))*PageSize, hard)
	}
	return short() <= 0
}

// heapWatch measures the heap for one Memory. It is a shrinker too: what a guest has
// given up is free only when the heap has been collected.
type heapWatch struct {
	m         *Memory
	collected chan struct{} // has room for one

	mu      sync.Mutex // guards what follows
	samples []metrics.Sample
	percent int           // as set
	last    time.Time     // end of the last collect
	took    time.Duration // what it took
}

// sentinel becomes garbage in each collection of the heap.
type sentinel struct{ w *heapWatch }

// WatchHeap has the process's heap counted as kernel memory, but for a part that a
// sentry needs for itself, and collected when it must be. It is for the one Memory
// of a process whose guests are to be held to their limit.
func (m *Memory) WatchHeap() {
	w := &heapWatch{m: m, collected: make(chan struct{}, 1), percent: maxGC, samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}}
	debug.SetGCPercent(maxGC)
	m.RegisterShrinker(w)
	w.arm()
	go w.run()
}

// arm has run told of the next collection.
func (w *heapWatch) arm() {
	s := &sentinel{w}
	runtime.SetFinalizer(s, func(s *sentinel) {
		select {
		case s.w.collected <- struct{}{}:
		default:
		}
		s.w.arm()
	})
}

// run measures after each collection, and ends guests if that is the only way left.
func (w *heapWatch) run() {
	m := w.m
	for {
		select {
		case <-m.scrubStop:
			m.UnregisterShrinker(w)
			return
		case <-w.collected:
		}
		w.mu.Lock()
		w.measure()
		w.mu.Unlock()
		for try := 0; try < 100 && m.inUse() > m.limit+m.limit/32; try++ {
			if m.makeRoom(1) || !m.kill() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// measure counts what the last collection has left, and sets how much may come
// before the next one. mu is held.
func (w *heapWatch) measure() {
	metrics.Read(w.samples)
	heap := int64(w.samples[0].Value.Uint64() + w.samples[1].Value.Uint64())
	w.m.kother.Store(max(0, heap-w.m.kcharged.Load()-heapSpare))
	slack := max(heapSlack, heap/4)
	m, kernel := w.m, w.m.KernelBytes()
	if kernel>>PageShift > m.limit/16 {
		room := (m.limit-m.used.Load()+m.byKind[kindFile].Load())<<PageShift - kernel
		slack = min(slack, max(room/2, minSlack))
	}
	percent := int(min(max(slack*100/max(heap, 1), 1), maxGC))
	// Setting it stops the world.
	if d := percent - w.percent; max(d, -d) > w.percent/8 {
		w.percent = percent
		debug.SetGCPercent(percent)
	}
}

// Name implements Shrinker.
func (w *heapWatch) Name() string { return "heap" }

// Priority implements Shrinker: it comes last, when others have dropped what they can.
func (w *heapWatch) Priority() int { return 1 << 20 }

// Shrink implements Shrinker.
func (w *heapWatch) Shrink(_ int64, hard bool) int64 {
	if !hard || w.m.kother.Load() == 0 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// At most half of the time goes into it.
	if wait := w.took - time.Since(w.last); wait > 0 {
		time.Sleep(wait)
	}
	before := w.m.kother.Load()
	start := time.Now()
	runtime.GC()
	w.last = time.Now()
	w.took = min(w.last.Sub(start), time.Second)
	w.measure()
	return max(0, before-w.m.kother.Load())
}
