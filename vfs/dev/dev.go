package dev

import (
	"errors"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
	"gosv.dev/vfs/devpts"
	"gosv.dev/vfs/tty"
)

// Options are what the devices of a sandbox need.
type Options struct {
	// Memory is where shared mappings of /dev/zero live.
	Memory *mm.Memory
	// Kmsg is the log behind /dev/kmsg; nil makes an empty one.
	Kmsg *Kmsg
	// Console opens /dev/console; nil: the caller's controlling terminal.
	Console vfs.DeviceOpener
}

// Register makes the devices known in r.
func Register(r *vfs.Registry, o Options) {
	if o.Kmsg == nil {
		o.Kmsg = NewKmsg()
	}
	fixed := func(ops vfs.FileOps) vfs.DeviceOpener {
		return func(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) { return ops, nil }
	}
	z := zero{mem: o.Memory}
	for _, d := range []struct {
		minor uint32
		open  vfs.DeviceOpener
	}{
		{3, fixed(null{})},
		{5, fixed(z)},
		{7, fixed(full{z})},
		{8, fixed(random{poll: true})},
		{9, fixed(random{})},
		{11, func(vfs.Context, *vfs.Inode, *vfs.File) (vfs.FileOps, error) {
			o.Kmsg.mu.Lock()
			defer o.Kmsg.mu.Unlock()
			return &kmsgFile{k: o.Kmsg, next: o.Kmsg.first}, nil
		}},
	} {
		vfs.RegisterCharDev(r, "mem", 1, d.minor, 1, d.open)
	}
	console := o.Console
	if console == nil {
		console = openTTY
	}
	vfs.RegisterCharDev(r, "/dev/tty", 5, 0, 1, openTTY)
	vfs.RegisterCharDev(r, "/dev/console", 5, 1, 1, console)
	vfs.RegisterCharDev(r, "/dev/ptmx", 5, 2, 1, devpts.OpenPTMX)
	vfs.RegisterCharDev(r, "pts", 136, 0, 1<<20, devpts.OpenSlave)
}

// openTTY opens /dev/tty: the caller's controlling terminal, whichever it is.
func openTTY(ctx vfs.Context, _ *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	t := tty.Of(ctx)
	if t == nil {
		return nil, unix.ENXIO
	}
	s, err := t.OpenSlave(ctx, f.Flags()|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// node is a thing in /dev.
type node struct {
	name         string
	mode         uint32 // with type
	major, minor uint32
	target       string // of a symbolic link
	gid          uint32
}

var nodes = []node{
	{name: "null", mode: unix.S_IFCHR | 0666, major: 1, minor: 3},
	{name: "zero", mode: unix.S_IFCHR | 0666, major: 1, minor: 5},
	{name: "full", mode: unix.S_IFCHR | 0666, major: 1, minor: 7},
	{name: "random", mode: unix.S_IFCHR | 0666, major: 1, minor: 8},
	{name: "urandom", mode: unix.S_IFCHR | 0666, major: 1, minor: 9},
	{name: "tty", mode: unix.S_IFCHR | 0666, major: 5, minor: 0, gid: 5},
	{name: "console", mode: unix.S_IFCHR | 0620, major: 5, minor: 1, gid: 5},
	{name: "pts", mode: unix.S_IFDIR | 0755},
	{name: "shm", mode: unix.S_IFDIR | 01777},
	{name: "mqueue", mode: unix.S_IFDIR | 01777},
	{name: "ptmx", mode: unix.S_IFLNK, target: "pts/ptmx"},
	{name: "fd", mode: unix.S_IFLNK, target: "/proc/self/fd"},
	{name: "stdin", mode: unix.S_IFLNK, target: "/proc/self/fd/0"},
	{name: "stdout", mode: unix.S_IFLNK, target: "/proc/self/fd/1"},
	{name: "stderr", mode: unix.S_IFLNK, target: "/proc/self/fd/2"},
	{name: "core", mode: unix.S_IFLNK, target: "/proc/kcore"},
}

// Populate makes what a container's /dev has in root, the root of a tmpfs. What is
// there already is left alone. ctx is mostly vfs.KernelContext.
func Populate(ctx vfs.Context, root vfs.Path) error {
	for _, n := range nodes {
		var err error
		switch n.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = vfs.Mkdir(ctx, root, n.name, n.mode&07777)
		case unix.S_IFLNK:
			err = vfs.Symlink(ctx, n.target, root, n.name)
		default:
			err = vfs.Mknod(ctx, root, n.name, n.mode, unix.Mkdev(n.major, n.minor))
		}
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		if n.mode&unix.S_IFMT == unix.S_IFLNK {
			continue
		}
		// Neither a umask nor a missing sticky bit of mkdir may be in the way.
		if err := vfs.Chmod(ctx, root, n.name, n.mode&07777, 0); err != nil {
			return err
		}
		if n.gid != 0 {
			if err := vfs.Chown(ctx, root, n.name, ^uint32(0), n.gid, 0); err != nil {
				return err
			}
		}
	}
	return nil
}
