package vfs

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// The file systems of inodes that have no name. They are never mounted; all that they
// hold is a device number and the last inode number given out.
var (
	anonSB = NewSuperblock(&FileSystemType{Name: "anon_inodefs", NoDev: true}, "", 0x09041934)
	pipeSB = NewSuperblock(&FileSystemType{Name: "pipefs", NoDev: true}, "", 0x50495045)
	sockSB = NewSuperblock(&FileSystemType{Name: "sockfs", NoDev: true}, "", 0x534f434b)
)

// anonInodeOps are the operations of inodes without a name: attributes can be changed.
type anonInodeOps struct{ DefaultInodeOps }

func (anonInodeOps) SetAttr(_ Context, i *Inode, a *SetAttr) error {
	if a.Valid&AttrSize != 0 {
		return unix.EINVAL
	}
	i.UpdateAttr(func(at *Attr) { a.Apply(at) })
	return nil
}

// Apply changes at as a says, but for the size, and sets ctime: what most file systems do.
func (a *SetAttr) Apply(at *Attr) {
	if a.Valid&AttrMode != 0 {
		at.Mode = at.Mode&unix.S_IFMT | a.Mode&07777
	}
	if a.Valid&AttrKillPriv != 0 {
		at.Mode &^= unix.S_ISUID
		if at.Mode&unix.S_IXGRP != 0 {
			at.Mode &^= unix.S_ISGID
		}
	}
	if a.Valid&AttrUID != 0 {
		at.UID = a.UID
	}
	if a.Valid&AttrGID != 0 {
		at.GID = a.GID
	}
	if a.Valid&AttrAtime != 0 {
		at.Atime = a.Atime
	}
	if a.Valid&AttrMtime != 0 {
		at.Mtime = a.Mtime
	}
	at.Ctime = Now()
}

// NewAnonInode makes an inode for anonymous files that share it, such as the two ends of a pipe. mode
// has type S_IFIFO, S_IFSOCK or none. The reference is the caller's.
func NewAnonInode(mode uint32, c *cred.Cred) *Inode {
	sb := anonSB
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		sb = pipeSB
	case unix.S_IFSOCK:
		sb = sockSB
	}
	now := Now()
	return NewInode(sb, sb.NewIno(), anonInodeOps{}, Attr{Mode: mode, Nlink: 1, UID: c.FSUID, GID: c.FSGID,
		BlkSize: 4096, Atime: now, Mtime: now, Ctime: now})
}

// NewAnonFile makes an open file with an anonymous inode of its own. name is what readlink of
// /proc/PID/fd/N shows: "anon_inode:[eventpoll]"; in "pipe:[]" and "socket:[]" the inode's number is filled in.
func NewAnonFile(name string, ops FileOps, flags uint32, c *cred.Cred) *File {
	mode := uint32(0600)
	switch {
	case strings.HasPrefix(name, "pipe:"):
		mode |= unix.S_IFIFO
	case strings.HasPrefix(name, "socket:"):
		mode = unix.S_IFSOCK | 0777
	}
	i := NewAnonInode(mode, c)
	f := NewAnonFileInode(name, i, ops, flags, c)
	i.DecRef()
	return f
}

// NewAnonFileInode makes an open file of i, and takes its own reference on it.
func NewAnonFileInode(name string, i *Inode, ops FileOps, flags uint32, c *cred.Cred) *File {
	i.IncRef()
	d := newRoot(i.SB, name, i)
	d.state.Store(dUnhashed | dAnon | dCantMount)
	f := &File{Path: Path{nil, d}, Cred: c, openFlags: flags}
	d.pins.Store(1)
	f.refs.Store(1)
	f.flags.Store(flags)
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		f.mode = modeRead
	case unix.O_WRONLY:
		f.mode = modeWrite
	case unix.O_RDWR:
		f.mode = modeRead | modeWrite
	}
	f.setOps(ops)
	return f
}

// anonName is the name with the inode's number filled in.
func (d *Dentry) anonName() string {
	name := d.Name()
	if strings.HasSuffix(name, ":[]") {
		return name[:len(name)-1] + strconv.FormatUint(d.Inode().Ino, 10) + "]"
	}
	return name
}

// KernMount mounts sb for the kernel's own use: nobody sees it in a namespace. It takes its own
// reference on sb; the mount has one reference, the caller's.
func (r *Registry) KernMount(sb *Superblock) *Mount {
	return r.newMount(sb, sb.Root, sb.Source, 0)
}

// OpenDetached opens an inode that has no name in its file system, as if it had been
// unlinked: memfd_create, shared anonymous memory, System V shared memory. Paths show
// "/" + name + " (deleted)". It takes over i's reference.
func OpenDetached(ctx Context, m *Mount, name string, i *Inode, flags uint32) (*File, error) {
	d := newDentry(m.root, name, 0, i)
	d.set(dUnhashed | dDeleted | dCantMount)
	d.pins.Store(1)
	defer d.unpin()
	return openPath(ctx, Path{m, d}, flags|oLargefile, true)
}
