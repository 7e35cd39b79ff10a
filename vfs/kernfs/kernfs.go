// Package kernfs makes file systems out of functions: proc, sys, cgroup and the like.
//
// A tree is made of nodes: Dir, File, Symlink, MagicLink, Device. A Dir has fixed entries (Add), and
// may have functions that look up and list others (processes in /proc). What a node
// shows is computed when somebody looks. A name found by a function is looked up again
// each time it is walked through, unless its node says with Valid that it still holds, or
// the function returns the same node: so what has died vanishes.
//
// Nodes are shared by all mounts of the tree. Their fields do not change once they are in it,
// but for the entries of a Dir.
//
// LOCK ORDER: Dir.mu is taken last; functions are called with no lock of this package held
// (but package vfs may hold the DirMu of the directory).
package kernfs

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// ErrAllow is returned by Attr.Permission to grant an access whatever mode and owner say.
var ErrAllow = errors.New("allowed")

// Node is one of *Dir, *File, *Symlink, *MagicLink, *Device.
type Node interface{ common() *Attr }

// Attr is what all nodes have. The zero Attr is good for most.
type Attr struct {
	// Mode is the permission bits; 0 means what is usual for the kind (0555 for a Dir, 0444
	// for a File, 0644 for one with Write). A link whose bits are to be 0 has S_IFLNK here.
	Mode uint32
	// Owner returns the kernel ids of user and group; nil: root.
	Owner func() (uid, gid uint32)
	// Valid tells whether the node may still be found by its name; nil: see the package comment.
	Valid func() bool
	// Permission is asked first about each access (vfs.May*); nil or a nil error goes on with mode and owner,
	// ErrAllow grants it.
	Permission func(ctx vfs.Context, mask uint32) error
	// SetAttr changes mode or owner; nil: EPERM. It is for the node to remember.
	SetAttr func(ctx vfs.Context, a *vfs.SetAttr) error
	// Ino is the inode number; 0: a new one.
	Ino uint64
	// Size is what stat shows, besides 0 of most.
	Size func() int64
	// Nlink overrides the number of links of a Dir.
	Nlink func() uint32
	// NoMount: nothing can be mounted on it.
	NoMount bool

	ino atomic.Uint64
	tim atomic.Pointer[vfs.Timespec]
}

func (a *Attr) common() *Attr { return a }

func (a *Attr) number(sb *vfs.Superblock) uint64 {
	if a.Ino != 0 {
		return a.Ino
	}
	if n := a.ino.Load(); n != 0 {
		return n
	}
	a.ino.CompareAndSwap(0, sb.NewIno()+1<<32>>1)
	return a.ino.Load()
}

func (a *Attr) time() vfs.Timespec {
	if t := a.tim.Load(); t != nil {
		return *t
	}
	now := vfs.Now()
	a.tim.CompareAndSwap(nil, &now)
	return *a.tim.Load()
}

// Entry is a name in a directory. List functions may leave Node nil and give Type (unix.DT_*) and Ino.
type Entry struct {
	Name string
	Node Node
	Type uint8
	Ino  uint64
}

// Dir is a directory.
type Dir struct {
	Attr
	// Lookup finds entries that are not fixed; ENOENT if there is none. List lists them.
	Lookup func(ctx vfs.Context, name string) (Node, error)
	List   func(ctx vfs.Context) ([]Entry, error)
	// Mkdir and Rmdir, where directories can be made (cgroup). Mkdir's node is entered by the caller's
	// function itself (with Add, or so that Lookup finds it).
	Mkdir func(ctx vfs.Context, name string, mode uint32) (Node, error)
	Rmdir func(ctx vfs.Context, name string) error
	// Subject is what the directory is about, for Subject.
	Subject any

	fill func() // makes the first fixed entries, before they are looked at; nil: nothing to do

	mu      sync.RWMutex
	entries map[string]Node
	order   []string
}

// Subject is that of the directory that an inode is, nil for other inodes.
func Subject(i *vfs.Inode) any {
	if d, ok := i.Ops.(*dirOps); ok {
		return d.dir.Subject
	}
	return nil
}

// NewDir returns a directory with the given fixed entries.
func NewDir(entries ...Entry) *Dir {
	d := &Dir{}
	for _, e := range entries {
		d.Add(e.Name, e.Node)
	}
	return d
}

// Lazy returns a directory with the fixed entries of the one that a function returns, which is called when somebody first looks there.
func Lazy(f func() *Dir) *Dir {
	d := &Dir{}
	d.fill = sync.OnceFunc(func() {
		for _, e := range f().fixed() {
			d.Add(e.Name, e.Node)
		}
	})
	return d
}

// filled makes sure that the fixed entries are there.
func (d *Dir) filled() {
	if d.fill != nil {
		d.fill()
	}
}

// Add enters a fixed entry, or replaces it. It returns d.
func (d *Dir) Add(name string, n Node) *Dir {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries == nil {
		d.entries = make(map[string]Node)
	}
	if _, ok := d.entries[name]; !ok {
		d.order = append(d.order, name)
	}
	d.entries[name] = n
	return d
}

// Remove takes a fixed entry away.
func (d *Dir) Remove(name string) {
	d.filled()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.entries[name]; ok {
		delete(d.entries, name)
		d.order = slices.DeleteFunc(d.order, func(s string) bool { return s == name })
	}
}

// Get is a fixed entry, or nil.
func (d *Dir) Get(name string) Node {
	d.filled()
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.entries[name]
}

// Sub is the fixed sub-directory of the given name, which is made if it is not there.
func (d *Dir) Sub(name string) *Dir {
	if s, ok := d.Get(name).(*Dir); ok {
		return s
	}
	s := &Dir{}
	d.Add(name, s)
	return s
}

// fixed lists the fixed entries in the order they were added.
func (d *Dir) fixed() []Entry {
	d.filled()
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]Entry, 0, len(d.order))
	for _, n := range d.order {
		out = append(out, Entry{Name: n, Node: d.entries[n]})
	}
	return out
}

// File is a file whose content is generated, or that has operations of its own.
type File struct {
	Attr
	// Read writes the content to buf. It is called when reading begins at offset 0 (and once if
	// it begins elsewhere); further reads go on with the same content.
	Read func(ctx vfs.Context, buf *bytes.Buffer) error
	// ReadFile is Read for those who want the open file (the opener's credentials).
	ReadFile func(ctx vfs.Context, f *vfs.File, buf *bytes.Buffer) error
	// Write gets what one write(2) has written, at most MaxWrite bytes.
	Write func(ctx vfs.Context, data []byte) error
	// WriteFile is Write with the open file and the offset; it returns how much it took.
	WriteFile func(ctx vfs.Context, f *vfs.File, data []byte, off int64) (int, error)
	// MaxWrite limits what one write takes: longer ones give EINVAL; 0: 64 KiB.
	MaxWrite int
	// CheckOpen may refuse an open.
	CheckOpen func(ctx vfs.Context, f *vfs.File) error
	// Poll, if set, is what poll(2) of the file asks; such a file can be watched by epoll.
	Poll func(f *vfs.File) Pollable
	// Ioctl handles requests of ioctl(2); nil: ENOTTY.
	Ioctl func(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error)
	// Open replaces all of the above.
	Open func(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error)
}

// Text is a file with a fixed content.
func Text(s string) *File {
	return &File{Read: func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString(s); return nil }}
}

// Func is a file whose content a function returns.
func Func(f func(ctx vfs.Context) string) *File {
	return &File{Read: func(ctx vfs.Context, b *bytes.Buffer) error { b.WriteString(f(ctx)); return nil }}
}

// Symlink is a symbolic link.
type Symlink struct {
	Attr
	Target func(ctx vfs.Context) (string, error)
}

// Link is a symbolic link to a fixed place.
func Link(target string) *Symlink {
	return &Symlink{Target: func(vfs.Context) (string, error) { return target, nil }}
}

// MagicLink is a link that leads somewhere whatever its text says (/proc/PID/fd/N).
type MagicLink struct {
	Attr
	Target func(ctx vfs.Context) (string, error)
	// Follow returns where it leads, with a reference taken.
	Follow func(ctx vfs.Context) (vfs.Path, error)
}

// Device is a device node; Mode contains the type.
type Device struct {
	Attr
	Rdev uint64
}

// typeOf is S_IF* of a node.
func typeOf(n Node) uint32 {
	switch n := n.(type) {
	case *Dir:
		return unix.S_IFDIR
	case *Symlink, *MagicLink:
		return unix.S_IFLNK
	case *Device:
		if t := n.Mode & unix.S_IFMT; t != 0 {
			return t
		}
		return unix.S_IFCHR
	}
	return unix.S_IFREG
}

func modeOf(n Node) uint32 {
	m := n.common().Mode & 07777
	if m == 0 {
		switch n := n.(type) {
		case *Dir:
			m = 0555
		case *Symlink, *MagicLink:
			if n.common().Mode == 0 {
				m = 0777
			}
		case *Device:
			m = 0600
		case *File:
			m = 0444
			if n.Write != nil || n.WriteFile != nil {
				m = 0644
			}
			if n.Read == nil && n.ReadFile == nil && n.Open == nil && m == 0644 {
				m = 0200
			}
		}
	}
	return m | typeOf(n)
}
