package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/tty"
)

// guestTerminal is the program's terminal: a pseudo-terminal of the sandbox, whose master side the sentry
// connects to the host's terminal.
type guestTerminal struct {
	tty    *tty.TTY
	master *vfs.File
	slave  *vfs.File
	out    int           // the host's descriptor that output goes to
	again  chan struct{} // has room for one: the command is in the foreground
	behind atomic.Bool   // the command may be in the background
	wake   int           // an eventfd: behind has become true
	done   chan struct{} // closed when all output has been written
}

// words is a Context whose memory is a few bytes at address 0, for requests that take a pointer.
type words struct {
	vfs.Context
	b []byte
}

func (w *words) Memory() usermem.Memory { return w }

func (w *words) CopyIn(a usermem.Addr, b []byte) (int, error)  { return copy(b, w.b[a:]), nil }
func (w *words) CopyOut(a usermem.Addr, b []byte) (int, error) { return copy(w.b[a:], b), nil }

// newTerminal makes the terminal, if the command has one.
func (b *booter) newTerminal() (*guestTerminal, error) {
	c := b.config
	if c.Terminal == 0 {
		return nil, nil
	}
	ctx := &words{Context: vfs.KernelContext(), b: make([]byte, 64)}
	root := b.kernel.RootNamespaces().Mount.Root()
	open := func(name string) (*vfs.File, error) {
		f, err := vfs.Open(ctx, root, name, unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY})
		if err != nil {
			return nil, fmt.Errorf("making the program's terminal: %s: %w", name, err)
		}
		return f, nil
	}
	master, err := open("dev/pts/ptmx")
	if err != nil {
		return nil, err
	}
	m := master.Ops.(*tty.Master)
	if _, err := m.Ioctl(ctx, master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlocking the program's terminal: %w", err)
	}
	if _, err := m.Ioctl(ctx, master, unix.TIOCGPTN, 0); err != nil {
		return nil, fmt.Errorf("numbering the program's terminal: %w", err)
	}
	slave, err := open(fmt.Sprint("dev/pts/", binary.LittleEndian.Uint32(ctx.b)))
	if err != nil {
		return nil, err
	}
	copy(ctx.b, usermem.AsBytes(&c.Termios)[:36]) // struct termios of the kernel: without speeds
	if _, err := m.Ioctl(ctx, master, unix.TCSETS, 0); err != nil {
		return nil, fmt.Errorf("setting up the program's terminal: %w", err)
	}
	m.TTY().SetWinsize(c.Winsize)
	if c.UID != 0 {
		slave.Path.Chown(vfs.KernelContext(), c.UID, ^uint32(0))
	}
	t := &guestTerminal{tty: m.TTY(), master: master, slave: slave,
		again: make(chan struct{}, 1), done: make(chan struct{})}
	t.behind.Store(!c.Foreground)
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making the program's terminal: %w", err)
	}
	for fd := 0; fd <= 2; fd++ {
		if c.Terminal&(1<<fd) != 0 {
			t.out = fd
		}
	}
	return t, nil
}

// resume is called when the command is in the foreground of its terminal (again).
func (t *guestTerminal) resume() {
	t.behind.Store(false)
	select {
	case t.again <- struct{}{}:
	default:
	}
}

// leave is called when the command stops: afterwards it may be in the background.
func (t *guestTerminal) leave() {
	select {
	case <-t.again:
	default:
	}
	t.behind.Store(true)
	unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// relay begins to carry bytes both ways. wanted is called when the program waits for input and the command is
// in the background: natively the program would be stopped.
func (t *guestTerminal) relay(wanted func()) {
	ctx := vfs.KernelContext()
	t.master.IncRef()
	go func() {
		t.readHost(ctx, wanted)
		t.master.DecRef()
	}()
	// Without a slave of our own reads end when the last of the guest's is closed.
	t.slave.DecRef()
	go func() {
		defer close(t.done)
		out := os.NewFile(uintptr(t.out), "terminal")
		buf := make([]byte, 4096)
		for {
			io := usermem.Bytes(buf)
			n, err := t.master.Read(ctx, &io, 0)
			if n <= 0 || err != nil {
				return
			}
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
}

// readHost carries what is typed. It reads only when something is there: a read that waits would take the next line from
// whoever is in the foreground by then.
func (t *guestTerminal) readHost(ctx vfs.Context, wanted func()) {
	buf := make([]byte, 4096)
	for {
		if t.behind.Load() {
			t.background(wanted)
		}
		p := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(t.wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return
		}
		if p[1].Revents != 0 {
			unix.Read(t.wake, buf[:8])
			continue
		}
		n, err := unix.Read(0, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err == unix.EIO && p[0].Revents&unix.POLLHUP == 0:
			t.behind.Store(true)
			continue
		case n <= 0:
			// Nobody is there any more.
			t.tty.HangUp()
			return
		}
		io := usermem.Bytes(buf[:n])
		for io.Len() > 0 {
			if _, err := t.master.Write(ctx, &io, 0); err != nil {
				return
			}
		}
	}
}

// background waits until the command is in the foreground.
func (t *guestTerminal) background(wanted func()) {
	for told := false; ; {
		select {
		case <-t.again:
			return
		case <-time.After(100 * time.Millisecond):
			if !told && t.tty.ReaderWaits() {
				told = true
				wanted()
			}
		}
	}
}

// drain waits until what the program has written is on the host's terminal.
func (t *guestTerminal) drain() {
	select {
	case <-t.done:
	case <-time.After(time.Second):
	}
}
