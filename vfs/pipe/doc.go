// Package pipe is pipes and FIFOs, and the splice family of calls that moves
// data between them and other files.
//
// A Pipe is a ring of slots, each a part of one page. Pages are counted, so that
// tee(2) can put the same page into two pipes. An End is one open file's view of it:
// the reading end, the writing end, or (a FIFO opened O_RDWR) both.
//
// Lock order:
//
//	Pipe.mu (of two pipes, the one made first is locked first)
//	  locks of package mm (bytes are copied to and from the guest under Pipe.mu)
//	    the lock of the Pipe's waitq.Queue
//
// No lock is held over anything that waits for a guest.
package pipe
