package vfs

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FDTable is a table of descriptors (Linux: struct files_struct), shared by tasks made with
// CLONE_FILES. It is the owner of POSIX locks. Looking a descriptor up takes no lock.
type FDTable struct {
	refs atomic.Int64
	// files is an array of which the elements are replaced in place; it is replaced by a larger one.
	files atomic.Pointer[[]atomic.Pointer[File]]

	// mu is held over all changes, and protects what is below.
	mu      sync.Mutex
	used    []uint64 // bit set: the descriptor is open
	cloexec []uint64
	free    int32 // no descriptor below is free
}

// NewFDTable returns an empty table with one reference.
func NewFDTable() *FDTable {
	t := &FDTable{}
	t.refs.Store(1)
	t.setSize(64)
	return t
}

func (t *FDTable) setSize(n int) {
	files := make([]atomic.Pointer[File], n)
	if old := t.files.Load(); old != nil {
		for i := range *old {
			files[i].Store((*old)[i].Load())
		}
	}
	t.files.Store(&files)
	t.used = append(t.used, make([]uint64, n/64-len(t.used))...)
	t.cloexec = append(t.cloexec, make([]uint64, n/64-len(t.cloexec))...)
}

// IncRef shares the table with a further task.
func (t *FDTable) IncRef() { t.refs.Add(1) }

// Shared tells whether more than one task uses the table.
func (t *FDTable) Shared() bool { return t.refs.Load() > 1 }

// DecRef is for a task that exits or unshares; the last one closes all descriptors.
func (t *FDTable) DecRef(ctx Context) {
	if t.refs.Add(-1) != 0 {
		return
	}
	t.closeIf(ctx, 0, ^uint32(0), func(int32) bool { return true })
}

// Get returns the file of a descriptor, with a reference; EBADF if it is not open.
func (t *FDTable) Get(fd int32) (*File, error) {
	for {
		files := *t.files.Load()
		if uint32(fd) >= uint32(len(files)) {
			return nil, unix.EBADF
		}
		f := files[fd].Load()
		if f == nil {
			return nil, unix.EBADF
		}
		if f.TryIncRef() {
			return f, nil
		}
	}
}

// Use is the file of a descriptor for the length of one system call (Linux: struct fd). It has a reference only where it needs one: in a
// table that no other task has, nobody takes a descriptor away while the task is in a call.
type Use struct {
	*File
	counted bool
}

// Use finds the file of a descriptor for a call of the only task that may be using the table now, or one of several; EBADF if it is not open. Done
// ends it.
func (t *FDTable) Use(fd int32) (Use, error) {
	if t.refs.Load() != 1 {
		f, err := t.Get(fd)
		return Use{f, true}, err
	}
	files := *t.files.Load()
	if uint32(fd) >= uint32(len(files)) {
		return Use{}, unix.EBADF
	}
	f := files[fd].Load()
	if f == nil {
		return Use{}, unix.EBADF
	}
	return Use{f, false}, nil
}

// Done gives up the file.
func (u Use) Done() {
	if u.counted {
		u.DecRef()
	}
}

// IOFlags are IOAlone if that is so.
func (u Use) IOFlags() IOFlags {
	if !u.counted && u.refs.Load() == 1 {
		return IOAlone
	}
	return 0
}

// GetFlags is Get with the close-on-exec flag.
func (t *FDTable) GetFlags(fd int32) (f *File, cloexec bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f = t.at(fd)
	if f == nil {
		return nil, false, unix.EBADF
	}
	f.IncRef()
	return f, t.cloexec[fd/64]>>(fd%64)&1 != 0, nil
}

// at is the file of fd or nil; with mu held.
func (t *FDTable) at(fd int32) *File {
	files := *t.files.Load()
	if uint32(fd) >= uint32(len(files)) {
		return nil
	}
	return files[fd].Load()
}

// findFree is the lowest free descriptor >= min; with mu held.
func (t *FDTable) findFree(min int32) int32 {
	if min < t.free {
		min = t.free
	}
	w := int(min / 64)
	mask := ^uint64(0) << (min % 64)
	for ; w < len(t.used); w++ {
		if x := ^t.used[w] & mask; x != 0 {
			return int32(w*64 + bits.TrailingZeros64(x))
		}
		mask = ^uint64(0)
	}
	if n := int32(len(t.used) * 64); n > min {
		return n
	}
	return min
}

// put stores f at fd, which is below the limit; with mu held. It returns what was there.
func (t *FDTable) put(fd int32, f *File, cloexec bool) *File {
	n := len(t.used) * 64
	if int(fd) >= n {
		for n <= int(fd) {
			n *= 2
		}
		t.setSize(n)
	}
	bit := uint64(1) << (fd % 64)
	t.used[fd/64] |= bit
	if cloexec {
		t.cloexec[fd/64] |= bit
	} else {
		t.cloexec[fd/64] &^= bit
	}
	return (*t.files.Load())[fd].Swap(f)
}

// take empties fd; with mu held.
func (t *FDTable) take(fd int32) *File {
	f := (*t.files.Load())[fd].Swap(nil)
	t.used[fd/64] &^= 1 << (fd % 64)
	t.cloexec[fd/64] &^= 1 << (fd % 64)
	if fd < t.free {
		t.free = fd
	}
	return f
}

// maxFD bounds tables whatever the limit says (/proc/sys/fs/nr_open).
const maxFD = 1 << 20

// NewFD gives f the lowest free descriptor >= min, and takes over the caller's reference
// unless it fails: EMFILE if that would not be below limit (RLIMIT_NOFILE).
func (t *FDTable) NewFD(min int32, f *File, cloexec bool, limit uint64) (int32, error) {
	if min < 0 {
		return 0, unix.EINVAL
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fd := t.findFree(min)
	if uint64(fd) >= limit || fd >= maxFD {
		return 0, unix.EMFILE
	}
	t.put(fd, f, cloexec)
	if min <= t.free {
		t.free = fd + 1
	}
	return fd, nil
}

// SetCloexec is FIOCLEX, FIONCLEX and F_SETFD.
func (t *FDTable) SetCloexec(fd int32, on bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at(fd) == nil {
		return unix.EBADF
	}
	if on {
		t.cloexec[fd/64] |= 1 << (fd % 64)
	} else {
		t.cloexec[fd/64] &^= 1 << (fd % 64)
	}
	return nil
}

// Dup is dup(2) and F_DUPFD: old gets a further descriptor >= min.
func (t *FDTable) Dup(ctx Context, old int32, min int32, cloexec bool, limit uint64) (int32, error) {
	f, err := t.Get(old)
	if err != nil {
		return 0, err
	}
	if min < 0 || uint64(min) >= limit && min > 0 {
		f.DecRef()
		return 0, unix.EINVAL
	}
	fd, err := t.NewFD(min, f, cloexec, limit)
	if err != nil {
		f.DecRef()
	}
	return fd, err
}

// Dup3 makes new a descriptor of what old is; what new was is closed. The caller has dealt with
// old == new: dup2 succeeds (if old is open), dup3 gives EINVAL.
func (t *FDTable) Dup3(ctx Context, old, new int32, cloexec bool, limit uint64) (int32, error) {
	if new < 0 || uint64(new) >= limit || new >= maxFD {
		return 0, unix.EBADF
	}
	f, err := t.Get(old)
	if err != nil {
		return 0, err
	}
	if old == new {
		f.DecRef()
		return new, nil
	}
	t.mu.Lock()
	was := t.put(new, f, cloexec)
	t.mu.Unlock()
	if was != nil {
		_ = t.closeFile(ctx, was)
	}
	return new, nil
}

// Install makes fd a descriptor of f, and takes over the caller's reference; what it was is closed.
func (t *FDTable) Install(ctx Context, fd int32, f *File, cloexec bool, limit uint64) error {
	if fd < 0 || uint64(fd) >= limit || fd >= maxFD {
		return unix.EBADF
	}
	t.mu.Lock()
	was := t.put(fd, f, cloexec)
	t.mu.Unlock()
	if was != nil {
		_ = t.closeFile(ctx, was)
	}
	return nil
}

// closeFile is what closing a descriptor does besides emptying it (Linux: filp_close).
func (t *FDTable) closeFile(ctx Context, f *File) error {
	var err error
	if f.mode&modePath == 0 {
		err = f.Ops.Flush(ctx, f)
		f.Inode().dropPosix(t)
		f.dropDnotify(t)
	}
	f.DecRef()
	return err
}

// Close is close(2). The descriptor is free whatever the error.
func (t *FDTable) Close(ctx Context, fd int32) error {
	t.mu.Lock()
	if t.at(fd) == nil {
		t.mu.Unlock()
		return unix.EBADF
	}
	f := t.take(fd)
	t.mu.Unlock()
	return t.closeFile(ctx, f)
}

// CloseRange is close_range(2), but for CLOSE_RANGE_UNSHARE; cloexec only marks.
func (t *FDTable) CloseRange(ctx Context, first, last uint32, cloexec bool) error {
	if first > last {
		return unix.EINVAL
	}
	if !cloexec {
		t.closeIf(ctx, first, last, func(int32) bool { return true })
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd := uint64(first); fd <= uint64(last) && fd < uint64(len(t.used)*64); fd++ {
		t.cloexec[fd/64] |= t.used[fd/64] & (1 << (fd % 64))
	}
	return nil
}

// CloseOnExec closes what is marked so.
func (t *FDTable) CloseOnExec(ctx Context) {
	t.closeIf(ctx, 0, ^uint32(0), func(fd int32) bool { return t.cloexec[fd/64]>>(fd%64)&1 != 0 })
}

// closeIf closes the descriptors in a range for which f says so; f runs with mu held.
func (t *FDTable) closeIf(ctx Context, first, last uint32, f func(fd int32) bool) {
	for w := int(first / 64); ; w++ {
		t.mu.Lock()
		if w >= len(t.used) || uint32(w)*64 > last {
			t.mu.Unlock()
			return
		}
		var gone [64]*File
		n := 0
		for x := t.used[w]; x != 0; x &= x - 1 {
			fd := int32(w*64 + bits.TrailingZeros64(x))
			if uint32(fd) >= first && uint32(fd) <= last && f(fd) {
				gone[n] = t.take(fd)
				n++
			}
		}
		t.mu.Unlock()
		for _, g := range gone[:n] {
			_ = t.closeFile(ctx, g)
		}
	}
}

// Clone is a copy for a task made without CLONE_FILES.
func (t *FDTable) Clone() *FDTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	words := len(t.used)
	for words > 1 && t.used[words-1] == 0 {
		words--
	}
	n := &FDTable{free: t.free}
	n.refs.Store(1)
	n.setSize(words * 64)
	copy(n.used, t.used)
	copy(n.cloexec, t.cloexec)
	from, to := *t.files.Load(), *n.files.Load()
	for i := range to {
		if f := from[i].Load(); f != nil {
			f.IncRef()
			to[i].Store(f)
		}
	}
	return n
}

// ForEach calls f for the open descriptors in ascending order, until it returns false. The file
// has a reference only during the call.
func (t *FDTable) ForEach(f func(fd int32, file *File, cloexec bool) bool) {
	for fd := int32(0); ; fd++ {
		t.mu.Lock()
		w := int(fd / 64)
		for w < len(t.used) && t.used[w]>>(fd%64) == 0 {
			w++
			fd = int32(w * 64)
		}
		if w >= len(t.used) {
			t.mu.Unlock()
			return
		}
		fd += int32(bits.TrailingZeros64(t.used[w] >> (fd % 64)))
		file := t.at(fd)
		cloexec := t.cloexec[w]>>(fd%64)&1 != 0
		file.IncRef()
		t.mu.Unlock()
		more := f(fd, file, cloexec)
		file.DecRef()
		if !more {
			return
		}
	}
}

// Count is the number of open descriptors.
func (t *FDTable) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, w := range t.used {
		n += bits.OnesCount64(w)
	}
	return n
}

// Size is how many descriptors the table has room for (FDSize of /proc/PID/status).
func (t *FDTable) Size() int { return len(*t.files.Load()) }
