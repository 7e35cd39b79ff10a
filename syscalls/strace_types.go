package syscalls

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// structIsOut tells whether struct/NAME is what a call writes.
func structIsOut(name string) bool {
	switch name {
	case "statx", "statfs", "fdpair", "utsname", "sysinfo", "tms", "int", "uint", "off", "cachestat", "timezone", "timex":
		return true
	}
	return strings.HasSuffix(name, "out")
}

// decode reads a structure and prints it.
func decode[T any](d *decoder, addr usermem.Addr, f func(*T) string) string {
	if addr == 0 {
		return "NULL"
	}
	var v T
	if usermem.CopyObjectIn(d.mem, addr, &v) != nil {
		return hex(uint64(addr))
	}
	return f(&v)
}

// object is a structure of a kind of its own.
func (d *decoder) object(kind, sub string, addr usermem.Addr) string {
	if kind == "struct" {
		kind = sub
	}
	kind = strings.TrimSuffix(kind, "out")
	switch kind {
	case "timespec":
		return decode(d, addr, timespecText)
	case "timespec2":
		return decode(d, addr, func(t *[2]unix.Timespec) string {
			return "[" + utimeText(&t[0]) + ", " + utimeText(&t[1]) + "]"
		})
	case "timeval":
		return decode(d, addr, timevalText)
	case "timeval2":
		return decode(d, addr, func(t *[2]unix.Timeval) string {
			return "[" + timevalText(&t[0]) + ", " + timevalText(&t[1]) + "]"
		})
	case "utimbuf":
		return decode(d, addr, func(t *[2]int64) string { return fmt.Sprintf("{actime=%d, modtime=%d}", t[0], t[1]) })
	case "itimerspec":
		return decode(d, addr, func(t *[2]unix.Timespec) string {
			return "{it_interval=" + timespecText(&t[0]) + ", it_value=" + timespecText(&t[1]) + "}"
		})
	case "itimerval":
		return decode(d, addr, func(t *[2]unix.Timeval) string {
			return "{it_interval=" + timevalText(&t[0]) + ", it_value=" + timevalText(&t[1]) + "}"
		})
	case "sigset":
		return decode(d, addr, func(s *uint64) string { return sigsetText(*s) })
	case "sigaction":
		return decode(d, addr, sigactionText)
	case "siginfo":
		return decode(d, addr, siginfoText)
	case "sigaltstack", "stack":
		return decode(d, addr, func(s *[3]uint64) string {
			return fmt.Sprintf("{ss_sp=%s, ss_flags=%s, ss_size=%d}", addrText(s[0]), flagText("ss", uint64(uint32(s[1]))), s[2])
		})
	case "stat":
		return decode(d, addr, statText)
	case "statx":
		return decode(d, addr, func(s *unix.Statx_t) string {
			return fmt.Sprintf("{stx_mask=%s, stx_attributes=%#x, stx_mode=%s, stx_size=%d, ...}",
				flagText("statx", uint64(s.Mask)), s.Attributes, modeText(uint32(s.Mode)), s.Size)
		})
	case "statfs":
		return decode(d, addr, func(s *unix.Statfs_t) string {
			return fmt.Sprintf("{f_type=%s, f_bsize=%d, f_blocks=%d, f_bfree=%d, f_bavail=%d, f_files=%d, f_ffree=%d, f_namelen=%d, f_frsize=%d, f_flags=%#x}",
				flagText("fstype", uint64(s.Type)), s.Bsize, s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree, s.Namelen, s.Frsize, s.Flags)
		})
	case "status":
		return decode(d, addr, func(s *uint32) string { return "[" + waitText(*s) + "]" })
	case "rusage":
		return decode(d, addr, func(r *unix.Rusage) string {
			return "{ru_utime=" + timevalText(&r.Utime) + ", ru_stime=" + timevalText(&r.Stime) + ", ...}"
		})
	case "rlimit":
		return decode(d, addr, func(r *unix.Rlimit) string {
			return "{rlim_cur=" + limitText(r.Cur) + ", rlim_max=" + limitText(r.Max) + "}"
		})
	case "epollevent":
		return decode(d, addr, epollText)
	case "fdpair":
		return decode(d, addr, func(p *[2]int32) string { return fmt.Sprintf("[%d, %d]", p[0], p[1]) })
	case "int", "tid":
		return decode(d, addr, func(p *int32) string { return fmt.Sprintf("[%d]", *p) })
	case "uint":
		return decode(d, addr, func(p *uint32) string { return fmt.Sprintf("[%d]", *p) })
	case "off":
		return decode(d, addr, func(p *int64) string { return fmt.Sprintf("[%d]", *p) })
	case "psigmask":
		return decode(d, addr, func(p *[2]uint64) string {
			return "{sigmask=" + d.object("sigset", "", usermem.Addr(p[0])) + ", sigsetsize=" + strconv.FormatUint(p[1], 10) + "}"
		})
	case "openhow":
		return decode(d, addr, func(h *unix.OpenHow) string {
			s := "{flags=" + flagText("open", h.Flags)
			if h.Mode != 0 {
				s += ", mode=" + octal(uint32(h.Mode))
			}
			return s + ", resolve=" + flagText("resolve", h.Resolve) + "}"
		})
	case "clone3", "cloneargs":
		return decode(d, addr, func(c *[8]uint64) string {
			return fmt.Sprintf("{flags=%s, child_tid=%s, parent_tid=%s, exit_signal=%s, stack=%s, stack_size=%#x, tls=%s}",
				flagText("clone3", c[0]), addrText(c[2]), addrText(c[3]), signalName(int32(c[4])), addrText(c[5]), c[6], addrText(c[7]))
		})
	case "utsname":
		return decode(d, addr, func(u *unix.Utsname) string {
			return "{sysname=" + quote(cbytes(u.Sysname[:])) + ", nodename=" + quote(cbytes(u.Nodename[:])) + ", ...}"
		})
	case "flock":
		return decode(d, addr, func(f *unix.Flock_t) string {
			return fmt.Sprintf("{l_type=%s, l_whence=%s, l_start=%d, l_len=%d}", flagText("locktype", uint64(uint16(f.Type))),
				flagText("whence", uint64(uint16(f.Whence))), f.Start, f.Len)
		})
	case "sembuf":
		return decode(d, addr, func(b *[3]int16) string { return fmt.Sprintf("[{%d, %d, %#x}]", b[0], b[1], b[2]) })
	}
	return addrText(uint64(addr))
}

func cbytes(b []byte) []byte {
	for i, c := range b {
		if c == 0 {
			return b[:i]
		}
	}
	return b
}

func timespecText(t *unix.Timespec) string {
	return fmt.Sprintf("{tv_sec=%d, tv_nsec=%d}", t.Sec, t.Nsec)
}
func timevalText(t *unix.Timeval) string {
	return fmt.Sprintf("{tv_sec=%d, tv_usec=%d}", t.Sec, t.Usec)
}

func utimeText(t *unix.Timespec) string {
	switch t.Nsec {
	case unix.UTIME_NOW:
		return "UTIME_NOW"
	case unix.UTIME_OMIT:
		return "UTIME_OMIT"
	}
	return timespecText(t)
}

func limitText(v uint64) string {
	switch {
	case v == unix.RLIM_INFINITY:
		return "RLIM64_INFINITY"
	case v > 1024 && v%1024 == 0:
		return strconv.FormatUint(v/1024, 10) + "*1024"
	}
	return strconv.FormatUint(v, 10)
}

// modeText is st_mode.
func modeText(m uint32) string {
	typ := ""
	switch m & unix.S_IFMT {
	case unix.S_IFREG:
		typ = "S_IFREG"
	case unix.S_IFDIR:
		typ = "S_IFDIR"
	case unix.S_IFLNK:
		typ = "S_IFLNK"
	case unix.S_IFCHR:
		typ = "S_IFCHR"
	case unix.S_IFBLK:
		typ = "S_IFBLK"
	case unix.S_IFIFO:
		typ = "S_IFIFO"
	case unix.S_IFSOCK:
		typ = "S_IFSOCK"
	default:
		return octal(m)
	}
	for _, b := range []struct {
		bit  uint32
		name string
	}{{unix.S_ISUID, "S_ISUID"}, {unix.S_ISGID, "S_ISGID"}, {unix.S_ISVTX, "S_ISVTX"}} {
		if m&b.bit != 0 {
			typ += "|" + b.name
		}
	}
	return typ + "|" + octal(m&0777)
}

func devText(v uint64) string {
	return fmt.Sprintf("makedev(%#x, %#x)", unix.Major(v), unix.Minor(v))
}

func statText(s *unix.Stat_t) string {
	text := "{st_mode=" + modeText(s.Mode)
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		text += ", st_rdev=" + devText(s.Rdev)
	default:
		text += ", st_size=" + strconv.FormatInt(s.Size, 10)
	}
	return text + ", ...}"
}

// signalName is the name of a signal number.
func signalName(n int32) string {
	if n == 0 {
		return "0"
	}
	if n >= 32 && n <= 64 {
		if n == 32 {
			return "SIGRTMIN"
		}
		return fmt.Sprintf("SIGRT_%d", n-32)
	}
	if s := unix.SignalName(unix.Signal(n)); s != "" {
		return s
	}
	return strconv.Itoa(int(n))
}

func sigsetText(s uint64) string {
	neg := ""
	n := 0
	for i := range 64 {
		n += int(s >> i & 1)
	}
	if n > 32 {
		neg, s = "~", ^s
	}
	var l []string
	for i := range int32(64) {
		if s>>i&1 != 0 {
			l = append(l, strings.TrimPrefix(signalName(i+1), "SIG"))
		}
	}
	return neg + "[" + strings.Join(l, " ") + "]"
}

func sigactionText(a *[4]uint64) string {
	h := hex(a[0])
	switch a[0] {
	case 0:
		h = "SIG_DFL"
	case 1:
		h = "SIG_IGN"
	}
	s := "{sa_handler=" + h + ", sa_mask=" + sigsetText(a[3]) + ", sa_flags=" + flagText("sa", a[1])
	if a[1]&0x4000000 != 0 {
		s += ", sa_restorer=" + hex(a[2])
	}
	return s + "}"
}

func siginfoText(i *sentry.SigInfo) string {
	s := "{si_signo=" + signalName(i.Signo) + ", si_code=" + sicodeText(i)
	switch {
	case i.Code == sentry.SiKernel:
	case i.Signo == int32(unix.SIGCHLD) && i.Code > 0:
		s += fmt.Sprintf(", si_pid=%d, si_uid=%d, si_status=%d", i.PID(), i.UID(), i.Status())
	case i.Code > 0:
		s += ", si_addr=" + addrText(i.Addr())
	case i.Code == sentry.SiTimer:
		s += fmt.Sprintf(", si_timerid=%d, si_overrun=%d", i.TimerID(), i.Overrun())
	default:
		s += fmt.Sprintf(", si_pid=%d, si_uid=%d", i.PID(), i.UID())
		if i.Code == sentry.SiQueue {
			s += fmt.Sprintf(", si_value={sival_ptr=%s}", addrText(i.Value()))
		}
	}
	return s + "}"
}

func sicodeText(i *sentry.SigInfo) string {
	switch i.Code {
	case sentry.SiUser:
		return "SI_USER"
	case sentry.SiKernel:
		return "SI_KERNEL"
	case sentry.SiQueue:
		return "SI_QUEUE"
	case sentry.SiTimer:
		return "SI_TIMER"
	case sentry.SiMesgQ:
		return "SI_MESGQ"
	case sentry.SiAsyncIO:
		return "SI_ASYNCIO"
	case sentry.SiSigIO:
		return "SI_SIGIO"
	case sentry.SiTkill:
		return "SI_TKILL"
	}
	names := map[unix.Signal][]string{
		unix.SIGCHLD: {"", "CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"},
		unix.SIGSEGV: {"", "SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"},
		unix.SIGBUS:  {"", "BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"},
		unix.SIGFPE:  {"", "FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB"},
		unix.SIGILL:  {"", "ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC"},
		unix.SIGTRAP: {"", "TRAP_BRKPT", "TRAP_TRACE"},
		unix.SIGSYS:  {"", "SYS_SECCOMP"},
		unix.SIGIO:   {"", "POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP"},
	}[unix.Signal(i.Signo)]
	if i.Code > 0 && int(i.Code) < len(names) {
		return names[i.Code]
	}
	return strconv.Itoa(int(i.Code))
}

// waitText is a wait status.
func waitText(s uint32) string {
	switch {
	case s&0x7f == 0:
		return fmt.Sprintf("{WIFEXITED(s) && WEXITSTATUS(s) == %d}", s>>8&0xff)
	case s == 0xffff:
		return "{WIFCONTINUED(s)}"
	case s&0xff == 0x7f:
		return "{WIFSTOPPED(s) && WSTOPSIG(s) == " + signalName(int32(s>>8&0xff)) + "}"
	case s&0x80 != 0:
		return "{WIFSIGNALED(s) && WTERMSIG(s) == " + signalName(int32(s&0x7f)) + " && WCOREDUMP(s)}"
	}
	return "{WIFSIGNALED(s) && WTERMSIG(s) == " + signalName(int32(s&0x7f)) + "}"
}

func epollText(e *unix.EpollEvent) string {
	return fmt.Sprintf("{events=%s, data={u32=%d, u64=%d}}", flagText("epoll", uint64(e.Events)),
		uint32(e.Fd), uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32)
}

// sockaddr is an address of n bytes.
func (d *decoder) sockaddr(addr usermem.Addr, n uint64) string {
	if addr == 0 {
		return "NULL"
	}
	b := make([]byte, min(n, maxSockaddr))
	if _, err := d.mem.CopyIn(addr, b); err != nil {
		return hex(uint64(addr))
	}
	if len(b) < 2 {
		return hex(uint64(addr))
	}
	family := binary.NativeEndian.Uint16(b)
	s := "{sa_family=" + flagText("af", uint64(family))
	switch {
	case family == unix.AF_UNIX:
		p := b[2:]
		switch {
		case len(p) == 0:
		case p[0] == 0:
			s += ", sun_path=@" + quote(p[1:])
		default:
			s += ", sun_path=" + quote(cbytes(p))
		}
	case family == unix.AF_INET && len(b) >= 8:
		a, _ := netip.AddrFromSlice(b[4:8])
		s += fmt.Sprintf(", sin_port=htons(%d), sin_addr=inet_addr(%q)", binary.BigEndian.Uint16(b[2:]), a)
	case family == unix.AF_INET6 && len(b) >= 28:
		a, _ := netip.AddrFromSlice(b[8:24])
		s += fmt.Sprintf(", sin6_port=htons(%d), sin6_flowinfo=htonl(%d), inet_pton(AF_INET6, %q, &sin6_addr), sin6_scope_id=%d",
			binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), a, binary.NativeEndian.Uint32(b[24:]))
	case family == unix.AF_NETLINK && len(b) >= 12:
		s += fmt.Sprintf(", nl_pid=%d, nl_groups=%08x", binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:]))
	default:
		s += ", sa_data=" + quote(b[2:min(len(b), 16)])
	}
	return s + "}"
}

// optval is a socket option's value: an int as such, anything else as bytes.
func (d *decoder) optval(addr usermem.Addr, n uint64) string {
	if n == 4 {
		return d.object("struct", "int", addr)
	}
	return d.bytes(addr, n)
}

// control is ancillary data.
func (d *decoder) control(addr usermem.Addr, n uint64) string {
	b := make([]byte, min(n, 4096))
	if _, err := d.mem.CopyIn(addr, b); err != nil {
		return hex(uint64(addr))
	}
	var l []string
	for len(b) >= 16 && len(l) < arrayLimit {
		size := binary.NativeEndian.Uint64(b)
		if size < 16 || size > uint64(len(b)) {
			break
		}
		level, typ := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		data := b[16:size]
		s := fmt.Sprintf("{cmsg_len=%d, cmsg_level=%s, cmsg_type=", size, flagText("sol", uint64(level)))
		switch {
		case level == unix.SOL_SOCKET && typ == unix.SCM_RIGHTS:
			var fds []string
			for ; len(data) >= 4; data = data[4:] {
				fds = append(fds, strconv.Itoa(int(int32(binary.NativeEndian.Uint32(data)))))
			}
			s += "SCM_RIGHTS, cmsg_data=[" + strings.Join(fds, ", ") + "]"
		case level == unix.SOL_SOCKET && typ == unix.SCM_CREDENTIALS && len(data) >= 12:
			s += fmt.Sprintf("SCM_CREDENTIALS, cmsg_data={pid=%d, uid=%d, gid=%d}", binary.NativeEndian.Uint32(data),
				binary.NativeEndian.Uint32(data[4:]), binary.NativeEndian.Uint32(data[8:]))
		default:
			s += fmt.Sprintf("%#x", typ)
		}
		l = append(l, s+"}")
		size = (size + 7) &^ 7
		if size >= uint64(len(b)) {
			break
		}
		b = b[size:]
	}
	return "[" + strings.Join(l, ", ") + "]"
}
