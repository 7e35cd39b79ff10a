package waitq

import "sync"

// A Waiter is an entry with a channel that becomes ready when it is notified, from a
// pool: for waits that must not allocate.
type Waiter struct {
	Entry
	C chan struct{}
}

var waiters = sync.Pool{New: func() any {
	w := &Waiter{C: make(chan struct{}, 1)}
	w.Notify = func(Events) bool {
		select {
		case w.C <- struct{}{}:
			return true
		default:
			return false // it has an event already: an exclusive one is for the next
		}
	}
	return w
}}

// GetWaiter returns a waiter that is in no queue and whose channel is not ready.
func GetWaiter() *Waiter { return waiters.Get().(*Waiter) }

// Put gives w back. It must be in no queue.
func (w *Waiter) Put() {
	select {
	case <-w.C:
	default:
	}
	w.Exclusive = false
	waiters.Put(w)
}
