package pipe

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// NewFiles is pipe2(2): both ends of a new pipe, whose references are the caller's.
// flags are O_NONBLOCK, O_DIRECT, O_CLOEXEC (which is the descriptors'). reg has the limits; nil: there are none.
func NewFiles(ctx vfs.Context, reg *vfs.Registry, flags uint32) (r, w *vfs.File, err error) {
	if flags&^(unix.O_NONBLOCK|unix.O_DIRECT|unix.O_CLOEXEC|unix.O_EXCL) != 0 {
		return nil, nil, unix.EINVAL
	}
	if flags&unix.O_EXCL != 0 {
		return nil, nil, unix.ENOPKG // O_NOTIFICATION_PIPE: watch queues are not there
	}
	p := New(reg)
	p.unnamed = true
	p.mu.Lock()
	re, err := p.addEnd(ctx.Cred(), true, false)
	if err != nil {
		p.mu.Unlock()
		return nil, nil, err
	}
	we, _ := p.addEnd(ctx.Cred(), false, true)
	p.mu.Unlock()
	i := vfs.NewAnonInode(unix.S_IFIFO|0600, ctx.Cred())
	defer i.DecRef()
	i.SetAux(p) // for those who open it through /proc/PID/fd
	flags &= unix.O_NONBLOCK | unix.O_DIRECT
	r = vfs.NewAnonFileInode("pipe:[]", i, re, unix.O_RDONLY|flags&unix.O_NONBLOCK, ctx.Cred())
	w = vfs.NewAnonFileInode("pipe:[]", i, we, unix.O_WRONLY|flags, ctx.Cred())
	return r, w, nil
}

// Of is the pipe that f is an end of, or nil.
func Of(f *vfs.File) *Pipe {
	if e, ok := f.Ops.(*End); ok {
		return e.Pipe
	}
	return nil
}

// OpenFIFO opens the FIFO i for the access mode of f. Opening one side waits for
// the other, unless O_NONBLOCK is set (then writing without a reader gives ENXIO)
// or both sides are opened, or it is no FIFO but a pipe, found through /proc/PID/fd. It is the vfs.FIFOOpener of a sandbox
// without limits; see Opener.
func OpenFIFO(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	return open(ctx, nil, i, f)
}

// Opener is the vfs.FIFOOpener of a sandbox with its limits.
func Opener(reg *vfs.Registry) vfs.FIFOOpener {
	return func(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) { return open(ctx, reg, i, f) }
}

func open(ctx vfs.Context, reg *vfs.Registry, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	flags := f.Flags()
	var read, write bool
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		read = true
	case unix.O_WRONLY:
		write = true
	case unix.O_RDWR:
		read, write = true, true
	default:
		return nil, unix.EINVAL
	}
	p, ok := i.Aux(func() any { return New(reg) }).(*Pipe)
	if !ok {
		return nil, unix.ENXIO
	}
	e, err := openFIFO(ctx, p, read, write, flags&unix.O_NONBLOCK != 0)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func openFIFO(ctx vfs.Context, p *Pipe, read, write, nonblock bool) (*End, error) {
	p.mu.Lock()
	if write && !read && nonblock && p.readers == 0 && !p.unnamed {
		p.mu.Unlock()
		return nil, unix.ENXIO
	}
	e, err := p.addEnd(ctx.Cred(), read, write)
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	other, opens := p.writers, &p.writerOpens
	if write {
		other, opens = p.readers, &p.readerOpens
	}
	seen := *opens
	p.mu.Unlock()
	// Whoever waits in open for this side goes on.
	p.Notify(waitq.Readable | waitq.Writable)
	if other > 0 || p.unnamed { // also when both sides were opened
		return e, nil
	}
	if nonblock {
		e.quietHup, e.hasQuietHup = seen, true
		return e, nil
	}

	w := waitq.GetWaiter()
	defer w.Put()
	p.EventRegister(&w.Entry, waitq.Readable|waitq.Writable)
	defer p.EventUnregister(&w.Entry)
	for {
		p.mu.Lock()
		come := *opens != seen
		p.mu.Unlock()
		if come {
			return e, nil
		}
		if err := w.Wait(ctx, -1); err != nil {
			p.dropEnd(read, write)
			return nil, err
		}
	}
}
