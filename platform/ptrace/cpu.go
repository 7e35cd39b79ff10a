package ptrace

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Placement. A stop and a continuation cost several times more when tracer and tracee
// are on different processors (a wake-up across processors, an interrupt on a virtual
// machine), so both threads of a context are bound to the same one. balance spreads the contexts: the
// choice is made when a context begins to run, and corrected while it runs by a goroutine that
// works only while one processor has several running contexts and another none.
//
// For the same reason contexts that wake each other and run for a short time only are better off on one
// processor: one that is always woken from another processor follows its wakers there. Where that crowds a
// processor, the goroutine parts them again, and they stay apart for a while.
type balance struct {
	cpus    []int          // the host's processors that the sentry may use
	running []atomic.Int32 // contexts in guest code, by index in cpus
	busy    []atomic.Int64 // nanoseconds that contexts were in guest code, waiting for the processor included
	next    atomic.Uint32

	mu       sync.Mutex
	contexts map[*context]struct{} // those that have a stub thread
	active   atomic.Bool           // the correcting goroutine is at work

	corrector parker
	start     sync.Once // of the correcting goroutine, which has a host thread of its own
	closed    atomic.Bool
	done      chan struct{}
}

const (
	// slice is how long tracers and stubs ask the host to let them run at a time: the shortest there is. At every
	// stop both give up the processor, and with slices as others have them each would wait for whole slices of
	// those who compute before it gets the processor back. The share of all of them stays what it was.
	slice = 100 * time.Microsecond

	// uneven is how long contexts share a processor while another is free before one is moved.
	uneven = 4 * time.Millisecond

	// A context follows its wakers to their processor after followAfter wake-ups from there in a row, if
	// it ran guest code for less than shortRun after each.
	followAfter = 3
	shortRun    = 100 * time.Microsecond
	// apart is for how long a context that was moved to be alone does not follow; doubled each time up to maxApart.
	apart    = 20 * time.Millisecond
	maxApart = time.Second
)

func newBalance(all *sleepers) *balance {
	b := &balance{contexts: make(map[*context]struct{}), done: make(chan struct{}), corrector: parker{all: all}}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err == nil {
		for i := 0; i < len(set)*64; i++ {
			if set.IsSet(i) {
				b.cpus = append(b.cpus, i)
			}
		}
	}
	if len(b.cpus) == 0 {
		b.cpus = []int{0}
	}
	b.running = make([]atomic.Int32, len(b.cpus))
	b.busy = make([]atomic.Int64, len(b.cpus))
	return b
}

// choose is the index of the processor with the fewest running contexts.
func (b *balance) choose() int {
	first := int(b.next.Add(1)) % len(b.cpus)
	best := first
	for i := range b.cpus {
		j := (first + i) % len(b.cpus)
		if b.running[j].Load() < b.running[best].Load() {
			best = j
		}
	}
	return best
}

func (b *balance) add(c *context) {
	b.mu.Lock()
	b.contexts[c] = struct{}{}
	b.mu.Unlock()
}

func (b *balance) remove(c *context) {
	b.mu.Lock()
	delete(b.contexts, c)
	b.mu.Unlock()
}

// index is the place of a host processor in cpus, or -1.
func (b *balance) index(cpu uint32) int {
	for i, v := range b.cpus {
		if v == int(cpu) {
			return i
		}
	}
	return -1
}

// enter counts c as running.
func (b *balance) enter(c *context, now time.Duration) {
	c.mu.Lock()
	n := b.running[c.cpu].Add(1)
	c.running, c.entered = true, now
	c.mu.Unlock()
	if n > 1 && len(b.cpus) > 1 && !b.active.Load() && b.free() >= 0 && b.active.CompareAndSwap(false, true) {
		b.start.Do(func() { go b.run() })
		b.corrector.unpark()
	}
}

func (b *balance) leave(c *context, now time.Duration) {
	c.mu.Lock()
	b.running[c.cpu].Add(-1)
	b.busy[c.cpu].Add(int64(now - c.entered))
	c.running = false
	c.mu.Unlock()
}

// free is a processor on which nothing runs, or -1.
func (b *balance) free() int {
	for i := range b.running {
		if b.running[i].Load() == 0 {
			return i
		}
	}
	return -1
}

// run is the correcting goroutine. It sleeps as contexts do: a timer of Go's would have the scheduler
// wake threads to watch it.
func (b *balance) run() {
	runtime.LockOSThread()
	for !b.closed.Load() {
		b.corrector.park(-1)
		if b.active.Load() {
			b.correct()
			b.active.Store(false)
		}
	}
	close(b.done)
}

func (b *balance) close() {
	b.closed.Store(true)
	b.start.Do(func() { close(b.done) })
	b.corrector.unpark()
	<-b.done
}

// correct moves contexts until the distribution has been even for a while.
func (b *balance) correct() {
	load := make([]time.Duration, len(b.cpus))
	for even := 0; even < 3 && !b.closed.Load(); even++ {
		for i := range b.busy {
			load[i] = -time.Duration(b.busy[i].Load())
		}
		start := clock()
		b.corrector.park(uneven)
		now := clock()
		for i := range b.busy {
			load[i] += time.Duration(b.busy[i].Load())
		}
		b.mu.Lock()
		for c := range b.contexts {
			c.mu.Lock()
			if c.running {
				load[c.cpu] += now - max(start, c.entered)
			}
			c.mu.Unlock()
		}
		b.mu.Unlock()
		from, to := 0, 0
		for i := range load {
			if load[i] > load[from] {
				from = i
			}
			if load[i] < load[to] {
				to = i
			}
		}
		// Contexts that take turns fill one processor; those that wait for it overfill it.
		if passed := now - start; load[from] > passed*5/4 && load[to] < passed/4 {
			b.move(from, to, now)
			even = 0
		}
	}
}

// move binds one context that runs on processor from to another: the one that has run longest.
func (b *balance) move(from, to int, now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var longest *context
	for c := range b.contexts {
		c.mu.Lock()
		if c.running && c.cpu == from && c.tid != 0 && (longest == nil || c.entered < longest.entered) {
			longest = c
		}
		c.mu.Unlock()
	}
	if longest == nil {
		return
	}
	c := longest
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running || c.cpu != from || c.tid == 0 {
		return
	}
	b.running[from].Add(-1)
	b.running[to].Add(1)
	c.apart = min(max(2*c.apart, apart), maxApart)
	c.follows = now + c.apart
	c.bind(to)
}

// bind puts tracer and stub thread on another processor. c.mu is held.
func (c *context) bind(to int) {
	c.cpu = to
	setAffinity(c.w.tracer, c.p.balance.cpus[to])
	setAffinity(c.tid, c.p.balance.cpus[to])
}

// woken is called by c's goroutine when it was woken on host processor from.
func (c *context) woken(from uint32) {
	b := c.p.balance
	ran := time.Duration(c.cpuTime.Load())
	short := ran-c.ran < shortRun
	c.ran = ran
	if !short || c.as == nil || b.cpus[c.cpu] == int(from) {
		c.foreign = 0
		return
	}
	if c.foreign++; c.foreign < followAfter {
		return
	}
	c.foreign = 0
	to := b.index(from)
	if to < 0 || b.running[to].Load() > 1 {
		return
	}
	now := clock()
	c.mu.Lock()
	if now >= c.follows {
		c.bind(to)
	}
	c.mu.Unlock()
}

var started = time.Now()

// clock is the time since the program was started.
func clock() time.Duration { return time.Since(started) }
