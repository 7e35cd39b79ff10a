package tty

import (
	"golang.org/x/sys/unix"
)

// bufSize is the size of the line discipline's read buffer: one place always stays
// free, so that a line has at most 4095 bytes and its newline.
const bufSize = 4096

// ldisc is the line discipline's state: the read buffer and the cursor.
//
// The read buffer is a ring of bytes from tail to head, all counters growing for ever.
// Up to canon they are complete lines; from there to head is the line being
// edited. eol marks the bytes that end a line, one bit a place.
type ldisc struct {
	buf               [bufSize]byte
	eol               [bufSize / 64]uint64
	tail, canon, head uint64

	lnext   bool // the next character is to be taken literally
	erasing bool // inside an ECHOPRT erasure, a '/' is owed
	push    bool // data from before a change to canonical mode is readable

	column      int // of the cursor
	canonColumn int // where the line being edited began
}

func (d *ldisc) at(i uint64) byte    { return d.buf[i%bufSize] }
func (d *ldisc) isEOL(i uint64) bool { i %= bufSize; return d.eol[i/64]>>(i%64)&1 != 0 }
func (d *ldisc) setEOL(i uint64)     { i %= bufSize; d.eol[i/64] |= 1 << (i % 64) }
func (d *ldisc) clearEOL(i uint64)   { i %= bufSize; d.eol[i/64] &^= 1 << (i % 64) }
func (d *ldisc) lines() bool         { return d.canon != d.tail }
func (d *ldisc) put(c byte)          { d.clearEOL(d.head); d.buf[d.head%bufSize] = c; d.head++ }
func (d *ldisc) resetInput() {
	d.tail, d.canon = d.head, d.head
	d.lnext, d.erasing, d.push = false, false, false
}
func isControl(c byte) bool { return c < 32 || c == 127 }
func isUpper(c byte) bool   { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool   { return c >= 'a' && c <= 'z' }
func isWord(c byte) bool {
	return isUpper(c) || isLower(c) || c >= '0' && c <= '9' || c == '_' || c >= 0xa0 && c != 0xd7 && c != 0xf7
}
func (t *TTY) continuation(c byte) bool { return t.termios.i(unix.IUTF8) && c&0xc0 == 0x80 }

// room is how many bytes may be received now. A single line that is too long is
// received to be cut off; behind complete lines input waits.
func (t *TTY) room() int {
	n := int(t.head - t.tail)
	free := bufSize - n - 1
	if t.termios.i(unix.PARMRK) {
		free = (bufSize-n)/3 - 1
	}
	if free <= 0 {
		if t.termios.l(unix.ICANON) && !t.lines() {
			return 1 << 20
		}
		return 0
	}
	return free
}

// receive moves what the master wrote through the input rules, as far as there is
// room. t.mu is held.
func (t *TTY) receive() {
	took := false
	for t.pending.len() > 0 && t.room() > 0 {
		t.input(t.pending.pop())
		took = true
	}
	if took {
		t.lastInput = t.clock()
		t.flushEcho()
		t.events.slave |= t.readable()
		t.events.master |= writableEvents
	}
}

// full tells whether the place kept for a line's end is all that is left.
func (t *TTY) bufferFull() bool { return t.head-t.tail >= bufSize-1 }

// store puts an ordinary character into the read buffer; what is too much is lost.
func (t *TTY) store(c byte) {
	if t.bufferFull() {
		if t.termios.i(unix.IMAXBEL) {
			t.outputRaw('\a')
		}
		return
	}
	t.put(c)
}

// input takes one character through the input rules.
func (t *TTY) input(c byte) {
	k := &t.termios
	if k.i(unix.ISTRIP) {
		c &= 0x7f
	}
	if k.i(unix.IUCLC) && k.l(unix.IEXTEN) && isUpper(c) {
		c += 'a' - 'A'
	}
	if k.l(unix.EXTPROC) {
		t.store(c)
		return
	}
	if t.lnext {
		t.lnext = false
		t.ordinary(c, true)
		return
	}

	if k.i(unix.IXON) {
		switch {
		case k.is(c, unix.VSTART):
			t.start()
			return
		case k.is(c, unix.VSTOP):
			t.stop()
			return
		}
	}
	if k.l(unix.ISIG) {
		switch {
		case k.is(c, unix.VINTR):
			t.signalChar(unix.SIGINT, c)
			return
		case k.is(c, unix.VQUIT):
			t.signalChar(unix.SIGQUIT, c)
			return
		case k.is(c, unix.VSUSP):
			t.signalChar(unix.SIGTSTP, c)
			return
		}
	}
	if t.stopped && !t.outputStopped && k.i(unix.IXON) && k.i(unix.IXANY) {
		t.start()
	}
	switch c {
	case '\r':
		if k.i(unix.IGNCR) {
			return
		}
		if k.i(unix.ICRNL) {
			c = '\n'
		}
	case '\n':
		if k.i(unix.INLCR) {
			c = '\r'
		}
	}
	if k.l(unix.ICANON) && t.edit(c) {
		return
	}
	t.ordinary(c, false)
}

// ordinary echoes and stores a character that has no special meaning, or is to be taken literally.
func (t *TTY) ordinary(c byte, literal bool) {
	k := &t.termios
	if k.l(unix.ECHO) {
		t.finishErasing()
		if c == '\n' && !literal {
			t.echoRaw('\n')
		} else {
			t.markColumn()
			t.echo(c)
		}
	}
	if c == 0xff && k.i(unix.PARMRK) {
		t.store(c)
	}
	t.store(c)
	if !k.l(unix.ICANON) {
		t.canon = t.head
	}
}

// edit handles the characters that edit or end a line; it returns false for others.
func (t *TTY) edit(c byte) bool {
	k := &t.termios
	ext := k.l(unix.IEXTEN)
	switch {
	case k.is(c, unix.VERASE), k.is(c, unix.VKILL), k.is(c, unix.VWERASE) && ext:
		t.erase(c)
		return true
	case k.is(c, unix.VLNEXT) && ext:
		t.lnext = true
		if k.l(unix.ECHO) {
			t.finishErasing()
			if k.l(unix.ECHOCTL) {
				t.echoRaw('^')
				t.echoRaw('\b')
			}
		}
		return true
	case k.is(c, unix.VREPRINT) && k.l(unix.ECHO) && ext:
		t.finishErasing()
		t.echo(c)
		t.echoRaw('\n')
		for i := t.canon; i != t.head; i++ {
			t.echo(t.at(i))
		}
		return true
	case c == '\n':
		if k.l(unix.ECHO) || k.l(unix.ECHONL) {
			t.echoRaw('\n')
		}
		t.endLine(c)
		return true
	case k.is(c, unix.VEOF):
		t.endLine(disabled)
		return true
	case k.is(c, unix.VEOL), k.is(c, unix.VEOL2) && ext:
		if k.l(unix.ECHO) {
			t.markColumn()
			t.echo(c)
		}
		if c == 0xff && k.i(unix.PARMRK) {
			t.store(c)
		}
		t.endLine(c)
		return true
	}
	return false
}

// endLine completes a line with c (disabled: end of file, which is not read).
func (t *TTY) endLine(c byte) {
	if t.head-t.tail >= bufSize {
		return
	}
	at := t.head
	t.put(c)
	t.setEOL(at)
	t.canon = t.head
}

// signalChar is the arrival of a character that means a signal.
func (t *TTY) signalChar(sig unix.Signal, c byte) {
	k := &t.termios
	t.raise(sig)
	if !k.l(unix.NOFLSH) {
		t.echoBuf = t.echoBuf[:0]
		t.flushOutput()
		t.resetInput()
		if t.packet {
			t.status |= unix.TIOCPKT_FLUSHREAD
		}
	}
	if k.i(unix.IXON) {
		t.start()
	}
	if k.l(unix.ECHO) {
		t.echo(c)
	}
}

// erase is VERASE, VWERASE and VKILL.
func (t *TTY) erase(c byte) {
	k := &t.termios
	if t.head == t.canon {
		return
	}
	const (
		char = iota
		word
		line
	)
	kind := char
	switch {
	case k.is(c, unix.VERASE):
	case k.is(c, unix.VWERASE) && k.l(unix.IEXTEN):
		kind = word
	default:
		if !k.l(unix.ECHO) {
			t.head = t.canon
			return
		}
		if !k.l(unix.ECHOK) || !k.l(unix.ECHOKE) || !k.l(unix.ECHOE) {
			t.head = t.canon
			t.finishErasing()
			t.echo(c)
			if k.l(unix.ECHOK) {
				t.echoRaw('\n')
			}
			return
		}
		kind = line
	}

	seenWord := false
	for t.head != t.canon {
		// One character, which may be several bytes of UTF-8.
		at := t.head - 1
		for t.continuation(t.at(at)) && at != t.canon {
			at--
		}
		ch := t.at(at)
		if t.continuation(ch) {
			break // never erase a part
		}
		if kind == word {
			if isWord(ch) {
				seenWord = true
			} else if seenWord {
				break
			}
		}
		n := t.head - at
		if k.l(unix.ECHO) {
			t.echoErase(ch, at, n, kind == char)
		}
		t.head = at
		if kind == char {
			break
		}
	}
	if t.head == t.canon && k.l(unix.ECHO) {
		t.finishErasing()
	}
}

// echoErase shows that the character ch of n bytes at position at goes.
func (t *TTY) echoErase(ch byte, at, n uint64, single bool) {
	k := &t.termios
	switch {
	case k.l(unix.ECHOPRT):
		if !t.erasing {
			t.echoRaw('\\')
			t.erasing = true
		}
		t.echo(ch)
		for i := at + 1; i < at+n; i++ {
			t.echoBytes(t.at(i))
			if t.column > 0 && !t.continuation(t.at(i)) {
				t.column--
			}
		}
	case single && !k.l(unix.ECHOE):
		t.echo(k.Cc[unix.VERASE])
	case ch == '\t':
		// Find how wide the tab is: the columns since the last one or the line's start.
		cols, afterTab := 0, false
		for i := at; i != t.canon; {
			i--
			if b := t.at(i); b == '\t' {
				afterTab = true
				break
			} else if isControl(b) {
				if k.l(unix.ECHOCTL) {
					cols += 2
				}
			} else if !t.continuation(b) {
				cols++
			}
		}
		if !afterTab {
			cols += t.canonColumn
		}
		for i := 8 - cols&7; i > 0; i-- {
			t.echoBytes('\b')
			if t.column > 0 {
				t.column--
			}
		}
	default:
		if isControl(ch) && k.l(unix.ECHOCTL) {
			t.echoRaw('\b')
			t.echoRaw(' ')
			t.echoRaw('\b')
		}
		if !isControl(ch) || k.l(unix.ECHOCTL) {
			t.echoRaw('\b')
			t.echoRaw(' ')
			t.echoRaw('\b')
		}
	}
}

func (t *TTY) finishErasing() {
	if t.erasing {
		t.echoRaw('/')
		t.erasing = false
	}
}

// markColumn remembers where the line began, at its first character.
func (t *TTY) markColumn() {
	if t.head == t.canon {
		t.canonColumn = t.column
	}
}

// echo shows a character, control characters as ^X if ECHOCTL says so.
func (t *TTY) echo(c byte) {
	if t.termios.l(unix.ECHOCTL) && isControl(c) && c != '\t' {
		t.echoBytes('^')
		t.echoBytes(c ^ 0x40)
		t.column += 2
		return
	}
	t.echoRaw(c)
}

// echoRaw shows a character through the output rules.
func (t *TTY) echoRaw(c byte) {
	if t.termios.o(unix.OPOST) {
		var out [8]byte
		for _, b := range t.outputChar(c, out[:0]) {
			t.echoBytes(b)
		}
		return
	}
	t.echoBytes(c)
}

// echoBytes keeps a byte for the master until output may flow. Like Linux it bounds
// what is kept; the oldest goes first.
func (t *TTY) echoBytes(b byte) {
	if len(t.echoBuf) >= bufSize {
		copy(t.echoBuf, t.echoBuf[1:])
		t.echoBuf = t.echoBuf[:len(t.echoBuf)-1]
	}
	t.echoBuf = append(t.echoBuf, b)
}

// flushEcho lets echoes go out, unless output is stopped or the master's queue is full.
func (t *TTY) flushEcho() {
	if len(t.echoBuf) == 0 || t.stopped {
		return
	}
	n := t.output.free()
	if n > len(t.echoBuf) {
		n = len(t.echoBuf)
	}
	if n == 0 {
		return
	}
	if t.masterClosed {
		n = len(t.echoBuf)
	} else {
		t.output.push(t.echoBuf[:n])
		t.events.master |= readableEvents
	}
	t.echoBuf = append(t.echoBuf[:0], t.echoBuf[n:]...)
}

func (t *TTY) outputRaw(c byte) { t.echoBytes(c) }

// outputChar appends what c becomes on output (OPOST) and moves the cursor.
func (t *TTY) outputChar(c byte, out []byte) []byte {
	k := &t.termios
	switch c {
	case '\n':
		if k.o(unix.ONLRET) {
			t.column = 0
		}
		if k.o(unix.ONLCR) {
			t.column, t.canonColumn = 0, 0
			return append(out, '\r', '\n')
		}
		t.canonColumn = t.column
	case '\r':
		if k.o(unix.ONOCR) && t.column == 0 {
			return out
		}
		if k.o(unix.OCRNL) {
			c = '\n'
			if k.o(unix.ONLRET) {
				t.column, t.canonColumn = 0, 0
			}
			break
		}
		t.column, t.canonColumn = 0, 0
	case '\t':
		n := 8 - t.column&7
		t.column += n
		if k.Oflag&unix.TABDLY == unix.XTABS {
			return append(out, "        "[:n]...)
		}
	case '\b':
		if t.column > 0 {
			t.column--
		}
	default:
		if !isControl(c) {
			if k.o(unix.OLCUC) && isLower(c) {
				c -= 'a' - 'A'
			}
			if !t.continuation(c) {
				t.column++
			}
		}
	}
	return append(out, c)
}

// lineModeChanged keeps input across a change between canonical mode and not.
func (t *TTY) lineModeChanged(was, is bool) {
	switch {
	case is && !was:
		// What was there is readable at once, as if it were a line without its end.
		t.eol = [bufSize / 64]uint64{}
		if t.head != t.tail {
			t.setEOL(t.head - 1)
			t.push = true
		}
		t.canon = t.head
	case was && !is:
		t.canon = t.head
		t.push = false
	}
	t.lnext, t.erasing = false, false
	t.events.slave |= t.readable()
}
