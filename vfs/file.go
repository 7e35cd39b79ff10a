package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// File is an open file description (Linux: struct file). It is counted: each
// descriptor, mapping and system call under way holds a reference.
type File struct {
	Ops  FileOps
	Path Path       // where it was opened; of an anonymous inode for pipes, sockets and the like
	Cred *cred.Cred // the opener's

	refs atomic.Int64

	// mode and openFlags (the flags of open, with O_NOCTTY and the like) do not change.
	mode      uint32
	openFlags uint32
	leaf      LeafIO   // nor do these
	counter   *Counter // of a LeafCounter

	// flags are the O_* status flags and access mode; F_SETFL changes some.
	flags atomic.Uint32

	// posMu is held over a whole read, write, seek or readdir that uses pos
	// (Linux: f_pos_lock), so that they are atomic against each other. It may be
	// held while the operation blocks only where Linux does so too: never for streams.
	posMu sync.Mutex
	pos   int64

	// ownerMu protects owner, who gets SIGIO (F_SETOWN, F_SETSIG), and async.
	ownerMu sync.Mutex
	owner   FileOwner
	async   *waitq.Entry // registered while O_ASYNC is set

	// hooks are told when the file is released; hooksMu protects them.
	hooksMu sync.Mutex
	hooks   []ReleaseHook
	// locked: a flock, OFD lock or lease was taken through this file.
	locked atomic.Bool
}

// ReleaseHook is told that the last reference of a file has gone: epoll drops its interest.
type ReleaseHook interface{ FileReleased(f *File) }

// AddReleaseHook adds h; the caller has a reference on f.
func (f *File) AddReleaseHook(h ReleaseHook) {
	f.hooksMu.Lock()
	f.hooks = append(f.hooks, h)
	f.hooksMu.Unlock()
}

// RemoveReleaseHook removes h if it is there.
func (f *File) RemoveReleaseHook(h ReleaseHook) {
	f.hooksMu.Lock()
	for i, x := range f.hooks {
		if x == h {
			f.hooks = append(f.hooks[:i], f.hooks[i+1:]...)
			break
		}
	}
	f.hooksMu.Unlock()
}

// FileOwner is who gets signals for a file (fcntl F_SETOWN_EX, F_SETSIG).
type FileOwner struct {
	Type   int32 // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
	ID     int32 // 0: none
	Signal int32 // 0: SIGIO without information
	UID    uint32
	EUID   uint32
	// Send delivers a signal to the owner; the sentry sets it with the rest. It is called with no
	// lock held. code and band are for siginfo.
	Send func(sig unix.Signal, code int32, band int64, fd int32)
}

// IOFlags are the flags of a read or write that reach a file.
type IOFlags uint32

const (
	// IONonblock: do not block (O_NONBLOCK of the file, or RWF_NOWAIT, MSG_DONTWAIT).
	IONonblock IOFlags = 1 << iota
	// IOAppend: write at the end of the file, whatever off says (O_APPEND, RWF_APPEND).
	IOAppend
	// IOSync: do not return before the data are on stable storage (O_SYNC, O_DSYNC, RWF_SYNC).
	IOSync
	// IOAlone: the file is open as one descriptor of one task, which makes the call: its position needs no lock (Linux: file_needs_f_pos_lock).
	IOAlone
)

// FileOps is what an open file does. Embed DefaultFileOps for what it does not support.
//
// Operations on files that block (pipes, sockets, terminals, eventfds ...) NEVER block:
// they return EAGAIN when they cannot go on, and notify their wait queue when they can.
// File.Read, File.Write and the like wait and try again, unless the file is non-blocking. So
// an implementation ignores IONonblock unless it would do disk or host I/O.
//
// A partial transfer returns n > 0 and a nil error.
type FileOps interface {
	waitq.Waitable

	// Read reads at off (which is 0 for streams) into dst. 0, nil is end of file.
	Read(ctx Context, f *File, dst *usermem.IO, off int64, flags IOFlags) (int64, error)
	// Write writes src at off; for regular files with IOAppend, at the end.
	// It returns the offset after the last byte written.
	Write(ctx Context, f *File, src *usermem.IO, off int64, flags IOFlags) (n, newOff int64, err error)
	// Seek computes a new position from the old one; ESPIPE for streams.
	Seek(ctx Context, f *File, pos, off int64, whence int) (int64, error)
	// ReadDir emits entries from position pos on, until emit returns false (that
	// entry has not been taken) or there are no more; and returns the position to
	// go on from. "." and ".." are included.
	ReadDir(ctx Context, f *File, pos int64, emit func(Dirent) bool) (int64, error)
	// Ioctl handles requests that are the file's own (ENOTTY otherwise). Requests of
	// every file (FIONBIO, FIOASYNC, FIOCLEX ...) never come here. FIONREAD of regular files neither.
	Ioctl(ctx Context, f *File, cmd uint32, arg uint64) (uint64, error)
	// MMap sets opts.File so that the file's pages can be mapped; ENODEV if they cannot.
	MMap(ctx Context, f *File, opts *mm.MMapOpts) error
	// Sync makes data (and metadata unless dataOnly) in the range durable; EINVAL for what has no storage.
	Sync(ctx Context, f *File, off, length int64, dataOnly bool) error
	// Allocate is fallocate(2) with mode FALLOC_FL_*.
	Allocate(ctx Context, f *File, mode uint32, off, length int64) error
	// Flush is called at each close of a descriptor; its error is what close(2) returns.
	Flush(ctx Context, f *File) error
	// Release is called when the last reference has gone.
	Release(f *File)
	// Stream tells whether the file has no position (pipes, sockets, terminals): reads
	// and writes then do not take the position lock, and pread gives ESPIPE.
	Stream() bool
}

// Dirent is a directory entry. Off is the position after it.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8 // DT_*
	Off  int64
}

// DefaultFileOps answers what Linux answers where an operation is not there: a file
// that is always ready, cannot be read, written, mapped or seeked.
type DefaultFileOps struct{}

func (DefaultFileOps) Readiness(mask waitq.Events) waitq.Events {
	return mask & (waitq.Readable | waitq.Writable)
}
func (DefaultFileOps) EventRegister(*waitq.Entry, waitq.Events) {}
func (DefaultFileOps) EventUnregister(*waitq.Entry)             {}
func (DefaultFileOps) Read(Context, *File, *usermem.IO, int64, IOFlags) (int64, error) {
	return 0, unix.EINVAL
}
func (DefaultFileOps) Write(Context, *File, *usermem.IO, int64, IOFlags) (int64, int64, error) {
	return 0, 0, unix.EINVAL
}
func (DefaultFileOps) Seek(Context, *File, int64, int64, int) (int64, error) { return 0, unix.ESPIPE }
func (DefaultFileOps) ReadDir(Context, *File, int64, func(Dirent) bool) (int64, error) {
	return 0, unix.ENOTDIR
}
func (DefaultFileOps) Ioctl(Context, *File, uint32, uint64) (uint64, error) { return 0, unix.ENOTTY }
func (DefaultFileOps) MMap(Context, *File, *mm.MMapOpts) error              { return unix.ENODEV }
func (DefaultFileOps) Sync(Context, *File, int64, int64, bool) error        { return unix.EINVAL }
func (DefaultFileOps) Allocate(Context, *File, uint32, int64, int64) error  { return unix.EOPNOTSUPP }
func (DefaultFileOps) Flush(Context, *File) error                           { return nil }
func (DefaultFileOps) Release(*File)                                        {}
func (DefaultFileOps) Stream() bool                                         { return false }
