package main

import (
	"sync"

	"golang.org/x/sys/unix"
)

// terminal is the host's terminal, if the command has one. The program in the sandbox gets a terminal of
// its own with a line discipline of its own; the host's is put into raw mode and only carries bytes.
type terminal struct {
	fd       int           // -1: none
	released chan struct{} // has room for one: restore was called

	mu    sync.Mutex
	saved unix.Termios
	isRaw bool
}

// openTerminal looks for a terminal among the standard descriptors, notes in c which they are and what it
// is like, and makes it raw.
func openTerminal(c *config) *terminal {
	t := &terminal{fd: -1, released: make(chan struct{}, 1)}
	for fd := 0; fd <= 2; fd++ {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			continue
		}
		c.Terminal |= 1 << fd
		if t.fd < 0 {
			t.fd = fd
		}
	}
	// The program gets a terminal of its own only if both its input and its output are. Otherwise it shares the host's
	// as it is: in a pipeline another program on the host may want what is typed (`gosv do ls | less`).
	if c.Terminal&3 != 3 {
		c.Terminal = 0
		t.fd = -1
		return t
	}
	if s, err := unix.IoctlGetTermios(t.fd, unix.TCGETS); err == nil {
		t.saved = *s
		c.Termios = *s
	}
	if w, ok := t.size(); ok {
		c.Winsize = w
	}
	c.Foreground = t.raw()
	return t
}

func (t *terminal) size() (unix.Winsize, bool) {
	if t.fd < 0 {
		return unix.Winsize{}, false
	}
	w, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil {
		return unix.Winsize{}, false
	}
	return *w, true
}

// mine tells whether the command is in the terminal's foreground: a background job must not touch it, and
// would be stopped if it did.
func (t *terminal) mine() bool {
	fg, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err == unix.ENOTTY { // not the controlling terminal: there is no job control
		return true
	}
	return err == nil && fg == unix.Getpgrp()
}

// taken tells whether the terminal is raw.
func (t *terminal) taken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isRaw
}

// raw puts the terminal into raw mode, if the command is in its foreground, and tells whether it is.
func (t *terminal) raw() bool {
	if t.fd < 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mine() {
		return false
	}
	if s, err := unix.IoctlGetTermios(t.fd, unix.TCGETS); err == nil && !t.isRaw {
		t.saved = *s
	}
	r := t.saved
	r.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	r.Oflag &^= unix.OPOST
	r.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	r.Cflag &^= unix.CSIZE | unix.PARENB
	r.Cflag |= unix.CS8
	r.Cc[unix.VMIN], r.Cc[unix.VTIME] = 1, 0
	t.isRaw = unix.IoctlSetTermios(t.fd, unix.TCSETSW, &r) == nil
	return t.isRaw
}

// restore makes the terminal what it was.
func (t *terminal) restore() {
	if t.fd < 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isRaw {
		return
	}
	t.isRaw = false
	if t.mine() {
		unix.IoctlSetTermios(t.fd, unix.TCSETSW, &t.saved)
	}
	select {
	case t.released <- struct{}{}:
	default:
	}
}
