package vfs

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Notification (Linux: fsnotify): inotify and dnotify put marks on inodes; operations of
// this package send events to the marks of the inode and of the directory it is in.
// Marks hold no reference: a marked inode's dentry is not dropped to save memory, and
// an inode that goes takes its marks along.

// NotifyEvent is what has happened. Mask is of unix.IN_*.
type NotifyEvent struct {
	Mask   uint32
	Cookie uint32 // pairs IN_MOVED_FROM and IN_MOVED_TO
	Name   string // in the directory that is watched; "" for the inode itself
	// Unlinked: the child has no name any more (IN_EXCL_UNLINK).
	Unlinked bool
}

// A Watcher gets events. HandleEvent must not block; locks of package vfs may be held.
type Watcher interface {
	HandleEvent(m *Mark, ev *NotifyEvent)
	// MarkGone is called when the inode has gone or its file system is unmounted, after the last event.
	MarkGone(m *Mark)
}

// Mark is a watcher's interest in an inode. Mask may be changed with SetMask.
type Mark struct {
	Inode   *Inode
	Watcher Watcher
	mask    atomic.Uint32
}

// Mask is the events of interest.
func (m *Mark) Mask() uint32 { return m.mask.Load() }

// SetMask replaces them.
func (m *Mark) SetMask(mask uint32) { m.mask.Store(mask) }

type notifyMarks struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*Mark] // replaced as a whole
}

func (n *notifyMarks) any() bool {
	l := n.list.Load()
	return l != nil && len(*l) > 0
}

// AddMark adds w's interest in i, of which the caller has a reference. ENOENT if it has gone.
func (i *Inode) AddMark(w Watcher, mask uint32) *Mark {
	m := &Mark{Inode: i, Watcher: w}
	m.mask.Store(mask)
	n := i.marks.Load()
	if n == nil {
		n = &notifyMarks{}
		if !i.marks.CompareAndSwap(nil, n) {
			n = i.marks.Load()
		}
	}
	n.mu.Lock()
	var list []*Mark
	if l := n.list.Load(); l != nil {
		list = slices.Clone(*l)
	}
	list = append(list, m)
	n.list.Store(&list)
	n.mu.Unlock()
	i.SB.watched.Add(1)
	return m
}

// Remove takes the mark away; MarkGone is not called. False if it has gone already.
func (m *Mark) Remove() bool {
	n := m.Inode.marks.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.list.Load()
	if l == nil {
		return false
	}
	k := slices.Index(*l, m)
	if k < 0 {
		return false
	}
	list := slices.Delete(slices.Clone(*l), k, k+1)
	n.list.Store(&list)
	m.Inode.SB.watched.Add(-1)
	return true
}

// FindMark is w's mark on i, or nil.
func (i *Inode) FindMark(w Watcher) *Mark {
	n := i.marks.Load()
	if n == nil || n.list.Load() == nil {
		return nil
	}
	for _, m := range *n.list.Load() {
		if m.Watcher == w {
			return m
		}
	}
	return nil
}

func (i *Inode) send(ev *NotifyEvent) {
	n := i.marks.Load()
	if n == nil {
		return
	}
	l := n.list.Load()
	if l == nil {
		return
	}
	for _, m := range *l {
		if m.mask.Load()&ev.Mask&(unix.IN_ALL_EVENTS|inRename) != 0 {
			m.Watcher.HandleEvent(m, ev)
		}
	}
}

// evictMarks is for an inode whose last reference has gone.
func (i *Inode) evictMarks() {
	n := i.marks.Load()
	if n == nil {
		return
	}
	n.mu.Lock()
	l := n.list.Swap(nil)
	n.mu.Unlock()
	if l == nil {
		return
	}
	i.SB.watched.Add(int32(-len(*l)))
	mask := uint32(unix.IN_UNMOUNT)
	if a := i.Attr(); a.Nlink == 0 || i.IsDir() && a.Nlink < 2 {
		mask = unix.IN_DELETE_SELF
	}
	for _, m := range *l {
		if mask == unix.IN_UNMOUNT || m.mask.Load()&mask != 0 {
			m.Watcher.HandleEvent(m, &NotifyEvent{Mask: mask})
		}
		m.Watcher.MarkGone(m)
	}
}

// notifyInode sends an event on i, whose name is d: to its own marks, and to its directory's.
func notifyInode(i *Inode, mask uint32, d *Dentry) {
	if i == nil || i.SB == nil || i.SB.watched.Load() == 0 {
		return
	}
	if i.IsDir() {
		mask |= unix.IN_ISDIR
	}
	if d != nil {
		if at := d.at.Load(); at.parent != d {
			if pi := at.parent.Inode(); pi != nil && pi.marks.Load() != nil {
				pi.send(&NotifyEvent{Mask: mask, Name: at.name, Unlinked: d.has(dDeleted)})
			}
		}
	}
	if i.marks.Load() != nil {
		i.send(&NotifyEvent{Mask: mask})
	}
}

// notifyName sends an event on a name in a directory.
func notifyName(dir *Dentry, mask uint32, name string) {
	di := dir.Inode()
	if di.SB.watched.Load() == 0 || di.marks.Load() == nil {
		return
	}
	di.send(&NotifyEvent{Mask: mask, Name: name})
}

// notify sends an event on an open file.
func (f *File) notify(mask uint32) {
	d := f.Path.Dentry
	if d.sb.watched.Load() == 0 || f.mode&modePath != 0 {
		return
	}
	notifyInode(d.Inode(), mask, d)
}

// NotifyFile sends an event on behalf of other packages (splice, io_uring ...).
func (f *File) NotifyFile(mask uint32) { f.notify(mask) }

var lastCookie atomic.Uint32

func nextCookie(sb *Superblock) uint32 {
	if sb.watched.Load() == 0 {
		return 0
	}
	return lastCookie.Add(1)
}

func notifyMove(from, to, moved *Dentry, oldName, newName string, cookie uint32) {
	if from.sb.watched.Load() == 0 {
		return
	}
	i := moved.Inode()
	var dir uint32
	if i.IsDir() {
		dir = unix.IN_ISDIR
	}
	if from == to {
		from.Inode().send(&NotifyEvent{Mask: inRename | dir, Name: oldName})
	}
	from.Inode().send(&NotifyEvent{Mask: unix.IN_MOVED_FROM | dir, Cookie: cookie, Name: oldName})
	to.Inode().send(&NotifyEvent{Mask: unix.IN_MOVED_TO | dir, Cookie: cookie, Name: newName})
	i.send(&NotifyEvent{Mask: unix.IN_MOVE_SELF})
}

// Directory notification (fcntl F_NOTIFY): signals on changes in a directory.

type dnotify struct {
	f     *File
	owner *FDTable
	fd    int32
	dn    uint32
	mark  *Mark
}

// Events of F_NOTIFY.
const (
	dnAccess    = 1
	dnModify    = 2
	dnCreate    = 4
	dnDelete    = 8
	dnRename    = 16
	dnAttrib    = 32
	dnMultishot = 1 << 31
)

// inRename is an event beside unix.IN_*, for dnotify alone: a name of the directory has become another of its names.
const inRename = 0x10000000

// dnotifyMask translates DN_* to IN_*.
var dnotifyMask = []struct{ dn, in uint32 }{
	{dnAccess, unix.IN_ACCESS}, {dnModify, unix.IN_MODIFY},
	{dnCreate, unix.IN_CREATE | unix.IN_MOVED_TO}, {dnDelete, unix.IN_DELETE | unix.IN_MOVED_FROM},
	{dnRename, inRename}, {dnAttrib, unix.IN_ATTRIB},
}

// Notify is F_NOTIFY: dn are DN_* events, 0 to end it. The signal goes to the file's owner;
// the caller has set one.
func (f *File) Notify(ctx Context, owner *FDTable, fd int32, dn uint32) error {
	const all = dnAccess | dnModify | dnCreate | dnDelete | dnRename | dnAttrib | dnMultishot
	i := f.Inode()
	if !i.IsDir() {
		return unix.ENOTDIR
	}
	if dn&^dnMultishot == 0 {
		f.dropDnotify(owner)
		return nil
	}
	dn &= all
	old := f.findDnotify(owner)
	if old != nil {
		dn |= old.dn
	}
	var mask uint32
	for _, x := range dnotifyMask {
		if dn&x.dn != 0 {
			mask |= x.in
		}
	}
	if old != nil {
		old.mark.Remove()
	}
	d := &dnotify{f: f, owner: owner, fd: fd, dn: dn}
	d.mark = i.AddMark(d, mask)
	f.locked.Store(true)
	return nil
}

func (f *File) findDnotify(owner *FDTable) *dnotify {
	n := f.Inode().marks.Load()
	if n == nil || n.list.Load() == nil {
		return nil
	}
	for _, m := range *n.list.Load() {
		if d, ok := m.Watcher.(*dnotify); ok && d.f == f && d.owner == owner {
			return d
		}
	}
	return nil
}

func (f *File) dropDnotify(owner *FDTable) {
	if f.Inode().marks.Load() == nil {
		return
	}
	if d := f.findDnotify(owner); d != nil {
		d.mark.Remove()
	}
}

// HandleEvent implements Watcher.
func (d *dnotify) HandleEvent(m *Mark, ev *NotifyEvent) {
	if ev.Mask&m.Mask() == 0 {
		return // the inode goes
	}
	// The signal is there when the call that changed the directory returns. DirMu may be held, which
	// comes before the locks of processes.
	o := d.f.Owner()
	if o.Send != nil && o.ID != 0 {
		sig := unix.Signal(o.Signal)
		if sig == 0 {
			sig = unix.SIGIO
		}
		const pollMsg = 3
		o.Send(sig, pollMsg, 0, d.fd)
	}
	if d.dn&dnMultishot == 0 {
		m.Remove()
	}
}

// MarkGone implements Watcher.
func (d *dnotify) MarkGone(*Mark) {}
