package tty

import (
	"golang.org/x/sys/unix"
)

// Flags that package unix does not name.
const (
	disabled    = 0 // _POSIX_VDISABLE
	termiosSize = 36
	nccs        = 19
	ibshift     = 16
	cmspar      = 0x40000000
)

// ktermios is struct termios2, of which struct termios is the beginning.
type ktermios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [nccs]uint8
	Ispeed, Ospeed             uint32
}

// termio is the old struct termio of TCGETA.
type termio struct {
	Iflag, Oflag, Cflag, Lflag uint16
	Line                       uint8
	Cc                         [8]uint8
	_                          [1]uint8
}

// defaultTermios is what a new terminal has.
func defaultTermios() ktermios {
	t := ktermios{
		Iflag:  unix.ICRNL | unix.IXON,
		Oflag:  unix.OPOST | unix.ONLCR,
		Cflag:  unix.B38400 | unix.CS8 | unix.CREAD,
		Lflag:  unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN,
		Ispeed: 38400, Ospeed: 38400,
	}
	t.Cc[unix.VINTR] = 'C' - 0x40
	t.Cc[unix.VQUIT] = '\\' - 0x40
	t.Cc[unix.VERASE] = 0x7f
	t.Cc[unix.VKILL] = 'U' - 0x40
	t.Cc[unix.VEOF] = 'D' - 0x40
	t.Cc[unix.VMIN] = 1
	t.Cc[unix.VSTART] = 'Q' - 0x40
	t.Cc[unix.VSTOP] = 'S' - 0x40
	t.Cc[unix.VSUSP] = 'Z' - 0x40
	t.Cc[unix.VREPRINT] = 'R' - 0x40
	t.Cc[unix.VDISCARD] = 'O' - 0x40
	t.Cc[unix.VWERASE] = 'W' - 0x40
	t.Cc[unix.VLNEXT] = 'V' - 0x40
	return t
}

// masterTermios is what TCGETS shows of a master before the slave's is asked for; all
// requests go to the slave's settings, as in Linux.

func (t *ktermios) i(f uint32) bool { return t.Iflag&f != 0 }
func (t *ktermios) o(f uint32) bool { return t.Oflag&f != 0 }
func (t *ktermios) l(f uint32) bool { return t.Lflag&f != 0 }

// is tells whether c is the special character at index cc, which may be disabled.
func (t *ktermios) is(c byte, cc int) bool { return c == t.Cc[cc] && t.Cc[cc] != disabled }

var speeds = map[uint32]uint32{
	unix.B0: 0, unix.B50: 50, unix.B75: 75, unix.B110: 110, unix.B134: 134, unix.B150: 150,
	unix.B200: 200, unix.B300: 300, unix.B600: 600, unix.B1200: 1200, unix.B1800: 1800,
	unix.B2400: 2400, unix.B4800: 4800, unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400,
	unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400, unix.B460800: 460800,
	unix.B500000: 500000, unix.B576000: 576000, unix.B921600: 921600, unix.B1000000: 1000000,
	unix.B1152000: 1152000, unix.B1500000: 1500000, unix.B2000000: 2000000, unix.B2500000: 2500000,
	unix.B3000000: 3000000, unix.B3500000: 3500000, unix.B4000000: 4000000,
}

// setSpeeds fills the speeds from the codes in Cflag, unless these say that
// the numbers are given (BOTHER).
func (t *ktermios) setSpeeds() {
	o := t.Cflag & unix.CBAUD
	if o != unix.BOTHER {
		t.Ospeed = speeds[o]
	}
	switch in := t.Cflag >> ibshift & unix.CBAUD; in {
	case unix.BOTHER:
	case unix.B0:
		t.Ispeed = t.Ospeed
	default:
		t.Ispeed = speeds[in]
	}
}

// setTermios puts new settings in force. now is where line mode is decided anew.
// t.mu is held.
func (t *TTY) setTermios(n ktermios) {
	// A pseudo-terminal is always eight bits wide, without parity, able to receive.
	n.Cflag = n.Cflag&^(unix.CSIZE|unix.PARENB|cmspar) | unix.CS8 | unix.CREAD
	n.setSpeeds()
	n.Line = 0
	old := t.termios
	t.termios = n

	if (old.Lflag^n.Lflag)&(unix.ICANON|unix.EXTPROC) != 0 {
		t.lineModeChanged(old.l(unix.ICANON), n.l(unix.ICANON))
	}
	if old.i(unix.IXON) && !n.i(unix.IXON) && !t.outputStopped && t.stopped {
		t.start()
	}
	if t.packet {
		// TIOCPKT tells when ^S and ^Q begin or cease to stop output.
		usual := func(k *ktermios) bool {
			return k.i(unix.IXON) && k.Cc[unix.VSTOP] == 'S'-0x40 && k.Cc[unix.VSTART] == 'Q'-0x40
		}
		extproc := (old.Lflag^n.Lflag)&unix.EXTPROC != 0 || n.l(unix.EXTPROC) && old != n
		if o, now := usual(&old), usual(&n); o != now || extproc {
			t.status &^= unix.TIOCPKT_DOSTOP | unix.TIOCPKT_NOSTOP
			if now {
				t.status |= unix.TIOCPKT_DOSTOP
			} else {
				t.status |= unix.TIOCPKT_NOSTOP
			}
			if extproc {
				t.status |= tiocpktIoctl
			}
		}
	}
	t.receive()
}

const tiocpktIoctl = 0x40 // TIOCPKT_IOCTL
