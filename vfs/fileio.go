package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// What File.mode tells.
const (
	modeStream = 1 << iota // no position
	modeWriter             // counted in the inode's writers
	modeReader             // counted in the inode's readers
	modePath               // O_PATH
	modeOpened             // Ops.Release must be called, close events are due
	modeRead
	modeWrite
	modeCreated   // by the open that made this file
	modePlainSeek // Ops is a PlainSeeker
	modeTimeless  // Ops is a Timeless
)

// maxRW is the most that one read or write transfers (Linux: MAX_RW_COUNT).
const maxRW = 0x7ffff000

// A Timeless is FileOps of a device that is read without a trace: neither the position nor the time of the last access changes.
type Timeless interface{ Timeless() }

// NewFile makes an open file for a path, for files that do not come from Open. It takes its
// own references on path.
func NewFile(path Path, ops FileOps, flags uint32, c *cred.Cred) *File {
	return newFile(path, ops, flags, c)
}

func newFile(path Path, ops FileOps, flags uint32, c *cred.Cred) *File {
	f := &File{Path: path, Cred: c, openFlags: flags}
	path.IncRef()
	f.refs.Store(1)
	f.flags.Store(flags)
	switch {
	case flags&unix.O_PATH != 0:
		f.mode = modePath
	case flags&unix.O_ACCMODE == unix.O_RDONLY:
		f.mode = modeRead
	case flags&unix.O_ACCMODE == unix.O_WRONLY:
		f.mode = modeWrite
	case flags&unix.O_ACCMODE == unix.O_RDWR:
		f.mode = modeRead | modeWrite
	}
	if ops != nil {
		f.setOps(ops)
	}
	return f
}

func (f *File) setOps(ops FileOps) {
	f.Ops = ops
	if f.mode&modePath != 0 {
		return
	}
	f.mode |= modeOpened
	if ops.Stream() {
		f.mode |= modeStream
	}
	if _, ok := ops.(PlainSeeker); ok {
		f.mode |= modePlainSeek
	}
	if _, ok := ops.(Timeless); ok {
		f.mode |= modeTimeless
	}
	if l, ok := ops.(LeafFile); ok {
		f.leaf, f.counter = l.LeafIO()
	}
}

// IncRef takes another reference; the caller has one.
func (f *File) IncRef() { f.refs.Add(1) }

// TryIncRef takes a reference unless the last one has gone.
func (f *File) TryIncRef() bool {
	for {
		n := f.refs.Load()
		if n <= 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// DecRef drops a reference; the last one releases the file.
func (f *File) DecRef() {
	switch n := f.refs.Add(-1); {
	case n == 0:
		f.release()
	case n < 0:
		panic("vfs: file reference dropped twice")
	}
}

// Refs is the number of references (for unix sockets' garbage collection, and tests).
func (f *File) Refs() int64 { return f.refs.Load() }

func (f *File) release() {
	f.hooksMu.Lock()
	hooks := f.hooks
	f.hooks = nil
	f.hooksMu.Unlock()
	for _, h := range hooks {
		h.FileReleased(f)
	}
	if f.mode&modeOpened != 0 {
		if f.mode&modeWrite != 0 {
			f.notify(unix.IN_CLOSE_WRITE)
		} else {
			f.notify(unix.IN_CLOSE_NOWRITE)
		}
		f.setAsync(false)
		f.dropLocks()
		f.Ops.Release(f)
	}
	f.putPath()
}

// abandon drops a file that could not be opened.
func (f *File) abandon() {
	f.refs.Store(0)
	f.putPath()
}

func (f *File) putPath() {
	if i := f.Inode(); i != nil {
		if f.mode&modeWriter != 0 {
			i.putWrite()
			if f.Path.Mount != nil {
				f.Path.Mount.writers.Add(-1)
				f.Path.Mount.SB.writers.Add(-1)
			}
		}
		if f.mode&modeReader != 0 {
			i.readers.Add(-1)
		}
	}
	f.Path.DecRef()
}

// Flags are the access mode and status flags (F_GETFL).
func (f *File) Flags() uint32 { return f.flags.Load() }

// OpenFlags are the flags given to open, O_NOCTTY and the like included.
func (f *File) OpenFlags() uint32 { return f.openFlags }

// Inode is the file's inode.
func (f *File) Inode() *Inode { return f.Path.Dentry.Inode() }

// Readable and Writable tell what the file was opened for.
func (f *File) Readable() bool { return f.mode&modeRead != 0 }

// Writable tells whether the file was opened for writing.
func (f *File) Writable() bool { return f.mode&modeWrite != 0 }

// IsPathOnly tells whether the file was opened with O_PATH: most calls give EBADF.
func (f *File) IsPathOnly() bool { return f.mode&modePath != 0 }

// Created tells whether the open that made f has made the file, too (F_CREATED_QUERY).
func (f *File) Created() bool { return f.mode&modeCreated != 0 }

// Nonblocking tells whether O_NONBLOCK is set.
func (f *File) Nonblocking() bool { return f.flags.Load()&unix.O_NONBLOCK != 0 }

// setflMask are the flags that F_SETFL changes.
const setflMask = unix.O_APPEND | unix.O_NONBLOCK | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

// FlagsSetter may be implemented by FileOps that want to know of, or refuse, changed status flags.
type FlagsSetter interface {
	SetFlags(f *File, old, new uint32) error
}

// SetFlags is F_SETFL: it changes those flags that can be changed.
func (f *File) SetFlags(ctx Context, flags uint32) error {
	old := f.flags.Load()
	i := f.Inode()
	if isAppend(i) && (flags^old)&unix.O_APPEND != 0 {
		return unix.EPERM
	}
	if flags&unix.O_NOATIME != 0 && old&unix.O_NOATIME == 0 && !OwnerOrCapable(ctx, i) {
		return unix.EPERM
	}
	if s, ok := f.Ops.(FlagsSetter); ok {
		if err := s.SetFlags(f, old, old&^setflMask|flags&setflMask); err != nil {
			return err
		}
	}
	if (flags^old)&unix.O_ASYNC != 0 {
		f.setAsync(flags&unix.O_ASYNC != 0)
	}
	f.changeFlags(setflMask, flags)
	return nil
}

func (f *File) changeFlags(mask, flags uint32) {
	for {
		old := f.flags.Load()
		if f.flags.CompareAndSwap(old, old&^mask|flags&mask) {
			return
		}
	}
}

// ioFlags are the flags of an operation: the file's and those given.
func (f *File) ioFlags(flags IOFlags) IOFlags {
	fl := f.flags.Load()
	if fl&unix.O_NONBLOCK != 0 {
		flags |= IONonblock
	}
	if fl&(unix.O_APPEND|unix.O_SYNC|unix.O_DSYNC) != 0 {
		if fl&unix.O_APPEND != 0 {
			flags |= IOAppend
		}
		if fl&(unix.O_SYNC|unix.O_DSYNC) != 0 {
			flags |= IOSync
		}
	}
	return flags
}

// Read is read(2) and readv(2).
func (f *File) Read(ctx Context, dst *usermem.IO, flags IOFlags) (int64, error) {
	if f.mode&modeRead == 0 {
		return 0, unix.EBADF
	}
	if f.mode&modeStream != 0 {
		return f.read(ctx, dst, 0, f.ioFlags(flags), false)
	}
	return f.read(ctx, dst, -1, f.ioFlags(flags), true)
}

// PRead is pread64(2) and preadv(2).
func (f *File) PRead(ctx Context, dst *usermem.IO, off int64, flags IOFlags) (int64, error) {
	switch {
	case off < 0:
		return 0, unix.EINVAL
	case f.mode&modePath != 0:
		return 0, unix.EBADF
	case f.mode&modeStream != 0:
		return 0, unix.ESPIPE
	case f.mode&modeRead == 0:
		return 0, unix.EBADF
	}
	return f.read(ctx, dst, off, f.ioFlags(flags), false)
}

func (f *File) read(ctx Context, dst *usermem.IO, off int64, flags IOFlags, usePos bool) (int64, error) {
	if dst.Len() > maxRW {
		*dst = dst.Limit(maxRW)
	}
	n, err := f.readOnce(ctx, dst, off, flags, usePos)
	if err == unix.EAGAIN && flags&IONonblock == 0 {
		w := waitq.GetWaiter()
		f.Ops.EventRegister(&w.Entry, waitq.Readable|waitq.RdHup)
		for {
			if n, err = f.readOnce(ctx, dst, off, flags, usePos); err != unix.EAGAIN {
				break
			}
			if err = w.Wait(ctx, -1); err != nil {
				break
			}
		}
		f.Ops.EventUnregister(&w.Entry)
		w.Put()
	}
	if n > 0 {
		f.notify(unix.IN_ACCESS)
		return n, nil
	}
	return n, err
}

func (f *File) readOnce(ctx Context, dst *usermem.IO, off int64, flags IOFlags, usePos bool) (int64, error) {
	if !usePos {
		n, err := f.Ops.Read(ctx, f, dst, off, flags)
		if f.mode&modeStream == 0 {
			if err == nil {
				f.accessed()
			} else if err == unix.EINVAL && f.Inode().IsDir() {
				err = unix.EISDIR
			}
		}
		return n, err
	}
	f.lockPos(flags)
	n, err := f.Ops.Read(ctx, f, dst, f.pos, flags)
	if n > 0 && f.mode&modeTimeless == 0 {
		f.pos += n
	}
	f.unlockPos(flags)
	if err == nil {
		f.accessed()
	} else if err == unix.EINVAL && f.Inode().IsDir() {
		err = unix.EISDIR
	}
	return n, err
}

// Write is write(2) and writev(2).
func (f *File) Write(ctx Context, src *usermem.IO, flags IOFlags) (int64, error) {
	if f.mode&modeWrite == 0 {
		return 0, unix.EBADF
	}
	if src.Len() > maxRW {
		*src = src.Limit(maxRW)
	}
	if f.mode&modeStream == 0 {
		return f.write(ctx, src, -1, f.ioFlags(flags), true)
	}
	return f.writeStream(ctx, src, f.ioFlags(flags))
}

// PWrite is pwrite64(2) and pwritev(2).
func (f *File) PWrite(ctx Context, src *usermem.IO, off int64, flags IOFlags) (int64, error) {
	switch {
	case off < 0:
		return 0, unix.EINVAL
	case f.mode&modePath != 0:
		return 0, unix.EBADF
	case f.mode&modeStream != 0:
		return 0, unix.ESPIPE
	case f.mode&modeWrite == 0:
		return 0, unix.EBADF
	}
	if src.Len() > maxRW {
		*src = src.Limit(maxRW)
	}
	return f.write(ctx, src, off, f.ioFlags(flags), false)
}

// A QuietWriter is FileOps that may give EPIPE without the SIGPIPE that goes with it: sockets that are no streams.
type QuietWriter interface {
	QuietEPIPE() bool
}

// writeStream writes all of src, unless the file does not block.
func (f *File) writeStream(ctx Context, src *usermem.IO, flags IOFlags) (int64, error) {
	var total int64
	var w *waitq.Waiter
	var err error
	for {
		before := src.Len()
		var n int64
		n, _, err = f.Ops.Write(ctx, f, src, 0, flags)
		if n > 0 {
			total += n
			if moved := int64(before - src.Len()); moved < n {
				*src = src.Skip(uint64(n - moved))
			}
			if err == nil && src.Len() > 0 && flags&IONonblock == 0 {
				continue
			}
		}
		if err != unix.EAGAIN || flags&IONonblock != 0 {
			break
		}
		if w == nil {
			w = waitq.GetWaiter()
			f.Ops.EventRegister(&w.Entry, waitq.Writable)
			continue
		}
		if err = w.Wait(ctx, -1); err != nil {
			break
		}
	}
	if w != nil {
		f.Ops.EventUnregister(&w.Entry)
		w.Put()
	}
	if err == unix.EPIPE {
		if q, ok := f.Ops.(QuietWriter); !ok || !q.QuietEPIPE() {
			ctx.Signal(unix.SIGPIPE)
		}
	}
	if total > 0 {
		f.notify(unix.IN_MODIFY)
		return total, nil
	}
	return 0, err
}

func (f *File) write(ctx Context, src *usermem.IO, off int64, flags IOFlags, usePos bool) (int64, error) {
	n, err := f.writeOnce(ctx, src, off, flags, usePos)
	if err == unix.EAGAIN && flags&IONonblock == 0 {
		w := waitq.GetWaiter()
		f.Ops.EventRegister(&w.Entry, waitq.Writable)
		for {
			if n, err = f.writeOnce(ctx, src, off, flags, usePos); err != unix.EAGAIN {
				break
			}
			if err = w.Wait(ctx, -1); err != nil {
				break
			}
		}
		f.Ops.EventUnregister(&w.Entry)
		w.Put()
	}
	if n > 0 {
		f.notify(unix.IN_MODIFY)
		return n, nil
	}
	return n, err
}

// lockPos and unlockPos enclose what uses the position.
func (f *File) lockPos(flags IOFlags) {
	if flags&IOAlone == 0 {
		f.posMu.Lock()
	}
}

func (f *File) unlockPos(flags IOFlags) {
	if flags&IOAlone == 0 {
		f.posMu.Unlock()
	}
}

func (f *File) writeOnce(ctx Context, src *usermem.IO, off int64, flags IOFlags, usePos bool) (int64, error) {
	if !usePos {
		n, _, err := f.writeAt(ctx, src, off, flags)
		return n, err
	}
	f.lockPos(flags)
	n, newOff, err := f.writeAt(ctx, src, f.pos, flags)
	if n > 0 {
		f.pos = newOff
	}
	f.unlockPos(flags)
	return n, err
}

// writeAt writes at off, and returns where the next write goes.
func (f *File) writeAt(ctx Context, src *usermem.IO, off int64, flags IOFlags) (int64, int64, error) {
	i := f.Inode()
	if !i.IsRegular() {
		return f.Ops.Write(ctx, f, src, off, flags)
	}
	i.WriteMu.Lock()
	defer i.WriteMu.Unlock()
	if src.Len() == 0 {
		return 0, 0, nil
	}
	at := off
	if flags&IOAppend != 0 {
		a, err := i.Ops.GetAttr(ctx, i)
		if err != nil {
			return 0, 0, err
		}
		at = a.Size
	}
	limit := uint64(i.SB.MaxBytes)
	if l := ctx.Limit(unix.RLIMIT_FSIZE); l < limit {
		limit = l
		if uint64(at) >= l {
			ctx.Signal(unix.SIGXFSZ)
			return 0, 0, unix.EFBIG
		}
	}
	if uint64(at) >= limit {
		return 0, 0, unix.EFBIG
	}
	if err := removePrivs(ctx, i, f); err != nil {
		return 0, 0, err
	}
	part := src
	var limited usermem.IO
	if room := limit - uint64(at); src.Len() > room {
		limited = src.Limit(room)
		part = &limited
	}
	n, newOff, err := f.Ops.Write(ctx, f, part, off, flags)
	if part == &limited && n > 0 {
		*src = src.Skip(uint64(n))
	}
	return n, newOff, err
}

// removePrivs drops setuid and setgid bits and file capabilities when content changes.
func removePrivs(ctx Context, i *Inode, f *File) error {
	if i.noSec.Load() {
		return nil
	}
	m := i.Mode()
	kill := m&unix.S_ISUID != 0 || m&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP
	if kill {
		uid, gid := i.owner()
		if ctx.Cred().HasWRTInode(uid, gid, unix.CAP_FSETID) {
			kill = false
		}
	}
	if !kill {
		if _, err := i.Ops.GetXattr(ctx, i, "security.capability"); err == nil {
			kill = true
		} else if m&(unix.S_ISUID|unix.S_ISGID) == 0 {
			i.noSec.Store(true)
		}
	}
	if !kill {
		return nil
	}
	return i.Ops.SetAttr(ctx, i, &SetAttr{Valid: AttrKillPriv, File: f})
}

// ReadKernel reads for the kernel itself at off, until p is full or the file ends. It returns
// fewer bytes than len(p) only at the end of file or with an error.
func (f *File) ReadKernel(p []byte, off int64) (int, error) {
	done := 0
	ctx := KernelContext()
	for done < len(p) {
		dst := usermem.Bytes(p[done:])
		n, err := f.Ops.Read(ctx, f, &dst, off+int64(done), 0)
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += int(n)
	}
	return done, nil
}

// WriteKernel writes p at off for the kernel itself (core dumps, accounting).
func (f *File) WriteKernel(p []byte, off int64) (int, error) {
	src := usermem.Bytes(p)
	n, err := f.write(KernelContext(), &src, off, f.ioFlags(0), false)
	return int(n), err
}

// Pos is the position, for /proc/PID/fdinfo.
func (f *File) Pos() int64 {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	return f.pos
}

// Seek is lseek(2).
func (f *File) Seek(ctx Context, off int64, whence int) (int64, error) {
	return f.seek(ctx, off, whence, 0)
}

// Seek is File.Seek.
func (u Use) Seek(ctx Context, off int64, whence int) (int64, error) {
	return u.seek(ctx, off, whence, u.IOFlags())
}

func (f *File) seek(ctx Context, off int64, whence int, flags IOFlags) (int64, error) {
	if f.mode&modePath != 0 {
		return 0, unix.EBADF
	}
	if whence < 0 || whence > unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	f.lockPos(flags)
	n, err := f.Ops.Seek(ctx, f, f.pos, off, whence)
	if err == nil {
		f.pos = n
	}
	f.unlockPos(flags)
	return n, err
}

// GenericSeek is Seek for a file of the given size without holes. Directories pass their largest
// position as size.
func GenericSeek(pos, off int64, whence int, size, max int64) (int64, error) {
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		if off > 0 && pos > max-off {
			return 0, unix.EINVAL
		}
		off += pos
	case unix.SEEK_END:
		if off > 0 && size > max-off {
			return 0, unix.EINVAL
		}
		off += size
	case unix.SEEK_DATA:
		if off < 0 || off >= size {
			return 0, unix.ENXIO
		}
	case unix.SEEK_HOLE:
		if off < 0 || off >= size {
			return 0, unix.ENXIO
		}
		off = size
	default:
		return 0, unix.EINVAL
	}
	if off < 0 || off > max {
		return 0, unix.EINVAL
	}
	return off, nil
}

// ReadDir is getdents64(2): emit returns false when it has no more room.
func (f *File) ReadDir(ctx Context, emit func(Dirent) bool) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	if !f.Inode().IsDir() {
		return unix.ENOTDIR
	}
	f.posMu.Lock()
	defer f.posMu.Unlock()
	if f.Path.Dentry.has(dDeadDir) {
		return unix.ENOENT
	}
	pos, err := f.Ops.ReadDir(ctx, f, f.pos, emit)
	f.pos = pos
	if err == nil {
		f.accessed()
		f.notify(unix.IN_ACCESS)
	}
	return err
}

// MMap prepares opts for mapping the file: it checks what the file was opened for and the mount,
// asks the file for its pages, and fills in what /proc/PID/maps shows. On success opts.File
// holds a reference on f until mm releases it.
func (f *File) MMap(ctx Context, opts *mm.MMapOpts) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	shared := opts.Flags&unix.MAP_TYPE != unix.MAP_PRIVATE
	maxProt := platform.Read | platform.Write | platform.Exec
	if shared && f.mode&modeWrite == 0 {
		if opts.Prot&unix.PROT_WRITE != 0 {
			return unix.EACCES
		}
		maxProt &^= platform.Write
	}
	if shared && opts.Prot&unix.PROT_WRITE != 0 && isAppend(f.Inode()) {
		return unix.EACCES
	}
	if f.mode&modeRead == 0 {
		return unix.EACCES
	}
	if f.Path.Mount.NoExec() {
		if opts.Prot&unix.PROT_EXEC != 0 {
			return unix.EPERM
		}
		maxProt &^= platform.Exec
	}
	if err := f.Ops.MMap(ctx, f, opts); err != nil {
		return err
	}
	m := opts.File
	if m == nil {
		return nil
	}
	if m.MaxProt == 0 {
		m.MaxProt = maxProt
	} else {
		m.MaxProt &= maxProt
	}
	if m.Owner == nil {
		m.Owner = f
	}
	if m.Name == nil {
		m.Name = func() string { return PathString(f.Path, Path{}) }
	}
	if m.Ino == 0 {
		m.Ino = f.Inode().Ino
	}
	if m.Dev == 0 && f.Inode().SB != nil {
		m.Dev = f.Inode().SB.Dev
	}
	f.IncRef()
	release := m.Release
	m.Release = func() {
		if release != nil {
			release()
		}
		f.DecRef()
	}
	f.accessed()
	return nil
}

// Sync is fsync(2), fdatasync(2) and sync_file_range(2); length < 0 means to the end.
func (f *File) Sync(ctx Context, off, length int64, dataOnly bool) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	return f.Ops.Sync(ctx, f, off, length, dataOnly)
}

// Allocate is fallocate(2).
func (f *File) Allocate(ctx Context, mode uint32, off, length int64) error {
	const all = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_COLLAPSE_RANGE |
		unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_INSERT_RANGE | unix.FALLOC_FL_UNSHARE_RANGE
	const excl = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_INSERT_RANGE
	i := f.Inode()
	switch {
	case f.mode&modePath != 0:
		return unix.EBADF
	case off < 0 || length <= 0:
		return unix.EINVAL
	case mode&^all != 0:
		return unix.EOPNOTSUPP
	}
	switch mode & excl {
	case 0, unix.FALLOC_FL_ZERO_RANGE:
	case unix.FALLOC_FL_PUNCH_HOLE:
		if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
			return unix.EOPNOTSUPP
		}
	case unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE:
		if mode&unix.FALLOC_FL_KEEP_SIZE != 0 {
			return unix.EINVAL
		}
	default:
		return unix.EINVAL
	}
	if f.mode&modeWrite == 0 {
		return unix.EBADF
	}
	if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 && isAppend(i) || isImmutable(i) {
		return unix.EPERM
	}
	switch i.Type() {
	case unix.S_IFIFO:
		return unix.ESPIPE
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG, unix.S_IFBLK:
	default:
		return unix.ENODEV
	}
	if off > i.SB.MaxBytes-length {
		return unix.EFBIG
	}
	i.WriteMu.Lock()
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 && mode&(unix.FALLOC_FL_COLLAPSE_RANGE) == 0 {
		if l := ctx.Limit(unix.RLIMIT_FSIZE); uint64(off+length) > l {
			i.WriteMu.Unlock()
			ctx.Signal(unix.SIGXFSZ)
			return unix.EFBIG
		}
	}
	err := removePrivs(ctx, i, f)
	if err == nil {
		err = f.Ops.Allocate(ctx, f, mode, off, length)
	}
	i.WriteMu.Unlock()
	if err == nil {
		f.notify(unix.IN_MODIFY)
	}
	return err
}

// Readiness asks which of the events hold now.
func (f *File) Readiness(mask waitq.Events) waitq.Events { return f.Ops.Readiness(mask) }

// EventRegister adds e to those who are told of events.
func (f *File) EventRegister(e *waitq.Entry, mask waitq.Events) { f.Ops.EventRegister(e, mask) }

// EventUnregister takes it away.
func (f *File) EventUnregister(e *waitq.Entry) { f.Ops.EventUnregister(e) }

// WaitReady waits until one of the events in mask, or an error, holds; a timeout >= 0 ends it
// with ETIMEDOUT.
func (f *File) WaitReady(ctx Context, mask waitq.Events, timeout time.Duration) (waitq.Events, error) {
	mask |= waitq.Always
	if e := f.Ops.Readiness(mask) & mask; e != 0 {
		return e, nil
	}
	var deadline time.Time
	if timeout >= 0 {
		deadline = time.Now().Add(timeout)
	}
	w := waitq.GetWaiter()
	f.Ops.EventRegister(&w.Entry, mask)
	defer func() {
		f.Ops.EventUnregister(&w.Entry)
		w.Put()
	}()
	for {
		if e := f.Ops.Readiness(mask) & mask; e != 0 {
			return e, nil
		}
		if timeout >= 0 {
			timeout = max(time.Until(deadline), 0)
		}
		if err := w.Wait(ctx, timeout); err != nil {
			return 0, err
		}
	}
}

// FullPath is the file's path as /proc/PID/fd shows it to a task with the given root.
func (f *File) FullPath(root Path) string { return PathString(f.Path, root) }

// Owner is who gets SIGIO.
func (f *File) Owner() FileOwner {
	f.ownerMu.Lock()
	defer f.ownerMu.Unlock()
	return f.owner
}

// SetOwner is F_SETOWN_EX; F_SETSIG goes through here too.
func (f *File) SetOwner(o FileOwner) {
	f.ownerMu.Lock()
	f.owner = o
	f.ownerMu.Unlock()
}

// signalOwner sends SIGIO, or what F_SETSIG chose. No lock may be held.
func (f *File) signalOwner(code int32, band int64) {
	o := f.Owner()
	if o.ID == 0 || o.Send == nil {
		return
	}
	sig := unix.Signal(o.Signal)
	if sig == 0 {
		sig = unix.SIGIO
	}
	o.Send(sig, code, band, -1)
}

// setAsync starts or ends SIGIO on events (O_ASYNC).
func (f *File) setAsync(on bool) {
	f.ownerMu.Lock()
	e := f.async
	if on == (e != nil) {
		f.ownerMu.Unlock()
		return
	}
	if on {
		e = &waitq.Entry{Notify: func(ev waitq.Events) bool {
			// POLL_IN, POLL_OUT, POLL_ERR, POLL_HUP as si_code.
			code := int32(1)
			switch {
			case ev&waitq.Hup != 0:
				code = 6
			case ev&waitq.Err != 0:
				code = 4
			case ev&waitq.In == 0 && ev&waitq.Out != 0:
				code = 2
			}
			go f.signalOwner(code, int64(ev)) // the queue's lock is held
			return true
		}}
		f.async = e
	} else {
		f.async = nil
	}
	f.ownerMu.Unlock()
	if on {
		f.Ops.EventRegister(e, waitq.Readable|waitq.Writable|waitq.Pri)
	} else {
		f.Ops.EventUnregister(e)
	}
}

// Ioctl is ioctl(2), but for FIOCLEX and FIONCLEX, which are the descriptor's. The argument is an
// address or a value as cmd says.
func (f *File) Ioctl(ctx Context, cmd uint32, arg uint64) (uint64, error) {
	if f.mode&modePath != 0 {
		return 0, unix.EBADF
	}
	m := ctx.Memory()
	i := f.Inode()
	const (
		fionbio      = 0x5421
		fioasync     = 0x5452
		fioqsize     = 0x5460
		fionread     = 0x541b
		figetbsz     = 2
		fibmap       = 1
		ficlone      = 0x40049409
		ficlonerange = 0x4020940d
		fideduperng  = 0xc0189436
		fifreeze     = 0xc0045877
		fithaw       = 0xc0045878
		getflags     = 0x80086601
		setflags     = 0x40086602
	)
	switch cmd {
	case fionbio, fioasync:
		var on int32
		if err := usermem.CopyObjectIn(m, usermem.Addr(arg), &on); err != nil {
			return 0, err
		}
		bit := uint32(unix.O_NONBLOCK)
		if cmd == fioasync {
			bit = unix.O_ASYNC
			f.setAsync(on != 0)
		}
		old := f.flags.Load()
		n := old &^ bit
		if on != 0 {
			n |= bit
		}
		if s, ok := f.Ops.(FlagsSetter); ok && n != old {
			if err := s.SetFlags(f, old, n); err != nil {
				return 0, err
			}
		}
		f.changeFlags(bit, n)
		return 0, nil
	case fioqsize:
		switch i.Type() {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			a, err := i.Ops.GetAttr(ctx, i)
			if err != nil {
				return 0, err
			}
			return 0, usermem.CopyObjectOut(m, usermem.Addr(arg), &a.Size)
		}
		return 0, unix.ENOTTY
	case figetbsz:
		size := int32(i.SB.BlockSize)
		return 0, usermem.CopyObjectOut(m, usermem.Addr(arg), &size)
	case fionread:
		if i.IsRegular() {
			a, err := i.Ops.GetAttr(ctx, i)
			if err != nil {
				return 0, err
			}
			n := int32(min(max(a.Size-f.Pos(), -1<<31), 1<<31-1))
			return 0, usermem.CopyObjectOut(m, usermem.Addr(arg), &n)
		}
	case ficlone, ficlonerange, fideduperng:
		if !i.IsRegular() {
			return 0, unix.EINVAL
		}
		return 0, unix.EOPNOTSUPP
	case fibmap:
		if !i.IsRegular() {
			break
		}
		return 0, unix.EINVAL
	case fifreeze, fithaw:
		return 0, unix.EOPNOTSUPP
	case getflags, setflags:
		if i.SB.InodeFlags && (i.IsRegular() || i.IsDir()) {
			return 0, f.inodeFlags(ctx, cmd == setflags, usermem.Addr(arg))
		}
	}
	return f.Ops.Ioctl(ctx, f, cmd, arg)
}

// inodeFlags is FS_IOC_GETFLAGS and FS_IOC_SETFLAGS. The flags have the same bits as STATX_ATTR_*.
func (f *File) inodeFlags(ctx Context, set bool, addr usermem.Addr) error {
	const known = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP
	i := f.Inode()
	flags := uint32(i.attrFlags.Load() & known)
	if !set {
		return usermem.CopyObjectOut(ctx.Memory(), addr, &flags)
	}
	var want uint32
	if err := usermem.CopyObjectIn(ctx.Memory(), addr, &want); err != nil {
		return err
	}
	if err := f.Path.WantWrite(); err != nil {
		return err
	}
	if want&^known != 0 {
		return unix.EOPNOTSUPP
	}
	if !OwnerOrCapable(ctx, i) {
		return unix.EPERM
	}
	if (want^flags)&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 && !ctx.Cred().HasInitial(unix.CAP_LINUX_IMMUTABLE) {
		return unix.EPERM
	}
	return ChangeInodeFlags(ctx, i, func(a *Attr) {
		a.Flags = a.Flags&^known | uint64(want)
		a.Ctime = Now()
	})
}

// An InodeFlagsKeeper is InodeOps whose flags are those of another inode: overlay.
type InodeFlagsKeeper interface {
	ChangeFlags(ctx Context, i *Inode, change func(*Attr)) error
}

// ChangeInodeFlags changes the flags of i, on a file system with Superblock.InodeFlags.
func ChangeInodeFlags(ctx Context, i *Inode, change func(*Attr)) error {
	if k, ok := i.Ops.(InodeFlagsKeeper); ok {
		return k.ChangeFlags(ctx, i, change)
	}
	i.UpdateAttr(change)
	return nil
}
