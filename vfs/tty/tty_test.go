package tty

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// memory is guest memory from address 0x1000 on.
type memory []byte

func (m memory) CopyIn(a usermem.Addr, b []byte) (int, error) {
	if a < 0x1000 || int(a)-0x1000+len(b) > len(m) {
		return 0, unix.EFAULT
	}
	return copy(b, m[a-0x1000:]), nil
}

func (m memory) CopyOut(a usermem.Addr, b []byte) (int, error) {
	if a < 0x1000 || int(a)-0x1000+len(b) > len(m) {
		return 0, unix.EFAULT
	}
	return copy(m[a-0x1000:], b), nil
}

// process is a caller in a session of its own.
type process struct {
	vfs.Context
	mem     memory
	group   *group
	session *session
	leader  bool
	ignores bool
}

func newProcess(s *session, g *group, leader bool) *process {
	return &process{Context: vfs.KernelContext(), mem: make(memory, 4096), group: g, session: s, leader: leader}
}

func (p *process) Memory() usermem.Memory { return p.mem }
func (p *process) JobControl() JobControl { return p }
func (p *process) Group() Group           { return p.group }
func (p *process) Session() Session       { return p.session }
func (p *process) Leader() bool           { return p.leader }
func (p *process) Terminal() *TTY         { return p.session.tty }
func (p *process) DropTerminal()          { p.session.tty = nil }
func (p *process) FindGroup(pid int32) Group {
	if g := p.session.groups[pid]; g != nil {
		return g
	}
	return nil
}
func (p *process) Ignores(unix.Signal) bool { return p.ignores }
func (p *process) Cred() *cred.Cred         { return cred.New(cred.InitUserNS(), 1000, 1000, nil) }
func (p *process) ioctl(f vfs.FileOps, cmd uint32, v []byte) error {
	copy(p.mem, v)
	_, err := f.Ioctl(p, nil, cmd, 0x1000)
	copy(v, p.mem)
	return err
}

type session struct {
	tty    *TTY
	groups map[int32]*group
	hup    bool
}

func (s *session) PID(vfs.Context) int32 { return 1 }
func (s *session) SetTerminal(t *TTY)    { s.tty = t }
func (s *session) HangUp(Group)          { s.hup, s.tty = true, nil }

type group struct {
	pid      int32
	s        *session
	orphaned bool
	sigs     []unix.Signal
}

func (g *group) Signal(sig unix.Signal) { g.sigs = append(g.sigs, sig) }
func (g *group) Orphaned() bool         { return g.orphaned }
func (g *group) Session() Session       { return g.s }
func (g *group) PID(vfs.Context) int32  { return g.pid }

func newSession() (*session, *process) {
	s := &session{groups: make(map[int32]*group)}
	s.groups[1] = &group{pid: 1, s: s}
	return s, newProcess(s, s.groups[1], true)
}

func open(t *testing.T, p *process) (*Master, *Slave) {
	pair := New(0)
	m := pair.OpenMaster(nil, nil)
	_, err := pair.OpenSlave(p, 0)
	require.Equal(t, unix.EIO, err)
	require.NoError(t, p.ioctl(m, unix.TIOCSPTLCK, make([]byte, 4)))
	s, err := pair.OpenSlave(p, 0)
	require.NoError(t, err)
	return m, s
}

func readOps(ctx vfs.Context, f vfs.FileOps, n int) (string, error) {
	b := make([]byte, n)
	v := usermem.Bytes(b)
	got, err := f.Read(ctx, nil, &v, 0, vfs.IONonblock)
	return string(b[:got]), err
}

func writeOps(ctx vfs.Context, f vfs.FileOps, s string) (int64, error) {
	v := usermem.Bytes([]byte(s))
	n, _, err := f.Write(ctx, nil, &v, 0, 0)
	return n, err
}

// side is one implementation of a pair: ours, or the host's.
type side interface {
	set(func(*unix.Termios))
	master(string)
	slave(string)
	readMaster() string
	readSlave(n int) string
	queued() int
}

type ours struct {
	t *testing.T
	p *process
	m *Master
	s *Slave
}

func (o ours) set(f func(*unix.Termios)) {
	var k unix.Termios
	require.NoError(o.t, o.p.ioctl(o.s, unix.TCGETS, usermem.AsBytes(&k)))
	f(&k)
	require.NoError(o.t, o.p.ioctl(o.s, unix.TCSETS, usermem.AsBytes(&k)[:36]))
}

func (o ours) master(s string) {
	n, err := writeOps(o.p, o.m, s)
	require.NoError(o.t, err)
	require.EqualValues(o.t, len(s), n)
}

func (o ours) slave(s string) {
	n, err := writeOps(o.p, o.s, s)
	if err != unix.EAGAIN {
		require.NoError(o.t, err)
		require.EqualValues(o.t, len(s), n)
	}
}

func (o ours) readMaster() string {
	var b strings.Builder
	for {
		s, err := readOps(o.p, o.m, 100000)
		if err != nil || s == "" {
			return b.String()
		}
		b.WriteString(s)
	}
}

func (o ours) readSlave(n int) string {
	s, err := readOps(o.p, o.s, n)
	return fmt.Sprintf("%q %v", s, err)
}

func (o ours) queued() int {
	b := make([]byte, 4)
	require.NoError(o.t, o.p.ioctl(o.s, unix.TIOCINQ, b))
	return int(b[0]) | int(b[1])<<8
}

type hosts struct {
	t    *testing.T
	m, s int
}

func (h hosts) settle() { time.Sleep(4 * time.Millisecond) }

func (h hosts) set(f func(*unix.Termios)) {
	k, err := unix.IoctlGetTermios(h.s, unix.TCGETS)
	require.NoError(h.t, err)
	f(k)
	require.NoError(h.t, unix.IoctlSetTermios(h.s, unix.TCSETS, k))
}

func (h hosts) master(s string) {
	n, err := unix.Write(h.m, []byte(s))
	require.NoError(h.t, err)
	require.Equal(h.t, len(s), n)
	h.settle()
}

func (h hosts) slave(s string) {
	_, _ = unix.Write(h.s, []byte(s))
	h.settle()
}

func (h hosts) readMaster() string {
	h.settle()
	var b strings.Builder
	buf := make([]byte, 100000)
	for {
		n, err := unix.Read(h.m, buf)
		if err != nil || n <= 0 {
			return b.String()
		}
		b.Write(buf[:n])
	}
}

func (h hosts) readSlave(n int) string {
	buf := make([]byte, n)
	n, err := unix.Read(h.s, buf)
	h.settle()
	return fmt.Sprintf("%q %v", buf[:max(n, 0)], err)
}

func (h hosts) queued() int {
	n, err := unix.IoctlGetInt(h.s, unix.TIOCINQ)
	require.NoError(h.t, err)
	return n
}

func openHost(t *testing.T) hosts {
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no pseudo-terminals on this host:", err)
	}
	fd := int(m.Fd())
	require.NoError(t, unix.SetNonblock(fd, true))
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	s, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no devpts on this host:", err)
	}
	t.Cleanup(func() { unix.Close(s); m.Close() })
	return hosts{t, fd, s}
}

// TestLikeHost does the same with ours and with the host's terminal, and compares all that comes out.
func TestLikeHost(t *testing.T) {
	flags := func(i, o, l, noI, noO, noL uint32) func(*unix.Termios) {
		return func(k *unix.Termios) {
			k.Iflag = k.Iflag&^noI | i
			k.Oflag = k.Oflag&^noO | o
			k.Lflag = k.Lflag&^noL | l
		}
	}
	raw := func(k *unix.Termios) {
		k.Iflag, k.Oflag, k.Lflag = 0, 0, 0
		k.Cc[unix.VMIN], k.Cc[unix.VTIME] = 1, 0
	}
	type step func(s side, out func(string))
	in := func(x string) step { return func(s side, _ func(string)) { s.master(x) } }
	write := func(x string) step { return func(s side, _ func(string)) { s.slave(x) } }
	set := func(f func(*unix.Termios)) step { return func(s side, _ func(string)) { s.set(f) } }
	read := func(n int) step {
		return func(s side, out func(string)) { out("read " + s.readSlave(n)) }
	}
	see := func(s side, out func(string)) { out(fmt.Sprintf("master %q", s.readMaster())) }
	count := func(s side, out func(string)) { out(fmt.Sprint("queued ", s.queued())) }

	edit := "hello wörld\tx\x01\x7f\x7f\x7f\x7f foo bar_baz  \x17\x17new\x15again \x16\x03 lit\x12\r"
	for name, steps := range map[string][]step{
		"lines":         {in("abc\ndef\rxyz"), see, count, read(2), read(100), read(100), read(100), in("\n"), read(100)},
		"end of file":   {in("abc\x04"), read(3), read(3), in("\x04"), read(3), in("x\x04y\x04\n"), count, read(10), read(10), read(10)},
		"edit":          {in(edit), see, read(100)},
		"edit utf8":     {set(flags(unix.IUTF8, 0, 0, 0, 0, 0)), in(edit), see, read(100), in("öä\tü\x7f\x7f\x7f\x7fx\n"), see, read(99)},
		"echoprt":       {set(flags(0, 0, unix.ECHOPRT, 0, 0, 0)), in("hello wor\x7f\x7fx ab\x17\n"), see, read(100)},
		"no echoe":      {set(flags(0, 0, 0, 0, 0, unix.ECHOE)), in("abc\x7fd\x15e\n"), see, read(100)},
		"no echoke":     {set(flags(0, 0, 0, 0, 0, unix.ECHOKE)), in("abc\x7fd\x15e\n"), see, read(100)},
		"no echok":      {set(flags(0, 0, 0, 0, 0, unix.ECHOKE|unix.ECHOK)), in("abc\x7fd\x15e\n"), see, read(100)},
		"no echoctl":    {set(flags(0, 0, 0, 0, 0, unix.ECHOCTL)), in("a\x01b\x7f\x7fc\x16\x7f\n"), see, read(100)},
		"no echo":       {set(flags(0, 0, 0, 0, 0, unix.ECHO)), in("abc\x7fd\x15ef\n"), see, read(100)},
		"echonl":        {set(flags(0, 0, unix.ECHONL, 0, 0, unix.ECHO)), in("abc\n"), see, read(100)},
		"no iexten":     {set(flags(0, 0, 0, 0, 0, unix.IEXTEN)), in("a b\x17c\x16\x04d\x12\n"), see, read(100), read(100)},
		"signals":       {in("abc\x03def\x1aghi\x1cjkl\n"), see, read(100)},
		"noflsh":        {set(flags(0, 0, unix.NOFLSH, 0, 0, 0)), in("abc\x03def\n"), see, read(100)},
		"no isig":       {set(flags(0, 0, 0, 0, 0, unix.ISIG)), in("abc\x03def\n"), see, read(100)},
		"igncr inlcr":   {set(flags(unix.IGNCR|unix.INLCR, 0, 0, unix.ICRNL, 0, 0)), in("a\rb\nc\x04"), see, read(100)},
		"istrip iuclc":  {set(flags(unix.ISTRIP|unix.IUCLC, 0, 0, 0, 0, 0)), in("AbC\xe1\xc2\n"), see, read(100)},
		"parmrk":        {set(flags(unix.PARMRK, 0, 0, 0, 0, 0)), in("a\xffb\n"), see, read(100)},
		"eol":           {set(func(k *unix.Termios) { k.Cc[unix.VEOL], k.Cc[unix.VEOL2] = ';', '.' }), in("ab;cd.ef\n"), see, read(99), read(99), read(99)},
		"long line":     {in(strings.Repeat("x", 5000)), in("\n"), see, read(9999), read(9999)},
		"stop and go":   {in("a\x13b\n"), see, write("hello"), see, in("\x11"), see, read(100), write("x"), see},
		"ixany":         {set(flags(unix.IXANY, 0, 0, 0, 0, 0)), in("a\x13"), in("b\n"), see, read(100)},
		"output":        {write("a\tb\nc\rd\x08\tef\n"), see},
		"xtabs":         {set(flags(0, unix.XTABS, 0, 0, 0, 0)), write("a\tb\n\tc\r12345678\t9\n"), see},
		"ocrnl":         {set(flags(0, unix.OCRNL, 0, 0, unix.ONLCR, 0)), write("a\rb\nc"), see},
		"onocr onlret":  {set(flags(0, unix.ONOCR|unix.ONLRET, 0, 0, unix.ONLCR, 0)), write("\ra\r\nb\r\rc"), see},
		"olcuc":         {set(flags(0, unix.OLCUC, 0, 0, 0, 0)), write("abCö\n"), see},
		"no opost":      {set(flags(0, 0, 0, 0, unix.OPOST, 0)), write("a\tb\nc"), in("x\ny"), see},
		"echo column":   {write("prompt> "), in("a\tb\x7f\x7f\x7f\x7f"), see},
		"raw":           {set(raw), in("a\x03\r\n\x7f\x04\xff"), see, count, read(2), read(100), read(100)},
		"to raw":        {in("line\nrest"), set(raw), count, read(100), in("more"), read(100)},
		"to cooked":     {set(raw), in("some"), set(flags(0, 0, unix.ICANON, 0, 0, 0)), count, read(2), read(10), in("x\x04"), read(10)},
		"vmin":          {set(raw), set(func(k *unix.Termios) { k.Cc[unix.VMIN] = 0 }), read(5), in("ab"), read(5), read(5)},
		"lnext newline": {in("a\x16\nb\x16\x04c\n"), see, read(100), read(100)},
		"erase at tab":  {in("ab\tcd\x01\t\x7f\x7f\x7f\x7fx\n"), see, read(100)},
		"flush":         {in("abc\ndef"), func(s side, _ func(string)) { flushInput(s) }, in("g\n"), read(100), count},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(s side) (out []string) {
				for _, step := range steps {
					step(s, func(x string) { out = append(out, x) })
				}
				return out
			}
			host := openHost(t)
			_, p := newSession()
			m, sl := open(t, p)
			require.Equal(t, run(host), run(ours{t, p, m, sl}))
		})
	}
}

func flushInput(s side) {
	switch s := s.(type) {
	case hosts:
		_ = unix.IoctlSetInt(s.s, unix.TCFLSH, unix.TCIFLUSH)
	case ours:
		_, err := s.s.Ioctl(s.p, nil, unix.TCFLSH, unix.TCIFLUSH)
		require.NoError(s.t, err)
	}
}

func TestTermiosLikeHost(t *testing.T) {
	h := openHost(t)
	k, err := unix.IoctlGetTermios(h.s, tcgets2)
	require.NoError(t, err)
	_, p := newSession()
	m, s := open(t, p)
	var o unix.Termios
	require.NoError(t, p.ioctl(s, tcgets2, usermem.AsBytes(&o)))
	require.Equal(t, *k, o)
	require.NoError(t, p.ioctl(m, tcgets2, usermem.AsBytes(&o)))
	require.Equal(t, *k, o)
}

func TestJobControl(t *testing.T) {
	s, leader := newSession()
	m, sl := open(t, leader)
	tt := m.TTY()
	require.Same(t, tt, s.tty, "a leader without a terminal gets the one it opens")
	s.groups[2] = &group{pid: 2, s: s}
	bg := newProcess(s, s.groups[2], false)

	_, err := writeOps(bg, m, "abc\n")
	require.NoError(t, err)
	_, err = readOps(bg, sl, 10)
	require.Equal(t, vfs.ErrRestartSys, err)
	require.Equal(t, []unix.Signal{unix.SIGTTIN}, s.groups[2].sigs)
	s.groups[2].orphaned = true
	_, err = readOps(bg, sl, 10)
	require.Equal(t, unix.EIO, err)
	s.groups[2].orphaned = false
	bg.ignores = true
	_, err = readOps(bg, sl, 10)
	require.Equal(t, unix.EIO, err)
	_, err = writeOps(bg, sl, "may write")
	require.NoError(t, err)
	bg.ignores = false
	s.groups[2].sigs = nil
	require.Equal(t, vfs.ErrRestartSys, bg.ioctl(sl, unix.TCSETS, usermem.AsBytes(&tt.termios)[:36]))
	require.Equal(t, []unix.Signal{unix.SIGTTOU}, s.groups[2].sigs)

	require.NoError(t, leader.ioctl(sl, unix.TIOCSPGRP, []byte{2, 0, 0, 0}))
	require.Equal(t, unix.ESRCH, bg.ioctl(sl, unix.TIOCSPGRP, []byte{9, 0, 0, 0}))
	b := make([]byte, 4)
	require.NoError(t, leader.ioctl(m, unix.TIOCGPGRP, b))
	require.EqualValues(t, 2, b[0])
	got, err := readOps(bg, sl, 10)
	require.NoError(t, err)
	require.Equal(t, "abc\n", got)
	s.groups[2].sigs = nil
	_, _ = writeOps(bg, m, "\x03")
	require.NoError(t, leader.ioctl(m, unix.TIOCSWINSZ, []byte{24, 0, 80, 0, 0, 0, 0, 0}))
	require.Equal(t, []unix.Signal{unix.SIGINT, unix.SIGWINCH}, s.groups[2].sigs)

	other, p2 := newSession()
	require.Equal(t, unix.EPERM, p2.ioctl(sl, unix.TIOCSCTTY, nil))
	require.Nil(t, other.tty)

	m.Release(nil)
	require.True(t, s.hup)
	got, err = readOps(bg, sl, 10)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = writeOps(bg, sl, "x")
	require.Equal(t, unix.EIO, err)
	require.Equal(t, unix.EIO, bg.ioctl(sl, unix.TCGETS, make([]byte, 36)))
	require.Equal(t, waitq.In|waitq.Out|waitq.Err|waitq.Hup, sl.Readiness(waitq.In|waitq.Out))
}

func TestPacketMode(t *testing.T) {
	_, p := newSession()
	m, s := open(t, p)
	require.NoError(t, p.ioctl(m, unix.TIOCPKT, []byte{1, 0, 0, 0}))
	_, err := writeOps(p, s, "out")
	require.NoError(t, err)
	got, err := readOps(p, m, 10)
	require.NoError(t, err)
	require.Equal(t, "\x00out", got)
	_, _ = writeOps(p, m, "\x13")
	require.NotZero(t, m.Readiness(waitq.Pri))
	got, _ = readOps(p, m, 10)
	require.Equal(t, string(rune(unix.TIOCPKT_STOP)), got)
	_, _ = writeOps(p, m, "\x11")
	got, _ = readOps(p, m, 10)
	require.Equal(t, string(rune(unix.TIOCPKT_START)), got)
}

func TestLimitsAndClose(t *testing.T) {
	_, p := newSession()
	m, s := open(t, p)
	n, err := writeOps(p, s, strings.Repeat("x", 100000))
	require.NoError(t, err)
	require.InDelta(t, outputLimit, n, 16)
	_, err = writeOps(p, s, "y")
	require.Equal(t, unix.EAGAIN, err)
	require.Zero(t, s.Readiness(waitq.Out))
	got, _ := readOps(p, m, 100000)
	require.Len(t, got, masterChunk)
	require.NotZero(t, s.Readiness(waitq.Out))
	ours{t, p, m, s}.readMaster()
	s.Release(nil)
	_, err = readOps(p, m, 10)
	require.Equal(t, unix.EIO, err)
	require.Equal(t, waitq.Out|waitq.Hup, m.Readiness(waitq.In|waitq.Out))
	_, err = m.TTY().OpenSlave(p, 0)
	require.NoError(t, err)
	_, err = readOps(p, m, 10)
	require.Equal(t, unix.EAGAIN, err)
}

func TestReadTimer(t *testing.T) {
	_, p := newSession()
	m, s := open(t, p)
	o := ours{t, p, m, s}
	o.set(func(k *unix.Termios) {
		k.Lflag &^= unix.ICANON
		k.Cc[unix.VMIN], k.Cc[unix.VTIME] = 0, 1
	})
	f := vfs.NewAnonFile("tty", s, unix.O_RDWR, p.Cred())
	read := func() (string, time.Duration) {
		b := make([]byte, 10)
		v := usermem.Bytes(b)
		start := time.Now()
		n, err := f.Read(p, &v, 0)
		require.NoError(t, err)
		return string(b[:n]), time.Since(start)
	}
	got, d := read()
	require.Empty(t, got)
	require.InDelta(t, 0.1, d.Seconds(), 0.05)
	o.set(func(k *unix.Termios) { k.Cc[unix.VMIN] = 5 })
	go func() {
		time.Sleep(20 * time.Millisecond)
		o.master("ab")
	}()
	got, d = read()
	require.Equal(t, "ab", got)
	require.InDelta(t, 0.12, d.Seconds(), 0.05)
}
