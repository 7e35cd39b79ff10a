package tty

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

const (
	// inputLimit is how much of what the master writes may wait for room in the read
	// buffer; outputLimit is how much the master may leave unread.
	inputLimit  = 16384
	outputLimit = 20480
	// outputRoom is the room that must be there to output a character (a tab).
	outputRoom = 8
	// masterChunk is the most that one read of the master gets, and what a flush of
	// output leaves to it: Linux has it in the master's own read buffer.
	masterChunk = 4095

	readableEvents = waitq.Readable
	writableEvents = waitq.Writable
)

// TTY is a pseudo-terminal pair.
type TTY struct {
	// Index is the number in devpts; Rdev the slave's device number. Immutable.
	Index uint32
	Rdev  uint64

	masterQueue, slaveQueue waitq.Queue

	// mu protects what follows. Unlock with unlock, which tells waiters and
	// sends signals.
	mu sync.Mutex

	ldisc
	termios ktermios
	// locks has the bits of the settings that nobody without CAP_SYS_ADMIN may change.
	locks   ktermios
	winsize unix.Winsize

	pending byteQueue // from the master, before the line discipline
	output  byteQueue // to the master
	echoBuf []byte    // echoes that could not yet go to output

	// stopped: no output flows; outputStopped: by TCXONC, so that ^Q does not start it.
	stopped, outputStopped bool

	packet bool  // TIOCPKT
	status uint8 // TIOCPKT_* not yet told to the master

	locked       bool // TIOCSPTLCK
	exclusive    bool // TIOCEXCL
	masterClosed bool
	slaves       int    // open slaves
	slaveGone    bool   // the last slave has been closed
	generation   uint64 // counts hang-ups: slaves opened before one are dead

	session    Session
	foreground Group

	starving  bool // a reader found nothing and waits
	lastInput time.Time
	vtime     vtimer

	// What unlock has to tell.
	events  struct{ master, slave waitq.Events }
	signals uint64 // bit n: signal n for the foreground group

	scratch [512]byte
}

// New returns a pair, locked as unlockpt(3) expects. The caller opens the master.
func New(index uint32) *TTY {
	t := &TTY{
		Index: index, Rdev: unix.Mkdev(136, index),
		termios: defaultTermios(), locked: true,
	}
	t.pending.limit, t.output.limit = inputLimit, outputLimit
	return t
}

func (t *TTY) clock() time.Time { return time.Now() }

// unlock lets go of t.mu, then wakes waiters and sends the signals that came up.
func (t *TTY) unlock() {
	ev, sigs, fg := t.events, t.signals, t.foreground
	t.events.master, t.events.slave, t.signals = 0, 0, 0
	t.mu.Unlock()
	if ev.master != 0 {
		t.masterQueue.Notify(ev.master)
	}
	if ev.slave != 0 {
		t.slaveQueue.Notify(ev.slave)
	}
	if fg != nil {
		for n := unix.Signal(1); sigs != 0 && n < 64; n++ {
			if sigs&(1<<n) != 0 {
				sigs &^= 1 << n
				fg.Signal(n)
			}
		}
	}
}

// raise sends sig to the foreground group when t is unlocked.
func (t *TTY) raise(sig unix.Signal) { t.signals |= 1 << sig }

// tell sets a packet mode status.
func (t *TTY) tell(set, clear uint8) {
	if t.packet {
		t.status = t.status&^clear | set
		t.events.master |= waitq.Readable | waitq.Pri
	}
}

// stop and start are ^S and ^Q.
func (t *TTY) stop() {
	if !t.stopped {
		t.stopped = true
		t.tell(unix.TIOCPKT_STOP, unix.TIOCPKT_START)
	}
}

func (t *TTY) start() {
	if t.stopped && !t.outputStopped {
		t.stopped = false
		t.tell(unix.TIOCPKT_START, unix.TIOCPKT_STOP)
		t.flushEcho()
		t.events.slave |= waitq.Writable
	}
}

// flushOutput throws away output that the master has not yet got hold of.
func (t *TTY) flushOutput() {
	t.output.truncate(masterChunk)
	t.tell(unix.TIOCPKT_FLUSHWRITE, 0)
	t.events.slave |= waitq.Writable
}

// flushInput throws away what the slave has not read.
func (t *TTY) flushInput() {
	t.resetInput()
	t.tell(unix.TIOCPKT_FLUSHREAD, 0)
	t.receive()
	t.events.master |= waitq.Writable
}

// readable is Readable if the slave has something to read.
func (t *TTY) readable() waitq.Events {
	if t.inputReady(true) {
		return waitq.Readable
	}
	return 0
}

// inputReady tells whether a read of the slave would get something; poll asks for
// as much as VMIN wants.
func (t *TTY) inputReady(poll bool) bool {
	k := &t.termios
	if k.l(unix.ICANON) && !k.l(unix.EXTPROC) {
		return t.lines()
	}
	min := uint64(1)
	if poll && k.Cc[unix.VTIME] == 0 && k.Cc[unix.VMIN] > 0 {
		min = uint64(k.Cc[unix.VMIN])
	}
	return t.head-t.tail >= min
}

// hangup is what happens when the master closes, or vhangup(2): all open slaves are
// dead, the session loses its terminal.
func (t *TTY) hangup() {
	t.mu.Lock()
	t.generation++
	s, fg := t.session, t.foreground
	t.session, t.foreground = nil, nil
	t.resetInput()
	t.pending.truncate(0)
	t.events.slave |= waitq.Readable | waitq.Writable | waitq.Err | waitq.Hup
	t.unlock()
	if s != nil {
		s.HangUp(fg)
	}
}

// HangUp is vhangup(2) on t.
func (t *TTY) HangUp() { t.hangup() }

// SetWinsize changes the window size and tells the foreground group.
func (t *TTY) SetWinsize(w unix.Winsize) {
	t.mu.Lock()
	if t.winsize != w {
		t.winsize = w
		t.raise(unix.SIGWINCH)
	}
	t.unlock()
}

// byteQueue is a bounded queue of bytes that grows on demand.
type byteQueue struct {
	ring       []byte // length a power of two
	head, tail uint
	limit      int
}

func (q *byteQueue) len() int  { return int(q.head - q.tail) }
func (q *byteQueue) free() int { return max(0, q.limit-q.len()) }

func (q *byteQueue) push(b []byte) {
	if need := q.len() + len(b); need > len(q.ring) {
		n := max(256, len(q.ring))
		for n < need {
			n *= 2
		}
		ring := make([]byte, n)
		k := q.peek(ring)
		q.ring, q.tail, q.head = ring, 0, uint(k)
	}
	for len(b) > 0 {
		n := copy(q.ring[q.head&uint(len(q.ring)-1):], b)
		q.head += uint(n)
		b = b[n:]
	}
}

// first is the longest piece from the front that lies in one part, at most n bytes.
func (q *byteQueue) first(n int) []byte {
	if q.len() < n {
		n = q.len()
	}
	if n == 0 {
		return nil
	}
	at := int(q.tail & uint(len(q.ring)-1))
	return q.ring[at:min(at+n, len(q.ring))]
}

func (q *byteQueue) drop(n int) { q.tail += uint(n) }

func (q *byteQueue) pop() byte {
	b := q.ring[q.tail&uint(len(q.ring)-1)]
	q.tail++
	return b
}

// peek copies as much as fits to b and takes nothing.
func (q *byteQueue) peek(b []byte) int {
	n := 0
	for i := q.tail; i != q.head && n < len(b); {
		at := i & uint(len(q.ring)-1)
		part := q.ring[at:]
		if rest := int(q.head - i); len(part) > rest {
			part = part[:rest]
		}
		k := copy(b[n:], part)
		n += k
		i += uint(k)
	}
	return n
}

// truncate keeps the first n bytes.
func (q *byteQueue) truncate(n int) {
	if q.len() > n {
		q.head = q.tail + uint(n)
	}
}
