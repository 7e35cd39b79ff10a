package main

import (
	"sync"

	"golang.org/x/sys/unix"
)

// terminal is the host's terminal, if the command has one. The program in the sandbox gets a terminal of
// its own with a line discipline of its own; the host's is put into raw mode and only carries bytes.
type terminal struct {
	fd int // -1: none

	mu    sync.Mutex
	saved unix.Termios
	isRaw bool
}

// openTerminal looks for a terminal among the standard descriptors, notes in c which they are and what it
// is like, and makes it raw.
func openTerminal(c *config) *terminal {
	t := &terminal{fd: -1}
	for fd := 0; fd <= 2; fd++ {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			continue
		}
		c.Terminal |= 1 << fd
		if t.fd < 0 {
			t.fd = fd
		}
	}
	// Without input there is nothing to discipline: output goes straight to the host's terminal.
	if c.Terminal&1 == 0 {
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
	t.raw()
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

// raw puts the terminal into raw mode, if the command is in its foreground: a background job must not touch it.
func (t *terminal) raw() bool {
	if t.fd < 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fg, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err != nil || fg != unix.Getpgrp() {
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
	if t.isRaw {
		unix.IoctlSetTermios(t.fd, unix.TCSETSW, &t.saved)
		t.isRaw = false
	}
}
