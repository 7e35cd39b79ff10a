package waitq

import "sync"

// A Waiter is an entry with a bell that rings when it is notified, from a
// pool: for waits that must not allocate.
type Waiter struct {
	Entry
	Bell
}

var waiters = sync.Pool{New: func() any {
	w := &Waiter{Bell: Bell{C: make(chan struct{}, 1)}}
	w.bell = &w.Bell
	return w
}}

// GetWaiter returns a waiter that is in no queue and whose bell was not rung.
func GetWaiter() *Waiter { return waiters.Get().(*Waiter) }

// Put gives w back. It must be in no queue.
func (w *Waiter) Put() {
	w.Ready()
	w.Exclusive = false
	waiters.Put(w)
}
