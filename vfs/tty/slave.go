package tty

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Slave is an open file of the terminal that programs use.
type Slave struct {
	vfs.DefaultFileOps
	t          *TTY
	generation uint64
}

// OpenSlave opens the slave for ctx. It may become the caller's controlling terminal.
func (t *TTY) OpenSlave(ctx vfs.Context, flags uint32) (*Slave, error) {
	t.mu.Lock()
	if t.masterClosed || t.locked {
		t.mu.Unlock()
		return nil, unix.EIO
	}
	if t.exclusive && !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		t.mu.Unlock()
		return nil, unix.EBUSY
	}
	t.slaves++
	t.slaveGone = false
	s := &Slave{t: t, generation: t.generation}
	t.mu.Unlock()
	t.OpenedBy(ctx, flags)
	return s, nil
}

// TTY is the terminal that s is an open file of.
func (s *Slave) TTY() *TTY { return s.t }

func (s *Slave) dead() bool { return s.generation != s.t.generation }

// Readiness implements vfs.FileOps.
func (s *Slave) Readiness(mask waitq.Events) waitq.Events {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var ev waitq.Events
	if s.dead() {
		ev = waitq.Readable | waitq.Writable | waitq.Err | waitq.Hup
	} else {
		ev = t.readable()
		if !t.stopped && t.output.free() >= outputRoom {
			ev |= waitq.Writable
		}
	}
	return ev & (mask | waitq.Always)
}

// EventRegister implements vfs.FileOps.
func (s *Slave) EventRegister(e *waitq.Entry, mask waitq.Events) {
	s.t.slaveQueue.EventRegister(e, mask)
}

// EventUnregister implements vfs.FileOps.
func (s *Slave) EventUnregister(e *waitq.Entry) { s.t.slaveQueue.EventUnregister(e) }

// Stream implements vfs.FileOps.
func (s *Slave) Stream() bool { return true }

// Release implements vfs.FileOps.
func (s *Slave) Release(*vfs.File) {
	t := s.t
	t.mu.Lock()
	t.slaves--
	if t.slaves == 0 {
		t.slaveGone = true
		t.exclusive = false
		t.events.master |= waitq.Readable | waitq.Writable | waitq.Hup
	}
	t.unlock()
}

// vtimer is the read timer of VMIN = 0, VTIME > 0, which runs from the beginning of a
// read: since reads here return EAGAIN and are tried again, it must be remembered.
type vtimer struct {
	timer    *time.Timer
	deadline time.Time // zero: no read waits
}

// wake makes waiting readers look again after d.
func (t *TTY) wakeAfter(d time.Duration) {
	if d < time.Millisecond {
		d = time.Millisecond
	}
	if t.vtime.timer == nil {
		t.vtime.timer = time.AfterFunc(d, func() { t.slaveQueue.Notify(waitq.Readable) })
		return
	}
	t.vtime.timer.Reset(d)
}

// lateRead is how long after its deadline a waiting read comes back at the latest.
// One that comes later is another read: the first one was interrupted.
const lateRead = 80 * time.Millisecond

// Read implements vfs.FileOps.
func (s *Slave) Read(ctx vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, flags vfs.IOFlags) (int64, error) {
	t := s.t
	if err := t.checkChange(ctx, unix.SIGTTIN); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.unlock()
	n, err := s.readLocked(dst, flags)
	t.starving = err == unix.EAGAIN && flags&vfs.IONonblock == 0
	return n, err
}

// ReaderWaits tells whether a process has been waiting for input since it last asked for some.
func (t *TTY) ReaderWaits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.starving
}

// readLocked is Read with t.mu held.
func (s *Slave) readLocked(dst *usermem.IO, flags vfs.IOFlags) (int64, error) {
	t := s.t
	if s.dead() {
		return 0, nil
	}
	if dst.Len() == 0 {
		return 0, nil
	}
	k := &t.termios
	if k.l(unix.ICANON) && !k.l(unix.EXTPROC) {
		if !t.lines() {
			return 0, unix.EAGAIN
		}
		return s.readLine(dst)
	}

	have := t.head - t.tail
	want := uint64(k.Cc[unix.VMIN])
	wait := time.Duration(k.Cc[unix.VTIME]) * 100 * time.Millisecond
	if want > dst.Len() {
		want = dst.Len()
	}
	nonblock := flags&vfs.IONonblock != 0
	switch {
	case want > 0 && wait == 0:
		if have < want && (have == 0 || !nonblock) {
			return 0, unix.EAGAIN
		}
	case want > 0: // the time between bytes
		if have == 0 {
			return 0, unix.EAGAIN
		}
		if have < want && !nonblock {
			if left := time.Until(t.lastInput.Add(wait)); left > 0 {
				t.wakeAfter(left)
				return 0, unix.EAGAIN
			}
		}
	case have == 0 && wait == 0:
		return 0, nil
	case have == 0: // the time of the whole read
		if nonblock {
			return 0, unix.EAGAIN
		}
		now := t.clock()
		switch d := t.vtime.deadline; {
		case d.IsZero() || now.After(d.Add(lateRead)):
			t.vtime.deadline = now.Add(wait)
			t.wakeAfter(wait)
			return 0, unix.EAGAIN
		case now.Before(d):
			t.wakeAfter(d.Sub(now))
			return 0, unix.EAGAIN
		}
		t.vtime.deadline = time.Time{}
		return 0, nil
	}
	t.vtime.deadline = time.Time{}

	var done int64
	for t.tail != t.head && dst.Len() > 0 {
		at := t.tail % bufSize
		n := min(t.head-t.tail, bufSize-at, dst.Len())
		m, err := dst.Write(t.buf[at : at+n])
		t.tail += uint64(m)
		done += int64(m)
		if err != nil {
			if done == 0 {
				return 0, unix.EFAULT
			}
			break
		}
	}
	if t.canon < t.tail {
		t.canon = t.tail
	}
	t.receive()
	t.events.master |= waitq.Writable
	return done, nil
}

// readLine reads at most one line.
func (s *Slave) readLine(dst *usermem.IO) (int64, error) {
	t := s.t
	var done int64
	for t.tail != t.canon {
		// A piece without a line's end in it, up to and with the end.
		at := t.tail
		end := at
		found := false
		for end != t.canon && end-at < bufSize-at%bufSize {
			end++
			if t.isEOL(end - 1) {
				found = true
				break
			}
		}
		n := end - at
		eof := found && t.at(end-1) == disabled
		if eof {
			n--
		}
		if n > dst.Len() {
			n, found, eof = dst.Len(), false, false
		}
		if n > 0 {
			m, err := dst.Write(t.buf[at%bufSize : at%bufSize+n])
			t.tail += uint64(m)
			done += int64(m)
			if err != nil {
				if done == 0 {
					return 0, unix.EFAULT
				}
				break
			}
		}
		if eof {
			t.tail++
		}
		if found {
			t.clearEOL(t.tail - 1)
			t.push = false
			break
		}
		if dst.Len() == 0 {
			// An end of file right behind what was asked for is eaten with it.
			if t.tail != t.canon && t.isEOL(t.tail) && t.at(t.tail) == disabled {
				t.clearEOL(t.tail)
				t.tail++
			}
			break
		}
	}
	t.receive()
	t.events.master |= waitq.Writable
	return done, nil
}

// Write implements vfs.FileOps.
func (s *Slave) Write(ctx vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	t := s.t
	t.mu.Lock()
	tostop := t.termios.l(unix.TOSTOP)
	t.mu.Unlock()
	if tostop {
		if err := t.checkChange(ctx, unix.SIGTTOU); err != nil {
			return 0, 0, err
		}
	}
	t.mu.Lock()
	defer t.unlock()
	if s.dead() || t.masterClosed {
		return 0, 0, unix.EIO
	}
	if src.Len() == 0 {
		return 0, 0, nil
	}
	if t.stopped {
		return 0, 0, unix.EAGAIN
	}
	t.flushEcho()
	var done int64
	for src.Len() > 0 && t.output.free() >= outputRoom {
		b := t.scratch[:]
		if room := t.output.free(); len(b) > room {
			b = b[:room]
		}
		if src.Len() < uint64(len(b)) {
			b = b[:src.Len()]
		}
		v := *src // src must stay behind what does not fit
		n, err := v.Read(b)
		b = b[:n]
		if err != nil {
			if n == 0 {
				if done == 0 {
					return 0, 0, unix.EFAULT
				}
				break
			}
		}
		used := t.process(b)
		*src = src.Skip(uint64(used))
		done += int64(used)
		if err != nil {
			break
		}
	}
	if done == 0 {
		return 0, 0, unix.EAGAIN
	}
	t.events.master |= waitq.Readable
	return done, 0, nil
}

// process puts bytes through the output rules into the master's queue, while there is
// room; it returns how many.
func (t *TTY) process(b []byte) int {
	if !t.termios.o(unix.OPOST) {
		n := min(len(b), t.output.free())
		t.output.push(b[:n])
		return n
	}
	// Runs of printable characters are moved at once.
	plain := !t.termios.o(unix.OLCUC)
	for i := 0; i < len(b); {
		j := i
		for plain && j < len(b) && !isControl(b[j]) {
			if !t.continuation(b[j]) {
				t.column++
			}
			j++
		}
		if j > i {
			n := min(j-i, t.output.free())
			t.output.push(b[i : i+n])
			if i += n; i < j {
				t.column -= j - i
				return i
			}
			continue
		}
		if t.output.free() < outputRoom {
			return i
		}
		var out [8]byte
		t.output.push(t.outputChar(b[i], out[:0]))
		i++
	}
	return len(b)
}
