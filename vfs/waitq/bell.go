package waitq

import (
	"sync/atomic"
	"time"
)

// A Bell is what one task waits for: it is rung once or often before the task looks, and
// counts as one. A task of which the platform says that it sleeps best by itself (see Sleeper)
// is woken without the Go scheduler.
type Bell struct {
	// C is ready when the bell was rung; capacity 1. It may be waited for directly.
	C       chan struct{}
	sleeper atomic.Pointer[Sleeper]
}

// A Sleeper can be woken from any goroutine. Wake does not block.
type Sleeper struct{ Wake func() }

// NewBell returns a bell that was not rung.
func NewBell() *Bell { return &Bell{C: make(chan struct{}, 1)} }

// Ring makes b ready and wakes who sleeps for it. It returns false if b was ready already.
func (b *Bell) Ring() bool {
	s, ok := b.set()
	if s != nil {
		s.Wake()
	}
	return ok
}

// set is Ring without the waking, which the caller does.
func (b *Bell) set() (*Sleeper, bool) {
	select {
	case b.C <- struct{}{}:
		return b.sleeper.Load(), true
	default:
		return nil, false
	}
}

// Ready takes the ringing, if there is one.
func (b *Bell) Ready() bool {
	select {
	case <-b.C:
		return true
	default:
		return false
	}
}

// Attend makes s be woken when b rings, nil nobody. The caller must look at Ready after it.
func (b *Bell) Attend(s *Sleeper) { b.sleeper.Store(s) }

// Blocker is the part of vfs.Context that waits.
type Blocker interface {
	Block(ch <-chan struct{}, timeout time.Duration) error
}

// BellBlocker is a Blocker that knows bells.
type BellBlocker interface {
	BlockBell(b *Bell, timeout time.Duration) error
}

// Wait is ctx.Block for b.
func (b *Bell) Wait(ctx Blocker, timeout time.Duration) error {
	if bb, ok := ctx.(BellBlocker); ok {
		return bb.BlockBell(b, timeout)
	}
	return ctx.Block(b.C, timeout)
}
