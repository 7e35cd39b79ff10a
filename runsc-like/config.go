package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/flat"
	"gosv.dev/runsc-like/sandbox"
)

// bootCommand is the argument with which gosv starts itself as the sentry.
const bootCommand = "boot-sentry"

// Descriptors of the sentry's process besides standard input, output and error.
const (
	controlFD = 3 // a socket: the configuration, then messages
	logFD     = 4
	straceFD  = 5
)

// config is what the command line tells the sentry.
type config struct {
	Argv     []string
	Env      []string
	Cwd      string
	User     string // "", name, uid, name:group, uid:gid
	UID, GID uint32 // of the invoking user, when User is empty
	Groups   []uint32
	Hostname string
	Memory   int64 // bytes, 0: as much as the host has
	CPUs     int   // 0: as many as the host has
	ReadOnly bool
	Volumes  []volume
	Platform string
	// NoRewrite keeps the flat platform from rewriting system call sites.
	NoRewrite    bool
	Interception flat.Interception
	Strace       bool
	LogFile      bool // there is a file for the log
	Debug        bool
	Identity     sandbox.Identity
	// Terminal is which of the standard descriptors are the host's terminal (a bit each), and its state.
	Terminal   int
	Foreground bool // the command is in its foreground
	Termios    unix.Termios
	Winsize    unix.Winsize
	Umask      uint32
	// Ignored is the set of signals that the caller has ignored, as far as can be told.
	Ignored  uint64
	Orphaned bool // the caller's process group is
	Nice     int32
	// Limits are the soft and hard resource limits that the program begins with, by number.
	Limits map[int]unix.Rlimit
}

// volume is a directory of the host that the guest shares.
type volume struct {
	Host, Guest string
	ReadOnly    bool
}

// Messages on the control socket, a byte each, some with an operand.
const (
	// To the sentry.
	msgSignal     = 's' // + signal number
	msgResize     = 'w' // + struct winsize
	msgForeground = 'f' // the terminal may be read
	// From the sentry.
	msgStop  = 'S' // the program has stopped
	msgInput = 'I' // the program reads the terminal, which is in the background
	msgError = 'e' // + length, text
	msgExit  = 'x' // + exit status, signal that ended the program or 0; the last message
)

// send writes c with its length before it.
func (c *config) send(w io.Writer) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(b)))
	if _, err := w.Write(n[:]); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// receiveConfig reads what send wrote.
func receiveConfig(r io.Reader) (*config, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	b := make([]byte, binary.LittleEndian.Uint32(n[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c := &config{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return c, nil
}
