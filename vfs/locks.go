package vfs

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// File locks (fcntl(2), flock(2)). Each inode that was ever locked has a fileLocks: POSIX
// locks are intervals, owned by a descriptor table (F_SETLK) or an open file (F_OFD_SETLK);
// flock locks are whole files, owned by an open file; leases are in lease.go.
//
// Who must wait registers a channel in waiters, and tries again whenever a lock of the inode
// goes. Before it waits for a POSIX lock it looks, in the registry's table of who waits for
// whom, whether the owner it would wait for waits (through others) for itself.

type lockKind uint8

const (
	lockPosix lockKind = iota
	lockOFD
	lockFlock
)

// fileLock is one lock. end is inclusive.
type fileLock struct {
	kind       lockKind
	write      bool
	owner      any // *FDTable or *File
	pid        int32
	start, end int64
}

const lockEOF = math.MaxInt64

func (l *fileLock) overlaps(o *fileLock) bool { return l.start <= o.end && o.start <= l.end }

// conflicts: locks of other owners, one of them for writing, on common bytes.
func (l *fileLock) conflicts(o *fileLock) bool {
	return l.owner != o.owner && (l.write || o.write) && l.overlaps(o)
}

type fileLocks struct {
	reg *Registry

	mu      sync.Mutex
	posix   []*fileLock // POSIX and OFD, by owner and start
	flocks  []*fileLock
	leases  []*lease
	waiters map[*lockWaiter]struct{}
}

type lockWaiter struct {
	want *fileLock
	ch   chan struct{}
}

// lockRegistry is the sandbox's view of locks: who waits for whom, and which inodes have locks.
type lockRegistry struct {
	mu      sync.Mutex
	blocked map[any]any // owner -> owner that it waits for
	inodes  map[*Inode]struct{}
}

func (i *Inode) fileLocks(reg *Registry) *fileLocks {
	if l := i.locks.Load(); l != nil {
		return l
	}
	l := &fileLocks{reg: reg, waiters: make(map[*lockWaiter]struct{})}
	if !i.locks.CompareAndSwap(nil, l) {
		return i.locks.Load()
	}
	if reg != nil {
		reg.lockList.mu.Lock()
		if reg.lockList.inodes == nil {
			reg.lockList.inodes = make(map[*Inode]struct{})
			reg.lockList.blocked = make(map[any]any)
		}
		reg.lockList.inodes[i] = struct{}{}
		reg.lockList.mu.Unlock()
	}
	return l
}

func (i *Inode) evictLocks() {
	if l := i.locks.Load(); l != nil && l.reg != nil {
		l.reg.lockList.mu.Lock()
		delete(l.reg.lockList.inodes, i)
		l.reg.lockList.mu.Unlock()
	}
}

// wake lets the waiters try again; with mu held.
func (l *fileLocks) wake() {
	for w := range l.waiters {
		select {
		case w.ch <- struct{}{}:
		default:
		}
	}
}

// wait blocks until a lock goes; want is what cannot be had now. mu is held, and released.
func (l *fileLocks) wait(ctx Context, w *lockWaiter) error {
	l.waiters[w] = struct{}{}
	l.mu.Unlock()
	err := ctx.Block(w.ch, -1)
	l.mu.Lock()
	delete(l.waiters, w)
	l.mu.Unlock()
	return err
}

// lockRange translates struct flock to an interval.
func (f *File) lockRange(ctx Context, fl *unix.Flock_t) (start, end int64, err error) {
	switch fl.Whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		start = f.Pos()
	case unix.SEEK_END:
		a, err := f.Inode().Ops.GetAttr(ctx, f.Inode())
		if err != nil {
			return 0, 0, err
		}
		start = a.Size
	default:
		return 0, 0, unix.EINVAL
	}
	if fl.Start > math.MaxInt64-start {
		return 0, 0, unix.EOVERFLOW
	}
	start += fl.Start
	if start < 0 {
		return 0, 0, unix.EINVAL
	}
	switch {
	case fl.Len > 0:
		if fl.Len-1 > math.MaxInt64-start {
			return 0, 0, unix.EOVERFLOW
		}
		end = start + fl.Len - 1
	case fl.Len < 0:
		if start+fl.Len < 0 {
			return 0, 0, unix.EINVAL
		}
		end = start - 1
		start += fl.Len
	default:
		end = lockEOF
	}
	return start, end, nil
}

// GetLock is F_GETLK and F_OFD_GETLK: fl becomes a lock that would be in the way, or F_UNLCK.
// owner is the caller's descriptor table.
func (f *File) GetLock(ctx Context, owner *FDTable, ofd bool, fl *unix.Flock_t) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	if fl.Type != unix.F_RDLCK && fl.Type != unix.F_WRLCK {
		return unix.EINVAL
	}
	start, end, err := f.lockRange(ctx, fl)
	if err != nil {
		return err
	}
	want := &fileLock{write: fl.Type == unix.F_WRLCK, owner: owner, start: start, end: end}
	if ofd {
		if fl.Pid != 0 {
			return unix.EINVAL
		}
		want.owner = f
	}
	l := f.Inode().locks.Load()
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, o := range l.posix {
			if want.conflicts(o) {
				fl.Type = unix.F_RDLCK
				if o.write {
					fl.Type = unix.F_WRLCK
				}
				fl.Whence = unix.SEEK_SET
				fl.Start, fl.Len = o.start, 0
				if o.end != lockEOF {
					fl.Len = o.end - o.start + 1
				}
				fl.Pid = o.pid
				return nil
			}
		}
	}
	fl.Type = unix.F_UNLCK
	return nil
}

// SetLock is F_SETLK, F_SETLKW (wait) and F_OFD_SETLK, F_OFD_SETLKW (ofd). owner is the caller's
// descriptor table.
func (f *File) SetLock(ctx Context, owner *FDTable, ofd, wait bool, fl *unix.Flock_t) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	start, end, err := f.lockRange(ctx, fl)
	if err != nil {
		return err
	}
	want := &fileLock{owner: owner, pid: ctx.TGID(), start: start, end: end}
	if ofd {
		if fl.Pid != 0 {
			return unix.EINVAL
		}
		want.kind, want.owner, want.pid = lockOFD, f, -1
	}
	unlock := false
	switch fl.Type {
	case unix.F_RDLCK:
		if f.mode&modeRead == 0 {
			return unix.EBADF
		}
	case unix.F_WRLCK:
		if f.mode&modeWrite == 0 {
			return unix.EBADF
		}
		want.write = true
	case unix.F_UNLCK:
		unlock = true
	default:
		return unix.EINVAL
	}
	i := f.Inode()
	if unlock && i.locks.Load() == nil {
		return nil
	}
	if ofd {
		f.locked.Store(true)
	}
	reg := f.Path.registry()
	if !unlock && reg != nil && reg.Memory.KernelRoom(false) != nil {
		return unix.ENOLCK
	}
	l := i.fileLocks(reg)
	var w *lockWaiter
	for {
		l.mu.Lock()
		var in *fileLock
		if !unlock {
			for _, o := range l.posix {
				if want.conflicts(o) {
					in = o
					break
				}
			}
		}
		if in == nil {
			l.apply(want, unlock)
			l.mu.Unlock()
			return nil
		}
		if !wait {
			l.mu.Unlock()
			return unix.EAGAIN
		}
		if !ofd && l.reg != nil && !l.reg.lockList.block(want.owner, in.owner) {
			l.mu.Unlock()
			return unix.EDEADLK
		}
		if w == nil {
			w = &lockWaiter{want: want, ch: make(chan struct{}, 1)}
		}
		err := l.wait(ctx, w)
		if !ofd && l.reg != nil {
			l.reg.lockList.unblock(want.owner)
		}
		if err != nil {
			return err
		}
	}
}

// block notes that owner waits for other; false if that would be a circle.
func (r *lockRegistry) block(owner, other any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for o, n := other, 0; n < 10; n++ {
		next, ok := r.blocked[o]
		if !ok {
			break
		}
		if next == owner {
			return false
		}
		o = next
	}
	r.blocked[owner] = other
	return true
}

func (r *lockRegistry) unblock(owner any) {
	r.mu.Lock()
	delete(r.blocked, owner)
	r.mu.Unlock()
}

// apply sets or clears want for its owner: its other locks are cut where they overlap, and
// joined where they touch and are of the same type. With mu held.
func (l *fileLocks) apply(want *fileLock, unlock bool) {
	var keep []*fileLock
	n := *want
	released := false
	for _, o := range l.posix {
		if o.owner != want.owner {
			keep = append(keep, o)
			continue
		}
		if !unlock && o.write == n.write {
			// The same type: join what overlaps or touches.
			if o.start <= satAdd(n.end, 1) && n.start <= satAdd(o.end, 1) {
				n.start, n.end = min(n.start, o.start), max(n.end, o.end)
				continue
			}
			keep = append(keep, o)
			continue
		}
		if !o.overlaps(want) {
			keep = append(keep, o)
			continue
		}
		released = true
		if o.start < want.start {
			left := *o
			left.end = want.start - 1
			keep = append(keep, &left)
		}
		if o.end > want.end {
			right := *o
			right.start = want.end + 1
			keep = append(keep, &right)
		}
	}
	if !unlock {
		keep = append(keep, &n)
	}
	slices.SortStableFunc(keep, func(a, b *fileLock) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	l.posix = keep
	if released {
		l.wake()
	}
}

func satAdd(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// dropOwner removes all locks of an owner in a list; with mu held.
func (l *fileLocks) dropOwner(owner any) {
	n := len(l.posix) + len(l.flocks)
	same := func(o *fileLock) bool { return o.owner == owner }
	l.posix = slices.DeleteFunc(l.posix, same)
	l.flocks = slices.DeleteFunc(l.flocks, same)
	if len(l.posix)+len(l.flocks) != n {
		l.wake()
	}
}

// dropPosix removes the POSIX locks of a process that closes some descriptor of the inode.
func (i *Inode) dropPosix(owner *FDTable) {
	l := i.locks.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	l.dropOwner(owner)
	l.mu.Unlock()
}

// dropLocks removes what was locked through f, which is being released.
func (f *File) dropLocks() {
	if !f.locked.Load() {
		return
	}
	l := f.Inode().locks.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	l.dropOwner(f)
	l.dropLease(f)
	l.mu.Unlock()
}

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB.
func (f *File) Flock(ctx Context, op int) error {
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	var write, unlock bool
	switch op &^ unix.LOCK_NB {
	case unix.LOCK_SH:
	case unix.LOCK_EX:
		write = true
	case unix.LOCK_UN:
		unlock = true
	default:
		return unix.EINVAL
	}
	if !unlock && f.mode&(modeRead|modeWrite) == 0 {
		return unix.EBADF
	}
	i := f.Inode()
	if unlock && i.locks.Load() == nil {
		return nil
	}
	l := i.fileLocks(f.Path.registry())
	f.locked.Store(true)
	want := &fileLock{kind: lockFlock, write: write, owner: f, pid: ctx.TGID(), end: lockEOF}
	var w *lockWaiter
	for {
		l.mu.Lock()
		mine := slices.IndexFunc(l.flocks, func(o *fileLock) bool { return o.owner == f })
		if mine >= 0 && !unlock && l.flocks[mine].write == write {
			l.mu.Unlock()
			return nil
		}
		if mine >= 0 {
			// A conversion gives the old lock up first.
			l.flocks = slices.Delete(l.flocks, mine, mine+1)
			l.wake()
		}
		if unlock {
			l.mu.Unlock()
			return nil
		}
		if !slices.ContainsFunc(l.flocks, want.conflicts) {
			l.flocks = append(l.flocks, want)
			l.mu.Unlock()
			return nil
		}
		if op&unix.LOCK_NB != 0 {
			l.mu.Unlock()
			return unix.EWOULDBLOCK
		}
		if w == nil {
			w = &lockWaiter{want: want, ch: make(chan struct{}, 1)}
		}
		if err := l.wait(ctx, w); err != nil {
			return err
		}
	}
}

// Locks is the text of /proc/locks. pid translates process ids for the reader (0: not visible).
func (r *Registry) Locks(pid func(int32) int32) string {
	r.lockList.mu.Lock()
	inodes := make([]*Inode, 0, len(r.lockList.inodes))
	for i := range r.lockList.inodes {
		inodes = append(inodes, i)
	}
	r.lockList.mu.Unlock()
	slices.SortFunc(inodes, func(a, b *Inode) int {
		if a.Ino < b.Ino {
			return -1
		}
		return 1
	})
	var b strings.Builder
	n := 0
	for _, i := range inodes {
		l := i.locks.Load()
		l.mu.Lock()
		for _, list := range [][]*fileLock{l.posix, l.flocks} {
			for _, x := range list {
				n++
				fmt.Fprintf(&b, "%d: %s", n, x.line(i, pid))
				for w := range l.waiters {
					if w.want.conflicts(x) && (w.want.kind == lockFlock) == (x.kind == lockFlock) {
						fmt.Fprintf(&b, "%d: -> %s", n, w.want.line(i, pid))
					}
				}
			}
		}
		for _, x := range l.leases {
			n++
			fmt.Fprintf(&b, "%d: %s", n, x.line(i, pid))
		}
		l.mu.Unlock()
	}
	return b.String()
}

// LocksOf are the lines of /proc/PID/fdinfo/FD about locks taken through f or by owner.
func (f *File) LocksOf(owner *FDTable) string {
	l := f.Inode().locks.Load()
	if l == nil {
		return ""
	}
	var b strings.Builder
	n := 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range [][]*fileLock{l.posix, l.flocks} {
		for _, x := range list {
			if x.owner == any(f) || x.owner == any(owner) {
				n++
				fmt.Fprintf(&b, "lock:\t%d: %s", n, x.line(f.Inode(), func(p int32) int32 { return p }))
			}
		}
	}
	return b.String()
}

func (x *fileLock) line(i *Inode, pid func(int32) int32) string {
	kind := [...]string{"POSIX ", "OFDLCK", "FLOCK "}[x.kind]
	typ := "READ "
	if x.write {
		typ = "WRITE"
	}
	p := x.pid
	if p > 0 && pid != nil {
		p = pid(p)
	}
	end := "EOF"
	if x.end != lockEOF {
		end = fmt.Sprint(x.end)
	}
	return fmt.Sprintf("%s ADVISORY  %s %d %02x:%02x:%d %d %s\n", kind, typ, p,
		unix.Major(i.SB.Dev), unix.Minor(i.SB.Dev), i.Ino, x.start, end)
}

// A lease tells its holder when somebody else is about to open the file (F_SETLEASE).
type lease struct {
	f     *File
	pid   int32
	write bool
	// While it is being broken: what it must become (F_RDLCK or F_UNLCK), and until when.
	breaking bool
	target   int16
	deadline time.Time
}

func (x *lease) line(i *Inode, pid func(int32) int32) string {
	state, typ := "ACTIVE   ", "READ "
	if x.breaking {
		state = "BREAKING "
	}
	if x.write {
		typ = "WRITE"
	}
	if x.breaking {
		typ = "UNLCK"
		if x.target == unix.F_RDLCK {
			typ = "READ "
		}
	}
	p := x.pid
	if pid != nil {
		p = pid(p)
	}
	return fmt.Sprintf("LEASE  %s %s %d %02x:%02x:%d 0 EOF\n", state, typ, p, unix.Major(i.SB.Dev), unix.Minor(i.SB.Dev), i.Ino)
}

// GetLease is F_GETLEASE.
func (f *File) GetLease() int16 {
	l := f.Inode().locks.Load()
	if l == nil {
		return unix.F_UNLCK
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.leases {
		if x.f == f {
			switch {
			case x.breaking:
				return x.target
			case x.write:
				return unix.F_WRLCK
			}
			return unix.F_RDLCK
		}
	}
	return unix.F_UNLCK
}

// SetLease is F_SETLEASE. def becomes the file's owner if it has none: who gets the signal.
func (f *File) SetLease(ctx Context, typ int16, def FileOwner) error {
	i := f.Inode()
	if f.mode&modePath != 0 {
		return unix.EBADF
	}
	uid, _ := i.owner()
	if c := ctx.Cred(); c.FSUID != uid && !c.HasInitial(unix.CAP_LEASE) {
		return unix.EACCES
	}
	if !i.IsRegular() {
		return unix.EINVAL
	}
	l := i.fileLocks(f.Path.registry())
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := slices.IndexFunc(l.leases, func(x *lease) bool { return x.f == f })
	switch typ {
	case unix.F_UNLCK:
		if mine < 0 {
			return unix.EAGAIN
		}
		l.leases = slices.Delete(l.leases, mine, mine+1)
		l.wake()
		return nil
	case unix.F_RDLCK:
		if i.writers.Load() > 0 {
			return unix.EAGAIN
		}
	case unix.F_WRLCK:
		if max(i.writers.Load(), 0)+i.readers.Load() > 1 {
			return unix.EAGAIN
		}
	default:
		return unix.EINVAL
	}
	for _, x := range l.leases {
		if x.f != f && (typ == unix.F_WRLCK || x.write || x.breaking) {
			return unix.EAGAIN
		}
	}
	if mine >= 0 {
		x := l.leases[mine]
		if x.breaking && !(x.target == unix.F_RDLCK && typ == unix.F_RDLCK) {
			return unix.EAGAIN
		}
		x.write, x.breaking = typ == unix.F_WRLCK, false
		l.wake()
		return nil
	}
	f.ownerMu.Lock()
	if f.owner.ID == 0 {
		sig := f.owner.Signal
		f.owner = def
		if def.Signal == 0 {
			f.owner.Signal = sig
		}
	}
	f.ownerMu.Unlock()
	f.locked.Store(true)
	l.leases = append(l.leases, &lease{f: f, pid: ctx.TGID(), write: typ == unix.F_WRLCK})
	return nil
}

func (l *fileLocks) dropLease(f *File) {
	if k := slices.IndexFunc(l.leases, func(x *lease) bool { return x.f == f }); k >= 0 {
		l.leases = slices.Delete(l.leases, k, k+1)
		l.wake()
	}
}

// breakLease asks the holders of leases that an open is in the way of to give them up, and
// waits until they have, or their time is over.
func breakLease(ctx Context, i *Inode, write, nonblock bool) error {
	l := i.locks.Load()
	if l == nil {
		return nil
	}
	var w *lockWaiter
	for {
		l.mu.Lock()
		now := time.Now()
		var until time.Time
		var holders []*File // to be told, with a reference
		for k := 0; k < len(l.leases); {
			x := l.leases[k]
			if !write && !x.write {
				k++
				continue
			}
			target := int16(unix.F_UNLCK)
			if !write {
				target = unix.F_RDLCK
			}
			if x.breaking && !now.Before(x.deadline) {
				// It had its time.
				if x.target == unix.F_UNLCK || target == unix.F_UNLCK {
					l.leases = slices.Delete(l.leases, k, k+1)
				} else {
					x.write, x.breaking = false, false
				}
				l.wake()
				continue
			}
			if !x.breaking {
				secs := int32(45)
				if l.reg != nil {
					secs = l.reg.LeaseBreakTime.Load()
				}
				x.breaking, x.target = true, target
				x.deadline = now.Add(time.Duration(secs) * time.Second)
				if x.f.TryIncRef() {
					holders = append(holders, x.f)
				}
			} else if target == unix.F_UNLCK {
				x.target = target
			}
			if until.IsZero() || x.deadline.Before(until) {
				until = x.deadline
			}
			k++
		}
		if until.IsZero() {
			l.mu.Unlock()
			return nil
		}
		if !nonblock {
			if w == nil {
				w = &lockWaiter{want: &fileLock{owner: w, start: 1, end: 0}, ch: make(chan struct{}, 1)}
			}
			l.waiters[w] = struct{}{}
		}
		l.mu.Unlock()
		for _, f := range holders {
			const pollMsg = 3
			f.signalOwner(pollMsg, 0)
			f.DecRef()
		}
		if nonblock {
			return unix.EWOULDBLOCK
		}
		err := ctx.Block(w.ch, max(time.Until(until), 0))
		l.mu.Lock()
		delete(l.waiters, w)
		l.mu.Unlock()
		if err != nil && err != unix.ETIMEDOUT {
			return err
		}
	}
}
