package host

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
)

// Ioctls of terminals that x/sys does not name on this architecture, or under another name.
const (
	tcgets2  = 0x802c542a
	tcsets2  = 0x402c542b
	tcsetsw2 = 0x402c542c
	tcsetsf2 = 0x402c542d

	termiosSize  = 36 // struct termios of the kernel
	termios2Size = 44
)

// Ioctl implements vfs.FileOps. Only requests that concern the terminal itself reach the host.
func (ff *FDFile) Ioctl(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	addr := usermem.Addr(arg)
	if cmd == unix.TIOCINQ && ff.Stream() {
		n, err := unix.IoctlGetInt(ff.fd, unix.TIOCINQ)
		if err != nil {
			return 0, err
		}
		return 0, putInt(ctx, addr, n)
	}
	if !ff.tty {
		return 0, unix.ENOTTY
	}
	switch cmd {
	case unix.TIOCGPGRP, unix.TIOCSPGRP, unix.TIOCGSID, unix.TIOCSCTTY, unix.TIOCNOTTY:
		if ff.opts.TTY == nil {
			return 0, unix.ENOTTY
		}
		return ff.opts.TTY(ctx, f, cmd, arg)
	case unix.TCGETS, tcgets2:
		t, err := unix.IoctlGetTermios(ff.fd, uint(cmd))
		if err != nil {
			return 0, err
		}
		n := termiosSize
		if cmd == tcgets2 {
			n = termios2Size
		}
		_, err = ctx.Memory().CopyOut(addr, usermem.AsBytes(t)[:n])
		return 0, err
	case unix.TCSETS, unix.TCSETSW, unix.TCSETSF, tcsets2, tcsetsw2, tcsetsf2:
		var t unix.Termios
		n := termiosSize
		if cmd >= tcsets2 {
			n = termios2Size
		}
		if _, err := ctx.Memory().CopyIn(addr, usermem.AsBytes(&t)[:n]); err != nil {
			return 0, err
		}
		return 0, retry(func() error { return unix.IoctlSetTermios(ff.fd, uint(cmd), &t) })
	case unix.TIOCGWINSZ:
		w, err := unix.IoctlGetWinsize(ff.fd, unix.TIOCGWINSZ)
		if err != nil {
			return 0, err
		}
		return 0, usermem.CopyObjectOut(ctx.Memory(), addr, w)
	case unix.TIOCSWINSZ:
		var w unix.Winsize
		if err := usermem.CopyObjectIn(ctx.Memory(), addr, &w); err != nil {
			return 0, err
		}
		return 0, unix.IoctlSetWinsize(ff.fd, unix.TIOCSWINSZ, &w)
	case unix.TIOCOUTQ, unix.TIOCGETD, unix.TIOCGEXCL:
		n, err := unix.IoctlGetInt(ff.fd, uint(cmd))
		if err != nil {
			return 0, err
		}
		return 0, putInt(ctx, addr, n)
	case unix.TCSBRK, unix.TCSBRKP, unix.TCXONC, unix.TCFLSH:
		return 0, retry(func() error { return unix.IoctlSetInt(ff.fd, uint(cmd), int(int32(arg))) })
	case unix.TIOCSTI:
		return 0, unix.EIO // as with dev.tty.legacy_tiocsti=0
	}
	return 0, unix.ENOTTY
}

func putInt(ctx vfs.Context, addr usermem.Addr, n int) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	_, err := ctx.Memory().CopyOut(addr, b[:])
	return err
}
