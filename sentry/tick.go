package sentry

import (
	"sync/atomic"
	"time"

	"gosv.dev/vfs"
)

// tick is how often processor time is looked at where calls are too fast to read a clock at each (Config.TickAccounting): Linux
// does the same at its timer interrupt. A task is charged whole ticks, for what it did when they came.
const tick = 4 * time.Millisecond

// ticker is a clock that costs nothing to read. It stands still while no task runs.
type ticker struct {
	k     *Kernel
	now   atomic.Int64 // Kernel.mono at the last tick
	still atomic.Bool
	start chan struct{}
}

func newTicker(k *Kernel) *ticker {
	c := &ticker{k: k, start: make(chan struct{}, 1)}
	c.still.Store(true)
	c.now.Store(1)
	go c.run()
	return c
}

func (c *ticker) run() {
	for range c.start {
		for c.k.running.Load() > 0 {
			c.look()
			time.Sleep(tick)
		}
		vfs.SetNow(time.Time{})
		c.still.Store(true)
		if c.k.running.Load() > 0 {
			c.wake() // one came in between
		}
	}
}

func (c *ticker) look() {
	c.now.Store(c.k.mono())
	vfs.SetNow(time.Now())
}

// wake is called when a task begins to run.
func (c *ticker) wake() {
	if c.still.Load() && c.still.Swap(false) {
		c.look()
		select {
		case c.start <- struct{}{}:
		default:
		}
	}
}

// acct is the time for accounting.
func (k *Kernel) acct() int64 {
	if k.ticker != nil {
		return k.ticker.now.Load()
	}
	return k.mono()
}

// beginRunning and endRunning count tasks that run, in the guest or in the sentry.
func (k *Kernel) beginRunning() {
	k.running.Add(1)
	if k.ticker != nil {
		k.ticker.wake()
	}
}

func (k *Kernel) endRunning() { k.running.Add(-1) }
