// Package inotify is inotify(7): files from which changes of watched inodes are read.
//
// An Instance is a vfs.Watcher with a mark on every watched inode and a queue of events.
// Events are put in the queue in the form in which they are read, so that a reader only
// copies.
//
// LOCK ORDER
//
//	locks of package vfs that are held when an event is sent
//	  Instance.mu
//	    the wait queue
package inotify

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// The number of instances and watches of a user are counted in the user namespace.
const (
	headerSize = 16
	userBits   = unix.IN_ALL_EVENTS | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK |
		unix.IN_MASK_CREATE | unix.IN_MASK_ADD | unix.IN_ONESHOT | unix.IN_ISDIR | unix.IN_UNMOUNT | unix.IN_Q_OVERFLOW | unix.IN_IGNORED
)

type event struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
}

// size is what read(2) returns of it: the name is padded with NULs to a multiple of the header.
func (e *event) size() int {
	if e.name == "" {
		return headerSize
	}
	return headerSize + (len(e.name)+1+headerSize-1)/headerSize*headerSize
}

// Instance is the operations of an inotify file.
type Instance struct {
	vfs.DefaultFileOps
	waitq.Queue
	cred *cred.Cred
	max  int // events in the queue; immutable

	mu       sync.Mutex
	byWD     map[int32]*vfs.Mark
	byMark   map[*vfs.Mark]int32
	flags    map[*vfs.Mark]uint32 // IN_EXCL_UNLINK, IN_ONESHOT
	lastWD   int32
	queue    []event
	overflow bool
	closed   bool
}

// New makes an inotify file with room for max events; flags are O_NONBLOCK or nothing. EMFILE over the user's limit.
func New(c *cred.Cred, max int, flags uint32) (*vfs.File, error) {
	if err := c.UserNS.Charge(c.EUID, cred.CountInotifyInstances, 1); err != nil {
		return nil, unix.EMFILE
	}
	in := &Instance{cred: c, max: max, byWD: make(map[int32]*vfs.Mark), byMark: make(map[*vfs.Mark]int32), flags: make(map[*vfs.Mark]uint32)}
	return vfs.NewAnonFile("anon_inode:inotify", in, unix.O_RDONLY|flags&unix.O_NONBLOCK, c), nil
}

func of(f *vfs.File) (*Instance, error) {
	if in, ok := f.Ops.(*Instance); ok {
		return in, nil
	}
	return nil, unix.EINVAL
}

// AddWatch is inotify_add_watch(2).
func AddWatch(ctx vfs.Context, f *vfs.File, start vfs.Path, path string, mask uint32) (int32, error) {
	if mask&userBits == 0 {
		return 0, unix.EINVAL
	}
	in, err := of(f)
	if err != nil {
		return 0, err
	}
	if mask&unix.IN_MASK_ADD != 0 && mask&unix.IN_MASK_CREATE != 0 {
		return 0, unix.EINVAL
	}
	var lf vfs.LookupFlags
	if mask&unix.IN_DONT_FOLLOW == 0 {
		lf |= vfs.LookupFollow
	}
	if mask&unix.IN_ONLYDIR != 0 {
		lf |= vfs.LookupDirectory
	}
	p, err := vfs.Lookup(ctx, start, path, lf)
	if err != nil {
		return 0, err
	}
	defer p.DecRef()
	if err := vfs.Permission(ctx, p.Inode(), vfs.MayRead); err != nil {
		return 0, err
	}
	return in.watch(p.Inode(), mask)
}

func (in *Instance) watch(i *vfs.Inode, mask uint32) (int32, error) {
	want := mask & unix.IN_ALL_EVENTS
	flags := mask & (unix.IN_EXCL_UNLINK | unix.IN_ONESHOT)
	in.mu.Lock()
	defer in.mu.Unlock()
	if m := i.FindMark(in); m != nil {
		if wd, ok := in.byMark[m]; ok {
			if mask&unix.IN_MASK_CREATE != 0 {
				return 0, unix.EEXIST
			}
			if mask&unix.IN_MASK_ADD != 0 {
				want |= m.Mask()
				flags |= in.flags[m]
			}
			m.SetMask(want)
			in.flags[m] = flags
			return wd, nil
		}
	}
	if err := in.cred.UserNS.Charge(in.cred.EUID, cred.CountInotifyWatches, 1); err != nil {
		return 0, unix.ENOSPC
	}
	m := i.AddMark(in, want)
	in.lastWD++
	in.byWD[in.lastWD] = m
	in.byMark[m] = in.lastWD
	in.flags[m] = flags
	return in.lastWD, nil
}

// RmWatch is inotify_rm_watch(2).
func RmWatch(f *vfs.File, wd int32) error {
	in, err := of(f)
	if err != nil {
		return err
	}
	in.mu.Lock()
	m := in.byWD[wd]
	in.mu.Unlock()
	if m == nil {
		return unix.EINVAL
	}
	if m.Remove() {
		in.MarkGone(m)
	}
	return nil
}

// HandleEvent implements vfs.Watcher.
func (in *Instance) HandleEvent(m *vfs.Mark, ev *vfs.NotifyEvent) {
	in.mu.Lock()
	wd, ok := in.byMark[m]
	if !ok || ev.Unlinked && in.flags[m]&unix.IN_EXCL_UNLINK != 0 {
		in.mu.Unlock()
		return
	}
	in.put(event{wd, ev.Mask, ev.Cookie, ev.Name})
	once := in.flags[m]&unix.IN_ONESHOT != 0 && ev.Mask&unix.IN_ALL_EVENTS != 0
	in.mu.Unlock()
	in.Notify(waitq.Readable)
	if once && m.Remove() {
		in.MarkGone(m)
	}
}

// MarkGone implements vfs.Watcher: the watch has ended.
func (in *Instance) MarkGone(m *vfs.Mark) {
	in.mu.Lock()
	wd, ok := in.byMark[m]
	if ok {
		delete(in.byMark, m)
		delete(in.byWD, wd)
		delete(in.flags, m)
		in.put(event{wd: wd, mask: unix.IN_IGNORED})
	}
	in.mu.Unlock()
	if ok {
		in.cred.UserNS.Uncharge(in.cred.EUID, cred.CountInotifyWatches, 1)
		in.Notify(waitq.Readable)
	}
}

// put adds an event to the queue, unless the last one says the same; with mu held.
func (in *Instance) put(e event) {
	if in.closed {
		return
	}
	if n := len(in.queue); n > 0 && in.queue[n-1] == e {
		return
	}
	if len(in.queue) >= in.max {
		if !in.overflow {
			in.overflow = true
			in.queue = append(in.queue, event{wd: -1, mask: unix.IN_Q_OVERFLOW})
		}
		return
	}
	in.queue = append(in.queue, e)
}

// Read implements vfs.FileOps: as many whole events as there is room for.
func (in *Instance) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	in.mu.Lock()
	if len(in.queue) == 0 {
		in.mu.Unlock()
		return 0, unix.EAGAIN
	}
	room := dst.Len()
	n, size := 0, 0
	for n < len(in.queue) && uint64(size+in.queue[n].size()) <= room {
		size += in.queue[n].size()
		n++
	}
	if n == 0 {
		in.mu.Unlock()
		return 0, unix.EINVAL
	}
	take := in.queue[:n:n]
	in.queue = in.queue[n:]
	if len(in.queue) == 0 {
		in.queue = nil
		in.overflow = false
	} else if slices.ContainsFunc(take, func(e event) bool { return e.mask&unix.IN_Q_OVERFLOW != 0 }) {
		in.overflow = false
	}
	in.mu.Unlock()
	buf := make([]byte, 0, size)
	for k := range take {
		e := &take[k]
		end := len(buf) + e.size()
		buf = binary.LittleEndian.AppendUint32(buf, uint32(e.wd))
		buf = binary.LittleEndian.AppendUint32(buf, e.mask)
		buf = binary.LittleEndian.AppendUint32(buf, e.cookie)
		buf = binary.LittleEndian.AppendUint32(buf, uint32(e.size()-headerSize))
		buf = append(buf, e.name...)
		buf = append(buf, make([]byte, end-len(buf))...)
	}
	w, err := dst.Write(buf)
	if w == 0 && err != nil {
		return 0, err
	}
	return int64(w), nil
}

// Ioctl implements vfs.FileOps: FIONREAD.
func (in *Instance) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	if cmd != unix.TIOCINQ {
		return 0, unix.ENOTTY
	}
	in.mu.Lock()
	n := int32(0)
	for k := range in.queue {
		n += int32(in.queue[k].size())
	}
	in.mu.Unlock()
	return 0, usermem.CopyObjectOut(ctx.Memory(), usermem.Addr(arg), &n)
}

// Readiness implements waitq.Waitable.
func (in *Instance) Readiness(mask waitq.Events) waitq.Events {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) > 0 {
		return mask & waitq.Readable
	}
	return 0
}

// EventRegister and EventUnregister implement waitq.Waitable.
func (in *Instance) EventRegister(e *waitq.Entry, mask waitq.Events) { in.Queue.EventRegister(e, mask) }

// EventUnregister implements waitq.Waitable.
func (in *Instance) EventUnregister(e *waitq.Entry) { in.Queue.EventUnregister(e) }

// Stream implements vfs.FileOps.
func (in *Instance) Stream() bool { return true }

// Seek implements vfs.FileOps: it does nothing, as in Linux.
func (*Instance) Seek(_ vfs.Context, _ *vfs.File, pos, _ int64, _ int) (int64, error) {
	return pos, nil
}

// Release implements vfs.FileOps.
func (in *Instance) Release(*vfs.File) {
	in.mu.Lock()
	in.closed = true
	marks := make([]*vfs.Mark, 0, len(in.byMark))
	for m := range in.byMark {
		marks = append(marks, m)
	}
	in.mu.Unlock()
	for _, m := range marks {
		if m.Remove() {
			in.MarkGone(m)
		}
	}
	in.cred.UserNS.Uncharge(in.cred.EUID, cred.CountInotifyInstances, 1)
}

// FDInfo is what /proc/PID/fdinfo shows.
func (in *Instance) FDInfo() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var b strings.Builder
	wds := make([]int32, 0, len(in.byWD))
	for wd := range in.byWD {
		wds = append(wds, wd)
	}
	slices.Sort(wds)
	for _, wd := range wds {
		m := in.byWD[wd]
		fmt.Fprintf(&b, "inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:0 \n", wd, m.Inode.Ino, m.Inode.SB.Dev, m.Mask()|in.flags[m])
	}
	return b.String()
}
