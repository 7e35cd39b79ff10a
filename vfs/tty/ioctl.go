package tty

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Requests that package unix does not name.
const (
	tiocgptpeer = 0x5441
	tiocsig     = 0x40045436
	tiocglcktrm = 0x5456
	tiocslcktrm = 0x5457
	tcgets2     = 0x802c542a
	tcsets2     = 0x402c542b
	tcsetsw2    = 0x402c542c
	tcsetsf2    = 0x402c542d
	tiocsti     = 0x5412
)

// An FDInstaller is a vfs.Context that can give its caller a descriptor. The
// reference of f goes to the descriptor, and stays with the caller on error.
type FDInstaller interface {
	InstallFD(f *vfs.File, cloexec bool) (int32, error)
}

// Ioctl implements vfs.FileOps.
func (m *Master) Ioctl(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	t := m.t
	addr := usermem.Addr(arg)
	mem := ctx.Memory()
	switch cmd {
	case unix.TIOCSPTLCK:
		var v int32
		if err := usermem.CopyObjectIn(mem, addr, &v); err != nil {
			return 0, err
		}
		t.mu.Lock()
		t.locked = v != 0
		t.mu.Unlock()
		return 0, nil
	case unix.TIOCGPTLCK:
		t.mu.Lock()
		v := boolInt(t.locked)
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCGPTN:
		v := t.Index
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case tiocgptpeer:
		in, ok := ctx.(FDInstaller)
		if !ok || m.peer == nil {
			return 0, unix.EIO
		}
		file, err := m.peer(ctx, uint32(arg))
		if err != nil {
			return 0, err
		}
		fd, err := in.InstallFD(file, arg&unix.O_CLOEXEC != 0)
		if err != nil {
			file.DecRef()
		}
		return uint64(fd), err
	case unix.TIOCPKT:
		var v int32
		if err := usermem.CopyObjectIn(mem, addr, &v); err != nil {
			return 0, err
		}
		t.mu.Lock()
		if v != 0 && !t.packet {
			t.packet, t.status = true, 0
		} else if v == 0 {
			t.packet = false
		}
		t.mu.Unlock()
		return 0, nil
	case unix.TIOCGPKT:
		t.mu.Lock()
		v := boolInt(t.packet)
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case tiocsig:
		if arg < 1 || arg >= 64 {
			return 0, unix.EINVAL
		}
		t.mu.Lock()
		t.raise(unix.Signal(arg))
		t.unlock()
		return 0, nil
	case unix.TIOCINQ:
		t.mu.Lock()
		v := int32(t.output.len())
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCSCTTY, unix.TIOCNOTTY:
		return 0, unix.ENOTTY
	case unix.TCFLSH:
		return 0, t.flushMaster(arg)
	case tiocsti:
		return 0, unix.EIO
	}
	return t.ioctl(ctx, f, cmd, arg, true)
}

// flushMaster is TCFLSH on the master: its input is the slave's output.
func (t *TTY) flushMaster(which uint64) error {
	if which > unix.TCIOFLUSH {
		return unix.EINVAL
	}
	t.mu.Lock()
	if which != unix.TCOFLUSH {
		t.output.truncate(0)
		t.events.slave |= waitq.Writable
	}
	if which != unix.TCIFLUSH {
		t.pending.truncate(0)
		t.events.master |= waitq.Writable
	}
	t.unlock()
	return nil
}

// Ioctl implements vfs.FileOps.
func (s *Slave) Ioctl(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	t := s.t
	t.mu.Lock()
	dead := s.dead()
	t.mu.Unlock()
	if dead {
		if cmd == unix.TIOCSPGRP {
			return 0, unix.ENOTTY
		}
		return 0, unix.EIO
	}
	switch cmd {
	case unix.TIOCSCTTY:
		return 0, t.setControlling(ctx, f, arg == 1)
	case unix.TIOCNOTTY:
		return 0, t.notty(ctx)
	case unix.TIOCINQ:
		t.mu.Lock()
		v := int32(t.available())
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(ctx.Memory(), usermem.Addr(arg), &v)
	case tiocsti:
		return 0, t.fakeInput(ctx, usermem.Addr(arg))
	case unix.TCFLSH:
		if err := t.checkChange(ctx, unix.SIGTTOU); err != nil {
			return 0, err
		}
		if arg > unix.TCIOFLUSH {
			return 0, unix.EINVAL
		}
		t.mu.Lock()
		if arg != unix.TCOFLUSH {
			t.flushInput()
		}
		if arg != unix.TCIFLUSH {
			t.flushOutput()
		}
		t.unlock()
		return 0, nil
	case unix.TIOCPKT, unix.TIOCGPTN, unix.TIOCSPTLCK, tiocgptpeer, unix.TIOCGPTLCK, unix.TIOCGPKT, tiocsig:
		return 0, unix.ENOTTY
	}
	return t.ioctl(ctx, f, cmd, arg, false)
}

// available is what FIONREAD tells: without ends of files in canonical mode.
func (t *TTY) available() int {
	if !t.termios.l(unix.ICANON) || t.termios.l(unix.EXTPROC) {
		return int(t.head - t.tail)
	}
	n := 0
	for i := t.tail; i != t.canon; i++ {
		if !(t.isEOL(i) && t.at(i) == disabled) {
			n++
		}
	}
	return n
}

// fakeInput is TIOCSTI.
func (t *TTY) fakeInput(ctx vfs.Context, addr usermem.Addr) error {
	if jc := jobControl(ctx); jc != nil && jc.Terminal() != t && !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	var c uint8
	if err := usermem.CopyObjectIn(ctx.Memory(), addr, &c); err != nil {
		return err
	}
	t.mu.Lock()
	t.input(c)
	t.lastInput = t.clock()
	t.flushEcho()
	t.events.slave |= t.readable()
	t.unlock()
	return nil
}

// ioctl handles what means the same on both sides, or differs by asMaster.
func (t *TTY) ioctl(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64, asMaster bool) (uint64, error) {
	addr := usermem.Addr(arg)
	mem := ctx.Memory()
	switch cmd {
	case unix.TCGETS:
		k := t.getTermios()
		_, err := mem.CopyOut(addr, usermem.AsBytes(&k)[:termiosSize])
		return 0, err
	case tcgets2:
		k := t.getTermios()
		return 0, usermem.CopyObjectOut(mem, addr, &k)
	case unix.TCSETS, unix.TCSETSW, unix.TCSETSF, tcsets2, tcsetsw2, tcsetsf2, unix.TCSETA, unix.TCSETAW, unix.TCSETAF:
		return 0, t.ioctlSet(ctx, cmd, addr, asMaster)
	case unix.TCGETA:
		k := t.getTermios()
		o := termio{Iflag: uint16(k.Iflag), Oflag: uint16(k.Oflag), Cflag: uint16(k.Cflag), Lflag: uint16(k.Lflag), Line: k.Line}
		copy(o.Cc[:], k.Cc[:])
		return 0, usermem.CopyObjectOut(mem, addr, &o)
	case tiocglcktrm:
		t.mu.Lock()
		k := t.locks
		t.mu.Unlock()
		_, err := mem.CopyOut(addr, usermem.AsBytes(&k)[:termiosSize])
		return 0, err
	case tiocslcktrm:
		if !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		var k ktermios
		if _, err := mem.CopyIn(addr, usermem.AsBytes(&k)[:termiosSize]); err != nil {
			return 0, err
		}
		t.mu.Lock()
		t.locks = k
		t.mu.Unlock()
		return 0, nil
	case unix.TIOCGWINSZ:
		t.mu.Lock()
		w := t.winsize
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &w)
	case unix.TIOCSWINSZ:
		var w unix.Winsize
		if err := usermem.CopyObjectIn(mem, addr, &w); err != nil {
			return 0, err
		}
		t.SetWinsize(w)
		return 0, nil
	case unix.TIOCGPGRP:
		id, err := t.foregroundID(ctx, asMaster)
		if err != nil {
			return 0, err
		}
		return 0, usermem.CopyObjectOut(mem, addr, &id)
	case unix.TIOCSPGRP:
		var id int32
		if err := usermem.CopyObjectIn(mem, addr, &id); err != nil {
			return 0, err
		}
		return 0, t.setForeground(ctx, id, asMaster)
	case unix.TIOCGSID:
		id, err := t.sessionID(ctx, asMaster)
		if err != nil {
			return 0, err
		}
		return 0, usermem.CopyObjectOut(mem, addr, &id)
	case unix.TIOCEXCL, unix.TIOCNXCL:
		t.mu.Lock()
		t.exclusive = cmd == unix.TIOCEXCL
		t.mu.Unlock()
		return 0, nil
	case unix.TIOCGEXCL:
		t.mu.Lock()
		v := boolInt(t.exclusive)
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCGETD:
		v := int32(0) // N_TTY
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCSETD:
		var v int32
		if err := usermem.CopyObjectIn(mem, addr, &v); err != nil {
			return 0, err
		}
		if v != 0 {
			return 0, unix.EINVAL
		}
		return 0, nil
	case unix.TIOCGDEV:
		v := uint32(t.Rdev)
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCOUTQ:
		v := int32(0) // a pseudo-terminal's wire is never busy
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCVHANGUP:
		if !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		t.hangup()
		return 0, nil
	case unix.TCSBRK, unix.TCSBRKP, unix.TIOCSBRK, unix.TIOCCBRK:
		// There is no line to put a break on; output is always drained.
		return 0, t.checkUnlessMaster(ctx, asMaster)
	case unix.TCXONC:
		if err := t.checkUnlessMaster(ctx, asMaster); err != nil {
			return 0, err
		}
		return 0, t.flowControl(arg, asMaster)
	case unix.TIOCGSOFTCAR:
		t.mu.Lock()
		v := boolInt(t.termios.Cflag&unix.CLOCAL != 0)
		t.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, addr, &v)
	case unix.TIOCSSOFTCAR:
		var v int32
		if err := usermem.CopyObjectIn(mem, addr, &v); err != nil {
			return 0, err
		}
		t.mu.Lock()
		if t.termios.Cflag &^= unix.CLOCAL; v != 0 {
			t.termios.Cflag |= unix.CLOCAL
		}
		t.mu.Unlock()
		return 0, nil
	}
	return 0, unix.ENOTTY
}

func (t *TTY) checkUnlessMaster(ctx vfs.Context, asMaster bool) error {
	if asMaster {
		return nil
	}
	return t.checkChange(ctx, unix.SIGTTOU)
}

// flowControl is TCXONC.
func (t *TTY) flowControl(arg uint64, asMaster bool) error {
	t.mu.Lock()
	defer t.unlock()
	switch arg {
	case unix.TCOOFF:
		if !asMaster && !t.outputStopped {
			t.outputStopped = true
			t.stop()
		}
	case unix.TCOON:
		if !asMaster && t.outputStopped {
			t.outputStopped = false
			t.start()
		}
	case unix.TCIOFF, unix.TCION:
		cc := unix.VSTOP
		if arg == unix.TCION {
			cc = unix.VSTART
		}
		c := t.termios.Cc[cc]
		if c == disabled {
			return nil
		}
		t.scratch[0] = c
		if asMaster {
			t.input(c)
			t.flushEcho()
		} else {
			t.output.push(t.scratch[:1])
			t.events.master |= waitq.Readable
		}
	default:
		return unix.EINVAL
	}
	return nil
}

func (t *TTY) getTermios() ktermios {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.termios
}

// ioctlSet is TCSETS and its relatives.
func (t *TTY) ioctlSet(ctx vfs.Context, cmd uint32, addr usermem.Addr, asMaster bool) error {
	if err := t.checkUnlessMaster(ctx, asMaster); err != nil {
		return err
	}
	mem := ctx.Memory()
	n := t.getTermios()
	flush := false
	switch cmd {
	case unix.TCSETA, unix.TCSETAW, unix.TCSETAF:
		var o termio
		if err := usermem.CopyObjectIn(mem, addr, &o); err != nil {
			return err
		}
		n.Iflag = n.Iflag&^0xffff | uint32(o.Iflag)
		n.Oflag = n.Oflag&^0xffff | uint32(o.Oflag)
		n.Cflag = n.Cflag&^0xffff | uint32(o.Cflag)
		n.Lflag = n.Lflag&^0xffff | uint32(o.Lflag)
		copy(n.Cc[:], o.Cc[:])
		flush = cmd == unix.TCSETAF
	case tcsets2, tcsetsw2, tcsetsf2:
		if err := usermem.CopyObjectIn(mem, addr, &n); err != nil {
			return err
		}
		flush = cmd == tcsetsf2
	default:
		if _, err := mem.CopyIn(addr, usermem.AsBytes(&n)[:termiosSize]); err != nil {
			return err
		}
		flush = cmd == unix.TCSETSF
	}
	t.mu.Lock()
	defer t.unlock()
	if flush {
		t.flushInput()
	}
	if !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		keep := func(new *uint32, old, locked uint32) { *new = *new&^locked | old&locked }
		keep(&n.Iflag, t.termios.Iflag, t.locks.Iflag)
		keep(&n.Oflag, t.termios.Oflag, t.locks.Oflag)
		keep(&n.Cflag, t.termios.Cflag, t.locks.Cflag)
		keep(&n.Lflag, t.termios.Lflag, t.locks.Lflag)
		for i, l := range t.locks.Cc {
			if l != 0 {
				n.Cc[i] = t.termios.Cc[i]
			}
		}
	}
	t.setTermios(n)
	return nil
}

func boolInt(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
