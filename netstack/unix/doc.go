// Package unix is the AF_UNIX socket family: stream, datagram and seqpacket sockets,
// bound to names in file systems or to abstract names of a network namespace.
//
// A Socket has a queue of received messages; a sender puts its messages straight into the
// receiver's queue, and is charged for them (wmem) until they have been received. Files
// that are passed (SCM_RIGHTS) are in flight while they are in a queue; cycles of
// sockets that only such queues hold are found by the collector in gc.go.
//
// Lock order:
//
//	Socket.recvMu        one receiver at a time; guest memory is written under it
//	inflight.mu          files in flight, and the collector
//	  Socket.mu          state and queue; of two sockets the older one first
//	    Family.mu        the abstract names and the list of sockets
//	    roomMu           where a sender waits for a receiver's room
//	      the locks of the waitq.Queues: room before queue
//
// References of files are dropped with none of them held.
package unix
