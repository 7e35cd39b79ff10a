// Package waitq is the one readiness mechanism of gosv: every object that a
// guest can wait for (files, pipes, sockets, timers, processes) has a Queue and
// notifies it when its state changes; poll, select, epoll, blocking reads and
// asynchronous I/O register an Entry.
//
// Lock order: a Queue's lock is taken last, under any lock of the object that
// notifies. Callbacks run with it held: they must not block, take locks of the
// object or touch the Queue.
package waitq

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Events is a set of EPOLL* event bits (the low 16 bits are poll(2)'s).
type Events uint32

const (
	In    Events = unix.EPOLLIN
	Pri   Events = unix.EPOLLPRI
	Out   Events = unix.EPOLLOUT
	Err   Events = unix.EPOLLERR
	Hup   Events = unix.EPOLLHUP
	RdHup Events = unix.EPOLLRDHUP

	// Readable and Writable are what Linux's queues say when data or room comes.
	Readable = In | unix.EPOLLRDNORM
	Writable = Out | unix.EPOLLWRNORM

	// Always are reported whether asked for or not.
	Always = Err | Hup
	All    = ^Events(0)
)

// Waitable is what can be waited for.
type Waitable interface {
	// Readiness returns which of the events in mask hold now.
	Readiness(mask Events) Events
	// EventRegister adds e, to be notified of the events in mask. The caller
	// must look at Readiness after it: events before it are not told.
	EventRegister(e *Entry, mask Events)
	// EventUnregister takes e away. When it returns e's callback is not running
	// and will not run.
	EventUnregister(e *Entry)
}

// Entry is one waiter in at most one Queue at a time. Its fields may be changed
// only while it is in none.
type Entry struct {
	// Notify is called with the events that happened, under the queue's lock.
	// For an exclusive entry it returns whether it took the event; others'
	// result is ignored.
	Notify func(Events) bool
	// Exclusive entries are woken one at a time (EPOLLEXCLUSIVE, accept).
	Exclusive bool

	bell       *Bell // rung instead of calling Notify
	mask       Events
	next, prev *Entry
	queue      *Queue
}

// NewChan returns an entry that makes ch ready when it is notified, and ch.
func NewChan() (*Entry, chan struct{}) {
	ch := make(chan struct{}, 1)
	return &Entry{Notify: func(Events) bool {
		select {
		case ch <- struct{}{}:
		default:
		}
		return true
	}}, ch
}

// Queue is a list of waiters. The zero Queue is empty and ready to use.
type Queue struct {
	any        atomic.Int32 // number of entries, so that Notify is cheap without
	mu         sync.Mutex
	head, tail *Entry
}

// EventRegister implements Waitable's method for types that embed a Queue.
func (q *Queue) EventRegister(e *Entry, mask Events) {
	q.mu.Lock()
	if e.queue != nil {
		q.mu.Unlock()
		panic("waitq: entry is in a queue already")
	}
	e.mask, e.queue = mask|Always, q
	e.prev, e.next = q.tail, nil
	if q.tail != nil {
		q.tail.next = e
	} else {
		q.head = e
	}
	q.tail = e
	q.any.Add(1)
	q.mu.Unlock()
}

// EventUnregister implements Waitable's method; an entry that is not in q is left alone.
func (q *Queue) EventUnregister(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.queue != q {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.tail = e.prev
	}
	e.prev, e.next, e.queue = nil, nil, nil
	q.any.Add(-1)
}

// Notify tells all entries that wait for one of the events, and of the exclusive
// ones the first that takes it.
func (q *Queue) Notify(events Events) {
	if q.any.Load() == 0 {
		return
	}
	// Sleepers are woken after the lock is free again: they need it first of all.
	var buf [4]*Sleeper
	wake := buf[:0]
	q.mu.Lock()
	taken := false
	for e := q.head; e != nil; e = e.next {
		if e.mask&events == 0 || e.Exclusive && taken {
			continue
		}
		var ok bool
		if e.bell != nil {
			var s *Sleeper
			// An exclusive entry that has an event already leaves this one to the next.
			if s, ok = e.bell.set(); s != nil {
				wake = append(wake, s)
			}
		} else {
			ok = e.Notify(events)
		}
		if ok && e.Exclusive {
			taken = true
		}
	}
	q.mu.Unlock()
	for _, s := range wake {
		s.Wake()
	}
}

// Empty tells whether nobody waits.
func (q *Queue) Empty() bool { return q.any.Load() == 0 }
