package proc

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/eventfd"
	"gosv.dev/vfs/kernfs"
	"gosv.dev/vfs/timerfd"
	"gosv.dev/vfs/tty"
)

// descriptor is the open file of a descriptor, with a reference; ENOENT if it is not open.
func (e *entry) descriptor(fd int32) (f *vfs.File, cloexec bool, table *vfs.FDTable, err error) {
	t := e.task().GetFiles()
	if t == nil {
		return nil, false, nil, unix.ENOENT
	}
	defer t.DecRef(vfs.KernelContext())
	f, cloexec, err = t.GetFlags(fd)
	if err != nil {
		return nil, false, nil, unix.ENOENT
	}
	return f, cloexec, t, nil
}

// fdNumber reads a name that is a descriptor.
func fdNumber(name string) (int32, error) {
	if name == "0" {
		return 0, nil
	}
	n, ok := number(name)
	if !ok {
		return 0, unix.ENOENT
	}
	return n, nil
}

// linkMode is the mode of a link in fd: what the file was opened for.
func linkMode(f *vfs.File) uint32 {
	m := uint32(unix.S_IFLNK)
	if f.Readable() {
		m |= 0o500
	}
	if f.Writable() {
		m |= 0o300
	}
	return m
}

// fdList lists the descriptors of the task.
func (e *entry) fdList(typ uint8) func(vfs.Context) ([]kernfs.Entry, error) {
	return func(vfs.Context) ([]kernfs.Entry, error) {
		if e.gone() {
			return nil, unix.ENOENT
		}
		t := e.task().GetFiles()
		if t == nil {
			return nil, nil
		}
		defer t.DecRef(vfs.KernelContext())
		var list []kernfs.Entry
		t.ForEach(func(fd int32, _ *vfs.File, _ bool) bool {
			list = append(list, kernfs.Entry{Name: strconv.Itoa(int(fd)), Type: typ})
			return true
		})
		return list, nil
	}
}

// ownThreads lets the process itself in, whatever the mode says.
func (e *entry) ownThreads(d *kernfs.Dir) {
	d.Permission = func(ctx vfs.Context, mask uint32) error {
		if e.gone() {
			return unix.ESRCH
		}
		if c := caller(e.k, ctx); c != nil && c.Process() == e.t.Process() && mask&vfs.MayWrite == 0 {
			return kernfs.ErrAllow
		}
		return nil
	}
}

// fdDir is /proc/PID/fd.
func (e *entry) fdDir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Mode, d.Owner = 0o500, e.owner
	e.ownThreads(d)
	d.Size = func() int64 {
		t := e.task().GetFiles()
		if t == nil {
			return 0
		}
		defer t.DecRef(vfs.KernelContext())
		return int64(t.Count())
	}
	d.List = e.fdList(unix.DT_LNK)
	d.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		fd, err := fdNumber(name)
		if err != nil {
			return nil, err
		}
		f, _, _, err := e.descriptor(fd)
		if err != nil {
			return nil, err
		}
		mode := linkMode(f)
		f.DecRef()
		follow := func(ctx vfs.Context) (vfs.Path, error) {
			if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
				return vfs.Path{}, err
			}
			f, _, _, err := e.descriptor(fd)
			if err != nil {
				return vfs.Path{}, err
			}
			defer f.DecRef()
			p := f.Path
			p.IncRef()
			return p, nil
		}
		return &kernfs.MagicLink{
			Attr: kernfs.Attr{Mode: mode, Owner: e.owner, NoMount: true, Size: func() int64 { return 64 }, Valid: func() bool {
				f, _, _, err := e.descriptor(fd)
				if err != nil {
					return false
				}
				defer f.DecRef()
				return linkMode(f) == mode
			}},
			Target: e.linkText(follow), Follow: follow,
		}, nil
	}
	return d
}

// fdinfoDir is /proc/PID/fdinfo.
func (e *entry) fdinfoDir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Owner = e.owner
	d.Permission = func(ctx vfs.Context, _ uint32) error {
		if e.gone() {
			return unix.ESRCH
		}
		return e.mayLook(ctx, sentry.PtraceRead)
	}
	d.List = e.fdList(unix.DT_REG)
	d.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		fd, err := fdNumber(name)
		if err != nil {
			return nil, err
		}
		f, _, _, err := e.descriptor(fd)
		if err != nil {
			return nil, err
		}
		f.DecRef()
		n := e.private(0o444, func(_ vfs.Context, b *bytes.Buffer) error { return e.fdinfo(fd, b) })
		n.NoMount = true
		n.Valid = func() bool {
			f, _, _, err := e.descriptor(fd)
			if err == nil {
				f.DecRef()
			}
			return err == nil
		}
		return n, nil
	}
	return d
}

// anonMountID is what mnt_id is for files that are on no mount a guest can see.
const anonMountID = 15

func (e *entry) fdinfo(fd int32, b *bytes.Buffer) error {
	f, cloexec, table, err := e.descriptor(fd)
	if err != nil {
		return err
	}
	defer f.DecRef()
	flags := f.Flags()
	if f.IsPathOnly() {
		flags |= unix.O_PATH
	}
	if cloexec {
		flags |= unix.O_CLOEXEC
	}
	mnt := anonMountID
	if m := f.Path.Mount; m != nil && m.ID != 0 {
		mnt = m.ID
	}
	ino := uint64(0)
	if i := f.Inode(); i != nil {
		ino = i.Ino
	}
	fmt.Fprintf(b, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", f.Pos(), flags, mnt, ino)
	b.WriteString(f.LocksOf(table))
	switch o := f.Ops.(type) {
	case *eventfd.Event:
		count, semaphore := o.Info()
		one := 0
		if semaphore {
			one = 1
		}
		fmt.Fprintf(b, "eventfd-count: %16x\neventfd-id: %d\neventfd-semaphore: %d\n", count, ino, one)
	case *timerfd.Timer:
		clock, ticks, flags, spec := o.Info()
		fmt.Fprintf(b, "clockid: %d\nticks: %d\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n", clock, ticks,
			flags, spec.Value.Sec, spec.Value.Nsec, spec.Interval.Sec, spec.Interval.Nsec)
	case *tty.Master:
		fmt.Fprintf(b, "tty-index:\t%d\n", o.TTY().Index)
	case interface{ FDInfo() string }:
		b.WriteString(o.FDInfo())
	default:
		if mask, ok := sentry.SignalfdMask(f); ok {
			fmt.Fprintf(b, "sigmask:\t%016x\n", uint64(mask))
		} else {
			b.WriteString(sentry.PidfdFDInfo(f, e.ns))
		}
	}
	return nil
}

// terminal is tty_nr and tpgid of stat.
func (e *entry) terminal(_ vfs.Context, t *tty.TTY) (nr, pgid int32) {
	major, minor := unix.Major(t.Rdev), unix.Minor(t.Rdev)
	nr, pgid = int32(minor&0xff|major<<8|minor&^0xff<<12), -1
	if g := t.Foreground(); g != nil {
		pgid = sentry.GroupPID(g).In(e.ns)
	}
	return nr, pgid
}
