package vfs

import "golang.org/x/sys/unix"

// Parts of system calls that need no more than the task's own state, for leaf calls (platform.LeafFunc): they take no locks, allocate
// nothing and store no pointers.

// A PlainSeeker is FileOps of which Seek from the beginning or from the position does nothing but check the range.
type PlainSeeker interface{ PlainSeek() }

// leafSeekMax is below the largest position of every file system.
const leafSeekMax = 1 << 40

// LeafSeek is lseek(2) with SEEK_SET or SEEK_CUR in a plain file that only the task has which makes the call. If it returns false it
// has done nothing.
//
//go:nosplit
func (t *FDTable) LeafSeek(fd int32, off int64, whence uint32) (int64, bool) {
	if t.refs.Load() != 1 {
		return 0, false
	}
	files := t.files.Load()
	if uint64(uint32(fd)) >= uint64(len(*files)) {
		return 0, false
	}
	f := (*files)[uint32(fd)].Load()
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
