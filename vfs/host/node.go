package host

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
)

// A node's descriptors.
const (
	slotPath  = iota // O_PATH
	slotRead         // O_RDONLY
	slotWrite        // O_RDWR
	numSlots
)

// node is an inode of the host.
type node struct {
	vfs.DefaultInodeOps
	fs    *fileSystem
	key   inodeKey
	typ   uint32
	btime vfs.Timespec
	inode *vfs.Inode
	root  bool

	// locMu protects the names that the node is known by, the newest last. There are none
	// for the root, and for what has lost its name.
	locMu sync.Mutex
	names []location

	// fdMu protects the descriptors.
	fdMu sync.Mutex
	fds  [numSlots]*hostFD
	kept bool // descriptors stay open: the name has gone
	// keptWrite: the one for writing stays open, since the mode would not let us open it again.
	keptWrite bool

	// changeMu is held while the attributes are read after a change of our own.
	changeMu sync.Mutex
	// attrMu protects the attributes as the host gave them last. busy counts changes of
	// our own under way, changes those that have ended: what the host says meanwhile is not
	// to be believed.
	attrMu  sync.Mutex
	attr    vfs.Attr
	busy    int
	changes uint64

	// opens counts open files.
	opens atomic.Int32
	// pages of a regular file, made when it is first opened.
	pages atomic.Pointer[mm.PageCache]
	// xattrs of an exclusive file system's inode, once asked for.
	xattrs atomic.Pointer[map[string][]byte]
}

// location is a name in a directory.
type location struct {
	dir  *node
	name string
}

// maxNames is how many names of a file with several links are remembered.
const maxNames = 256

// addName notes a name. Only files with several links have more than one.
func (n *node) addName(dir *node, name string, links uint32) {
	if dir == nil {
		return
	}
	l := location{dir, name}
	n.locMu.Lock()
	defer n.locMu.Unlock()
	switch k := len(n.names); {
	case k > 0 && n.names[k-1] == l:
	case n.typ == unix.S_IFDIR || links <= 1:
		n.names = append(n.names[:0:0], l)
	default:
		n.names = slices.DeleteFunc(slices.Clone(n.names), func(o location) bool { return o == l })
		if len(n.names) >= maxNames {
			n.names = slices.Delete(n.names, 0, 1)
		}
		n.names = append(n.names, l)
	}
}

// dropName notes that a name has gone.
func (n *node) dropName(dir *node, name string) {
	n.locMu.Lock()
	defer n.locMu.Unlock()
	n.names = slices.DeleteFunc(slices.Clone(n.names), func(o location) bool { return o == location{dir, name} })
}

// locations are the names, the newest last. The slice is not changed.
func (n *node) locations() []location {
	n.locMu.Lock()
	defer n.locMu.Unlock()
	return slices.Clip(n.names)
}

// at calls f with the descriptor of the directory and the name, for one name after the other until f
// finds the node there. f returns ENOENT or ESTALE if it does not.
func (n *node) at(f func(dirfd int, name string) error) error {
	if n.root {
		return f(n.fs.rootFD, ".")
	}
	names := n.locations()
	err := error(unix.ESTALE)
	for i := len(names) - 1; i >= 0; i-- {
		d, derr := names[i].dir.acquire(slotPath)
		if derr != nil {
			err = derr
			continue
		}
		err = f(d.fd, names[i].name)
		fds.done(d)
		if err != unix.ENOENT && err != unix.ESTALE && err != unix.ENOTDIR {
			return err
		}
	}
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return unix.ESTALE
	}
	return err
}

// check is ESTALE if st is not the node's.
func (n *node) check(st *unix.Statx_t) error {
	if keyOf(st) != n.key || uint32(st.Mode)&unix.S_IFMT != n.typ {
		return unix.ESTALE
	}
	return nil
}

// acquire returns an open descriptor of the kind slot; the caller ends its use with fds.done.
func (n *node) acquire(slot int) (*hostFD, error) {
	n.fdMu.Lock()
	defer n.fdMu.Unlock()
	return n.acquireLocked(slot)
}

func (n *node) acquireLocked(slot int) (*hostFD, error) {
	if h := n.fds[slot]; h != nil && fds.use(h) {
		return h, nil
	}
	// What can write can read.
	if slot == slotRead && n.typ == unix.S_IFREG {
		if h := n.fds[slotWrite]; h != nil && fds.use(h) {
			return h, nil
		}
	}
	if err := fds.reserve(); err != nil {
		return nil, err
	}
	fd, err := n.open(slot)
	if err != nil {
		fds.unreserve()
		return nil, err
	}
	h := fds.add(fd)
	if n.kept {
		fds.keep(h, true)
	}
	n.fds[slot] = h
	return h, nil
}

// open opens a descriptor. fdMu is held.
func (n *node) open(slot int) (int, error) {
	flags := unix.O_CLOEXEC | unix.O_NOFOLLOW
	switch slot {
	case slotPath:
		flags |= unix.O_PATH
	case slotRead:
		flags |= unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	case slotWrite:
		flags |= unix.O_RDWR | unix.O_NONBLOCK | unix.O_NOCTTY
	}
	switch n.typ {
	case unix.S_IFDIR:
		flags |= unix.O_DIRECTORY
		if slot == slotWrite {
			return -1, unix.EISDIR
		}
	case unix.S_IFREG:
	default:
		if slot != slotPath {
			return -1, unix.ENXIO // nothing else is ever opened
		}
	}
	// Another descriptor leads to the very same file, even without a name.
	if proc := n.fs.opts.ProcSelfFD; proc >= 0 && slot != slotPath {
		for _, h := range n.fds {
			if h != nil && fds.use(h) {
				fd, err := reopen(proc, h.fd, flags)
				fds.done(h)
				return fd, err
			}
		}
	}
	proc := n.fs.opts.ProcSelfFD
	careful := n.fs.shared && proc >= 0 && slot != slotPath
	first := flags
	if careful {
		// The name may mean something else by now, which must not be opened before it
		// has been looked at.
		first = unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW
	}
	fd := -1
	err := n.at(func(dirfd int, name string) (err error) {
		if fd, err = openat(dirfd, name, first); err != nil {
			if err == unix.ELOOP || err == unix.ENXIO {
				err = unix.ESTALE // a link, or a FIFO, by now
			}
			return err
		}
		var st unix.Statx_t
		if err = statx(fd, "", &st); err == nil {
			err = n.check(&st)
		}
		if err != nil {
			_ = unix.Close(fd)
		}
		return err
	})
	if err == nil && careful {
		path := fd
		fd, err = reopen(proc, path, flags)
		_ = unix.Close(path)
	}
	return fd, err
}

func openat(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	})
	return fd, err
}

// reopen opens the file behind fd anew.
func reopen(proc, fd, flags int) (int, error) {
	return openat(proc, strconv.Itoa(fd), flags&^unix.O_NOFOLLOW)
}

// keep makes sure that n can be used when its name is about to go while it is open.
func (n *node) keep() {
	n.fdMu.Lock()
	defer n.fdMu.Unlock()
	if n.kept {
		return
	}
	open := false
	for _, h := range n.fds {
		if h != nil && fds.use(h) {
			fds.keep(h, true)
			fds.done(h)
			open = true
		}
	}
	if !open {
		slot := slotRead
		if n.typ != unix.S_IFREG {
			slot = slotPath
		}
		h, err := n.acquireLocked(slot)
		if err != nil {
			return
		}
		fds.keep(h, true)
		fds.done(h)
	}
	n.kept = true
}

// renamed is told a name of n, so that descriptors need not be kept.
func (n *node) renamed(parent *node, name string, links uint32) {
	n.addName(parent, name, links)
	n.fdMu.Lock()
	defer n.fdMu.Unlock()
	if !n.kept {
		return
	}
	n.kept = false
	for _, h := range n.fds {
		if h != nil {
			fds.keep(h, false)
		}
	}
}

// stat asks the host.
func (n *node) stat(st *unix.Statx_t) error {
	n.fdMu.Lock()
	for _, h := range n.fds {
		if h != nil && fds.use(h) {
			n.fdMu.Unlock()
			defer fds.done(h)
			return statx(h.fd, "", st)
		}
	}
	n.fdMu.Unlock()
	return n.at(func(dirfd int, name string) error {
		if err := statx(dirfd, name, st); err != nil {
			return err
		}
		return n.check(st)
	})
}

// refresh asks the host for the attributes; a file that cannot be found keeps those it had.
func (n *node) refresh() vfs.Attr {
	seen := n.seen()
	var st unix.Statx_t
	if err := n.stat(&st); err == nil {
		n.update(n.fs.attr(&st), seen)
	}
	n.attrMu.Lock()
	defer n.attrMu.Unlock()
	return n.attr
}

// seen is taken before the host is asked, and given to update.
func (n *node) seen() uint64 {
	n.attrMu.Lock()
	defer n.attrMu.Unlock()
	return n.changes
}

// update takes over what the host says, unless we have changed it since seen. If another than
// us changed the content, the pages that are cached are dropped.
func (n *node) update(a vfs.Attr, seen uint64) {
	if !n.fs.shared {
		return // only we change it
	}
	n.attrMu.Lock()
	old := n.attr
	if n.busy > 0 || n.changes != seen || old == a {
		n.attrMu.Unlock()
		return
	}
	n.attr = a
	if c := n.pages.Load(); c != nil && (old.Mtime != a.Mtime || old.Size != a.Size) {
		c.Invalidate(0, math.MaxInt64)
		c.SetSize(a.Size)
	}
	n.attrMu.Unlock()
	n.publish(a)
}

// begin is called before a change of the content; end after it.
func (n *node) begin() {
	n.attrMu.Lock()
	n.busy++
	n.attrMu.Unlock()
}

func (n *node) end() {
	n.changed()
	n.attrMu.Lock()
	n.busy--
	n.attrMu.Unlock()
}

// changed takes over the attributes after a change of our own.
func (n *node) changed() {
	n.changeMu.Lock()
	defer n.changeMu.Unlock()
	var st unix.Statx_t
	if err := n.stat(&st); err != nil {
		return
	}
	a := n.fs.attr(&st)
	n.attrMu.Lock()
	n.attr = a
	n.changes++
	n.attrMu.Unlock()
	n.publish(a)
}

func (n *node) publish(a vfs.Attr) {
	n.inode.UpdateAttr(func(at *vfs.Attr) { *at = a })
}

// GetAttr implements vfs.InodeOps.
func (n *node) GetAttr(vfs.Context, *vfs.Inode) (vfs.Attr, error) {
	if n.fs.shared {
		return n.refresh(), nil
	}
	return n.inode.Attr(), nil
}

// SetAttr implements vfs.InodeOps.
func (n *node) SetAttr(_ vfs.Context, i *vfs.Inode, a *vfs.SetAttr) error {
	if n.fs.opts.ReadOnly {
		return unix.EROFS
	}
	n.begin()
	defer n.end()
	if a.Valid&(vfs.AttrUID|vfs.AttrGID) != 0 {
		uid, gid := -1, -1
		at := i.Attr()
		if a.Valid&vfs.AttrUID != 0 && a.UID != at.UID {
			id, ok := hostID(n.fs.opts.UIDs, a.UID)
			if !ok {
				return unix.EPERM
			}
			uid = int(id)
		}
		if a.Valid&vfs.AttrGID != 0 && a.GID != at.GID {
			id, ok := hostID(n.fs.opts.GIDs, a.GID)
			if !ok {
				return unix.EPERM
			}
			gid = int(id)
		}
		if uid != -1 || gid != -1 {
			if err := n.withPath(func(fd int) error {
				return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
			}); err != nil {
				return err
			}
		}
	}
	if a.Valid&vfs.AttrSize != 0 {
		if err := n.truncate(a.Size); err != nil {
			return err
		}
	}
	mode, chmod := a.Mode&07777, a.Valid&vfs.AttrMode != 0
	if a.Valid&vfs.AttrKillPriv != 0 && !chmod {
		old := i.Mode()
		mode = killPriv(old) & 07777
		chmod = mode != old&07777
	}
	if chmod {
		if err := n.chmod(mode); err != nil {
			return err
		}
	}
	if a.Valid&(vfs.AttrAtime|vfs.AttrMtime|vfs.AttrAtimeNow|vfs.AttrMtimeNow) != 0 {
		if err := n.utimes(a); err != nil {
			return err
		}
	}
	return nil
}

// withPath calls f with an O_PATH descriptor.
func (n *node) withPath(f func(fd int) error) error {
	h, err := n.acquire(slotPath)
	if err != nil {
		return err
	}
	defer fds.done(h)
	return retry(func() error { return f(h.fd) })
}

// withAny calls f with any descriptor that is open on the node.
func (n *node) withAny(f func(fd int) error) error {
	n.fdMu.Lock()
	for _, h := range n.fds {
		if h != nil && fds.use(h) {
			n.fdMu.Unlock()
			defer fds.done(h)
			return retry(func() error { return f(h.fd) })
		}
	}
	n.fdMu.Unlock()
	return n.withPath(f)
}

func (n *node) chmod(mode uint32) error {
	if n.typ == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return n.withPath(func(fd int) error {
		if proc := n.fs.opts.ProcSelfFD; proc >= 0 {
			return unix.Fchmodat(proc, strconv.Itoa(fd), mode, 0)
		}
		err := fchmodat2(fd, mode)
		if err != unix.ENOSYS {
			return err
		}
		if n.typ != unix.S_IFREG && n.typ != unix.S_IFDIR {
			return unix.EOPNOTSUPP
		}
		h, err := n.acquire(slotRead)
		if err != nil {
			return err
		}
		defer fds.done(h)
		return unix.Fchmod(h.fd, mode)
	})
}

func (n *node) utimes(a *vfs.SetAttr) error {
	// Dirty pages would change the time again.
	if err := n.writeBack(); err != nil {
		return err
	}
	set := func(t vfs.Timespec, given, now vfs.AttrMask) unix.Timespec {
		switch {
		case a.Valid&now != 0:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		case a.Valid&given != 0:
			return t
		}
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	ts := []unix.Timespec{
		set(a.Atime, vfs.AttrAtime, vfs.AttrAtimeNow),
		set(a.Mtime, vfs.AttrMtime, vfs.AttrMtimeNow),
	}
	return n.withPath(func(fd int) error {
		if proc := n.fs.opts.ProcSelfFD; proc >= 0 {
			return unix.UtimesNanoAt(proc, strconv.Itoa(fd), ts, 0)
		}
		err := unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH)
		if err != unix.EINVAL && err != unix.ENOENT {
			return err
		}
		// Before Linux 5.8.
		return n.at(func(dirfd int, name string) error {
			return unix.UtimesNanoAt(dirfd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
		})
	})
}

// Open implements vfs.InodeOps for what cannot be opened.
func (n *node) Open(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) { return nil, unix.ENXIO }

// Evict implements vfs.InodeOps.
func (n *node) Evict(*vfs.Inode) {
	n.fs.forget(n)
	if c := n.pages.Load(); c != nil {
		_ = n.writeBack()
		c.Release()
	}
	n.fdMu.Lock()
	defer n.fdMu.Unlock()
	for s, h := range n.fds {
		if h != nil {
			fds.drop(h)
			n.fds[s] = nil
		}
	}
}

// symlink is a symbolic link.
type symlink struct {
	*node
	target atomic.Pointer[string]
}

// Readlink implements vfs.InodeOps.
func (s *symlink) Readlink(vfs.Context, *vfs.Inode) (string, error) {
	if t := s.target.Load(); t != nil {
		return *t, nil
	}
	var buf [unix.PathMax]byte
	n := 0
	err := s.withPath(func(fd int) (err error) {
		n, err = unix.Readlinkat(fd, "", buf[:])
		return err
	})
	if err != nil {
		return "", err
	}
	t := string(buf[:n])
	s.target.Store(&t) // a link never changes
	return t, nil
}

// Extended attributes.

// xattrFD returns a descriptor that attributes can be asked of: only regular files and directories
// have one.
func (n *node) xattrFD() (*hostFD, error) {
	if n.typ != unix.S_IFREG && n.typ != unix.S_IFDIR {
		return nil, unix.EOPNOTSUPP
	}
	return n.acquire(slotRead)
}

func xattrAllowed(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") ||
		name == "security.capability"
}

const maxXattr = 64 << 10

// GetXattr implements vfs.InodeOps.
func (n *node) GetXattr(_ vfs.Context, _ *vfs.Inode, name string) ([]byte, error) {
	if !xattrAllowed(name) {
		return nil, unix.EOPNOTSUPP
	}
	if !n.fs.shared {
		all, err := n.allXattrs()
		if err != nil {
			return nil, err
		}
		if v, ok := all[name]; ok {
			return v, nil
		}
		return nil, unix.ENODATA
	}
	h, err := n.xattrFD()
	if err != nil {
		return nil, xattrErr(err)
	}
	defer fds.done(h)
	return fgetxattr(h.fd, name)
}

// xattrErr says for a file that cannot be opened for reading that it has no attributes.
func xattrErr(err error) error {
	if err == unix.EACCES || err == unix.EPERM || err == unix.EOPNOTSUPP {
		return unix.ENODATA
	}
	return err
}

func fgetxattr(fd int, name string) ([]byte, error) {
	var small [256]byte
	k, err := unix.Fgetxattr(fd, name, small[:])
	if err == unix.ERANGE {
		buf := make([]byte, maxXattr)
		if k, err = unix.Fgetxattr(fd, name, buf); err != nil {
			return nil, err
		}
		return buf[:k:k], nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), small[:k]...), nil
}

// allXattrs reads all attributes once.
func (n *node) allXattrs() (map[string][]byte, error) {
	if m := n.xattrs.Load(); m != nil {
		return *m, nil
	}
	all := map[string][]byte{}
	h, err := n.xattrFD()
	if err == nil {
		defer fds.done(h)
		names, lerr := flistxattr(h.fd)
		if err = lerr; err == nil {
			for _, name := range names {
				if v, err := fgetxattr(h.fd, name); err == nil {
					all[name] = v
				}
			}
		}
	}
	if err = xattrErr(err); err != nil && err != unix.ENODATA {
		return nil, err
	}
	n.xattrs.Store(&all)
	return all, nil
}

func flistxattr(fd int) ([]string, error) {
	var small [256]byte
	buf := small[:]
	k, err := unix.Flistxattr(fd, buf)
	if err == unix.ERANGE {
		buf = make([]byte, maxXattr)
		k, err = unix.Flistxattr(fd, buf)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range strings.Split(string(buf[:k]), "\x00") {
		if xattrAllowed(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// ListXattr implements vfs.InodeOps.
func (n *node) ListXattr(vfs.Context, *vfs.Inode) ([]string, error) {
	if !n.fs.shared {
		all, err := n.allXattrs()
		if err != nil {
			return nil, err
		}
		var names []string
		for name := range all {
			names = append(names, name)
		}
		return names, nil
	}
	h, err := n.xattrFD()
	if err != nil {
		if xattrErr(err) == unix.ENODATA {
			return nil, nil
		}
		return nil, err
	}
	defer fds.done(h)
	names, err := flistxattr(h.fd)
	if err == unix.EOPNOTSUPP {
		return nil, nil
	}
	return names, err
}

// SetXattr implements vfs.InodeOps.
func (n *node) SetXattr(_ vfs.Context, _ *vfs.Inode, name string, value []byte, flags int) error {
	return n.changeXattr(name, func(fd int) error { return unix.Fsetxattr(fd, name, value, flags) })
}

// RemoveXattr implements vfs.InodeOps.
func (n *node) RemoveXattr(_ vfs.Context, _ *vfs.Inode, name string) error {
	return n.changeXattr(name, func(fd int) error { return unix.Fremovexattr(fd, name) })
}

func (n *node) changeXattr(name string, f func(fd int) error) error {
	if n.fs.opts.ReadOnly {
		return unix.EROFS
	}
	if !xattrAllowed(name) {
		return unix.EOPNOTSUPP
	}
	h, err := n.xattrFD()
	if err != nil {
		return err
	}
	defer fds.done(h)
	if err := f(h.fd); err != nil {
		return err
	}
	n.xattrs.Store(nil)
	n.changed()
	return nil
}
