package main

import (
	"encoding/binary"
	"fmt"
	"os"
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
	out    int // the host's descriptor that output goes to
	done   chan struct{}
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
	t := &guestTerminal{tty: m.TTY(), master: master, slave: slave, done: make(chan struct{})}
	for fd := 0; fd <= 2; fd++ {
		if c.Terminal&(1<<fd) != 0 {
			t.out = fd
		}
	}
	return t, nil
}

// relay begins to carry bytes both ways.
func (t *guestTerminal) relay() {
	ctx := vfs.KernelContext()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := unix.Read(0, buf)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EIO || err == unix.EAGAIN { // in the background
				time.Sleep(100 * time.Millisecond)
				continue
			}
			if n <= 0 {
				return
			}
			io := usermem.Bytes(buf[:n])
			for io.Len() > 0 {
				if _, err := t.master.Write(ctx, &io, 0); err != nil {
					return
				}
			}
		}
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

// drain waits until what the program has written is on the host's terminal.
func (t *guestTerminal) drain() {
	select {
	case <-t.done:
	case <-time.After(time.Second):
	}
}
