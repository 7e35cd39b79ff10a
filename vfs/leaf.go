package vfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

// Parts of system calls that need no more than the task's own state, for leaf calls (platform.LeafFunc): they take no locks, allocate
// nothing and store no pointers.

// A PlainSeeker is FileOps of which Seek from the beginning or from the position does nothing but check the range.
type PlainSeeker interface{ PlainSeek() }

// leafSeekMax is below the largest position of every file system.
const leafSeekMax = 1 << 40

// LeafIO says what Read and Write of FileOps do, where a leaf call can do it too.
type LeafIO uint8

const (
	LeafNone    LeafIO = iota
	LeafNull           // nothing is read, and everything taken
	LeafZero           // zeros are read, and everything taken
	LeafCounter        // a Counter's number is taken
)

// A LeafFile is FileOps of which a leaf call may do the reading and writing. Counter is nil unless the kind is LeafCounter.
type LeafFile interface{ LeafIO() (LeafIO, *Counter) }

// Counter is a number that is waited for (eventfd(2)). It changes by compare-and-swap only, and whoever makes it larger then notifies the
// queue.
type Counter struct {
	N         atomic.Uint64
	Queue     waitq.Queue
	Semaphore bool // it is taken by ones; immutable
}

// Take takes what one read takes: all, or one; 0 if there is nothing. Whoever waits for room is still to be notified.
func (c *Counter) Take() uint64 {
	for {
		n := c.N.Load()
		if n == 0 {
			return 0
		}
		taken := n
		if c.Semaphore {
			taken = 1
		}
		if c.N.CompareAndSwap(n, n-taken) {
			return taken
		}
	}
}

// LeafTake is Take in two steps: what would be taken of n, or 0 if there is nothing or somebody is to be told that there is room; and the taking by
// compare-and-swap, after which the queue must be looked at again: who waits for room is there before it looks at the number.
//
//go:nosplit
func (c *Counter) LeafTake() (n, taken uint64) {
	n = c.N.Load()
	switch {
	case !c.Queue.Empty():
		return n, 0
	case c.Semaphore && n > 0:
		return n, 1
	}
	return n, n
}

// leafFile is the file of a descriptor that the task alone has which makes the call, or nil.
//
//go:nosplit
func (t *FDTable) leafFile(fd int32) *File {
	if t.refs.Load() != 1 {
		return nil
	}
	files := t.files.Load()
	if uint64(uint32(fd)) >= uint64(len(*files)) {
		return nil
	}
	return (*files)[uint32(fd)].Load()
}

// leafIO is the file of a descriptor, open for what mode says, that a leaf call may read or write, or nil.
//
//go:nosplit
func (t *FDTable) leafIO(fd int32, mode uint32) *File {
	f := t.leafFile(fd)
	if f == nil || f.leaf == LeafNone || f.mode&mode == 0 || f.Path.Dentry.sb.watched.Load() != 0 {
		return nil
	}
	return f
}

// LeafRead tells what read(2) of a descriptor reads, or LeafNone if a leaf call cannot make it. No other task has the
// table then.
//
//go:nosplit
func (t *FDTable) LeafRead(fd int32) (LeafIO, *Counter) {
	f := t.leafIO(fd, modeRead)
	if f == nil {
		return LeafNone, nil
	}
	return f.leaf, f.counter
}

// LeafWrite tells whether a leaf call can make write(2) to a descriptor: everything is taken.
//
//go:nosplit
func (t *FDTable) LeafWrite(fd int32) bool {
	f := t.leafIO(fd, modeWrite)
	return f != nil && f.leaf != LeafCounter
}

// LeafSeek is lseek(2) with SEEK_SET or SEEK_CUR in a plain file that only the task has which makes the call. If it returns false it
// has done nothing.
//
//go:nosplit
func (t *FDTable) LeafSeek(fd int32, off int64, whence uint32) (int64, bool) {
	f := t.leafFile(fd)
	if f == nil || f.mode&modePlainSeek == 0 || f.refs.Load() != 1 {
		return 0, false
	}
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		if off > leafSeekMax {
			return 0, false
		}
		off += f.pos
	default:
		return 0, false
	}
	if off < 0 || off > leafSeekMax {
		return 0, false
	}
	f.pos = off
	return off, true
}
