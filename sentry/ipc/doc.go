// Package ipc is System V inter-process communication (semaphores, message queues,
// shared memory) and POSIX message queues, of one IPC namespace.
//
// Namespace is the namespace: three tables of objects, each found by id or by key, and
// the mqueue file system. An id is made of the place in the table and a sequence
// number, so that the id of a removed object does not soon name another one.
//
// Lock order:
//
//	Namespace.mu          the tables, keys and totals
//	  semSet.mu, msgQueue.mu, segment.mu
//	    UndoList.mu
//	    locks of the waitq.Queues
//	mqueue.mu             one POSIX queue; taken with none of the above
//
// Shared memory calls into package mm with no lock held.
package ipc
