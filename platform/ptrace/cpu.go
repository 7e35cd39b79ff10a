package ptrace

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Placement. A stop and a continuation cost several times more when tracer and tracee
// are on different processors (a wake-up across processors, an interrupt on a virtual
// machine), so both threads of a context are bound to the same one. balance spreads the contexts: the
// choice is made when a context begins to run, and corrected while it runs by a goroutine that
// exists only while one processor has several running contexts and another none.
type balance struct {
	cpus    []int          // the host's processors that the sentry may use
	running []atomic.Int32 // contexts in guest code, by index in cpus
	next    atomic.Uint32

	mu       sync.Mutex
	contexts map[*context]struct{} // those that have a stub thread
	active   atomic.Bool           // the correcting goroutine exists
}

// uneven is how long contexts share a processor while another is free before one is moved.
const uneven = 4 * time.Millisecond

func newBalance() *balance {
	b := &balance{contexts: make(map[*context]struct{})}
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

// enter counts c as running.
func (b *balance) enter(c *context) {
	c.mu.Lock()
	n := b.running[c.cpu].Add(1)
	c.running = true
	c.mu.Unlock()
	if n > 1 && len(b.cpus) > 1 && !b.active.Load() && b.free() >= 0 && b.active.CompareAndSwap(false, true) {
		go b.correct()
	}
}

func (b *balance) leave(c *context) {
	c.mu.Lock()
	b.running[c.cpu].Add(-1)
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

// correct moves contexts until the distribution has been even for a while.
func (b *balance) correct() {
	for even := 0; even < 3; {
		time.Sleep(uneven)
		crowded := -1
		for i := range b.running {
			if b.running[i].Load() > 1 {
				crowded = i
			}
		}
		to := b.free()
		if crowded < 0 || to < 0 {
			even++
			continue
		}
		even = 0
		b.move(crowded, to)
	}
	b.active.Store(false)
}

// move binds one context that runs on processor from to another.
func (b *balance) move(from, to int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.contexts {
		c.mu.Lock()
		if c.running && c.cpu == from && c.tid != 0 {
			b.running[from].Add(-1)
			b.running[to].Add(1)
			c.cpu = to
			setAffinity(c.w.tracer, b.cpus[to])
			setAffinity(c.tid, b.cpus[to])
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}
