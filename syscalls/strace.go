package syscalls

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Strace prints system calls as strace(1) does, a line a call, when they return:
//
//	[pid     2] openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
//
// What an argument is comes from Entry.Args, a word "name:kind" an argument. The kinds:
//
//	fd dirfd         descriptor; AT_FDCWD by name
//	path             NUL-terminated string
//	buf bufout       bytes whose length is the next size argument, or the result
//	cstrout          string that the call writes
//	strv             array of strings (execve)
//	size int uint long hex ptr pid dev mode signal whence
//	openmode         mode that counts only with O_CREAT
//	mknodmode        mode with a file type
//	flags/NAME       bits or a value of the set NAME (strace_flags.go)
//	iovec iovecout msghdr msghdrout sockaddr sockaddrout optval optvalout sockopt
//	fcntlarg prctlarg futextimeout   what the command or operation says
//	timespec timespecout timeval itimerspec itimerspecout itimerval sigset sigsetout
//	sigaction sigactionout siginfo stat statusout rusageout rlimit rlimitout
//	pollfds fdset epollevent epollevents futexop clone3
//	struct/NAME      a structure that strace_types.go knows; an address otherwise
//
// Kinds that end in "out", and stat, pollfds and the like, are decoded after the call.
type Strace struct {
	// mu serializes lines.
	mu sync.Mutex
	w  io.Writer
}

// NewStrace returns a log that writes to w, a line a Write.
func NewStrace(w io.Writer) *Strace { return &Strace{w: w} }

const (
	// stringLimit and arrayLimit are how much of a string or array is printed (strace -s).
	stringLimit = 32
	arrayLimit  = 32
)

// argSpec is one word of Entry.Args, taken apart.
type argSpec struct{ name, kind, sub string }

var (
	specsOnce sync.Once
	specs     [len(table)][]argSpec
)

func argSpecs(nr uint64) []argSpec {
	specsOnce.Do(func() {
		for i := range table {
			specs[i] = parseArgs(table[i].Args)
		}
	})
	if nr < uint64(len(specs)) {
		return specs[nr]
	}
	return nil
}

func parseArgs(s string) []argSpec {
	var l []argSpec
	for _, w := range strings.Fields(s) {
		name, kind, _ := strings.Cut(w, ":")
		kind, sub, _ := strings.Cut(kind, "/")
		l = append(l, argSpec{name, kind, sub})
	}
	return l
}

// decoder prints the arguments of one call.
type decoder struct {
	t    *sentry.Task
	mem  usermem.Memory
	args [6]uint64
	spec []argSpec
	ret  uintptr // valid when after
	err  error
}

func (s *Strace) call(tb *Table, t *sentry.Task, nr uint64, args *[6]uint64) (uintptr, error) {
	// The pid and the memory may be others after the call (clone, execve).
	pid := t.TID()
	d := decoder{t: t, mem: t.MM(), args: *args, spec: argSpecs(nr)}
	text := d.before()
	name := Name(nr)
	if name == "" {
		name = "syscall_" + strconv.FormatUint(nr, 10)
		text = nil
		for _, a := range args {
			text = append(text, hex(a))
		}
	}
	if nr == unix.SYS_EXIT || nr == unix.SYS_EXIT_GROUP {
		s.line(pid, name+"("+join(text)+") = ?")
	}
	ret, err := tb.call(t, nr, args)
	if nr == unix.SYS_EXIT || nr == unix.SYS_EXIT_GROUP {
		return ret, err
	}
	d.ret, d.err = ret, err
	if nr == unix.SYS_EXECVE || nr == unix.SYS_EXECVEAT {
		d.mem = t.MM()
	}
	d.after(text)
	s.line(pid, name+"("+join(text)+") = "+d.result(nr))
	return ret, err
}

func (s *Strace) line(pid int32, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "[pid %5d] %s\n", pid, text)
}

// Signal prints a signal that t is about to handle.
func (s *Strace) Signal(t *sentry.Task, info *sentry.SigInfo) {
	s.line(t.TID(), "--- "+signalName(info.Signo)+" "+siginfoText(info)+" ---")
}

// Exit prints the end of a thread.
func (s *Strace) Exit(t *sentry.Task) {
	status := t.ExitStatus()
	text := fmt.Sprintf("+++ exited with %d +++", status.ExitCode())
	if status.Signaled() {
		text = "+++ killed by " + signalName(int32(status.Signal()))
		if status.CoreDump() {
			text += " (core dumped)"
		}
		text += " +++"
	}
	s.line(t.TID(), text)
}

// isOut tells whether an argument can be decoded only after the call.
func (a argSpec) isOut() bool {
	switch a.kind {
	case "bufout", "cstrout", "iovecout", "msghdrout", "sockaddrout", "optvalout", "timespecout", "timevalout",
		"itimerspecout", "itimervalout", "sigsetout", "sigactionout", "siginfo", "stat", "statusout", "rusageout",
		"rlimitout", "pollfds", "fdset", "epollevents":
		return true
	case "struct":
		return structIsOut(a.sub)
	}
	return false
}

// before decodes what the guest passes in; what comes out is left empty.
func (d *decoder) before() []string {
	text := make([]string, len(d.spec))
	for i, a := range d.spec {
		if i < len(d.args) && !a.isOut() {
			text[i] = d.arg(i)
		}
	}
	return text
}

// after decodes what the call gave back, and drops arguments that do not count.
func (d *decoder) after(text []string) {
	for i, a := range d.spec {
		if i >= len(d.args) || !a.isOut() {
			continue
		}
		if d.err != nil && a.kind != "pollfds" && a.kind != "fdset" {
			text[i] = addrText(d.args[i])
			continue
		}
		text[i] = d.arg(i)
	}
}

// join puts the arguments together; those that a command does not take are empty.
func join(text []string) string {
	var b strings.Builder
	for _, s := range text {
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
	}
	return b.String()
}

// result is what stands behind "=".
func (d *decoder) result(nr uint64) string {
	switch err := d.err.(type) {
	case nil:
	case unix.Errno:
		switch err {
		case 512:
			return "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
		case 513:
			return "? ERESTARTNOINTR (To be restarted)"
		case 514:
			return "? ERESTARTNOHAND (To be restarted if no handler)"
		case 516:
			return "? ERESTART_RESTARTBLOCK (Interrupted by signal)"
		}
		return "-1 " + errnoText(err)
	default:
		if d.err == sentry.ErrNoReturn {
			if rax := int64(d.t.Regs.Rax); rax >= 0 || rax < -4095 {
				return strconv.FormatInt(rax, 10)
			}
			return "-1 " + errnoText(unix.Errno(-d.t.Regs.Rax))
		}
		return "-1 (" + d.err.Error() + ")"
	}
	switch nr {
	case unix.SYS_MMAP, unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_SHMAT:
		return hex(uint64(d.ret))
	case unix.SYS_UMASK:
		return fmt.Sprintf("%#o", d.ret)
	case unix.SYS_FCNTL:
		if d.args[1] == unix.F_GETFL {
			return hex(uint64(d.ret)) + " (flags " + flagText("open", uint64(d.ret)) + ")"
		}
	case unix.SYS_POLL, unix.SYS_PPOLL, unix.SYS_SELECT, unix.SYS_PSELECT6, unix.SYS_EPOLL_WAIT:
		if d.ret == 0 {
			return "0 (Timeout)"
		}
	}
	return strconv.FormatInt(int64(d.ret), 10)
}

// errnoText is a name with its text, as strace prints it.
func errnoText(e unix.Errno) string {
	name := unix.ErrnoName(e)
	if name == "" {
		return strconv.Itoa(int(e))
	}
	text := e.Error()
	if text != "" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return name + " (" + text + ")"
}

// next is the register after argument i.
func (d *decoder) next(i int) uint64 {
	if i+1 < len(d.args) {
		return d.args[i+1]
	}
	return 0
}

// arg is argument i as text.
func (d *decoder) arg(i int) string {
	a, v := d.spec[i], d.args[i]
	addr := usermem.Addr(v)
	switch a.kind {
	case "fd", "int", "pid":
		return strconv.Itoa(int(int32(v)))
	case "dirfd":
		if int32(v) == unix.AT_FDCWD {
			return "AT_FDCWD"
		}
		return strconv.Itoa(int(int32(v)))
	case "uint":
		return strconv.FormatUint(uint64(uint32(v)), 10)
	case "long":
		return strconv.FormatInt(int64(v), 10)
	case "size":
		return strconv.FormatUint(v, 10)
	case "hex":
		return hex(v)
	case "ptr":
		return addrText(v)
	case "mode":
		return octal(uint32(v))
	case "mknodmode":
		return modeText(uint32(v))
	case "openmode":
		if d.args[i-1]&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) == 0 {
			return ""
		}
		return octal(uint32(v))
	case "dev":
		return devText(v)
	case "signal":
		return signalName(int32(v))
	case "whence":
		return flagText("whence", v)
	case "flags":
		return flagText(a.sub, v)
	case "futexop":
		return flagText("futex", v)
	case "sockopt":
		return sockoptText(d.args[1], v)
	case "path":
		return d.str(addr, 4096)
	case "cstrout":
		return d.str(addr, stringLimit)
	case "buf":
		return d.bytes(addr, d.next(i))
	case "bufout":
		return d.bytes(addr, uint64(d.ret))
	case "strv":
		return d.strv(addr, a.name)
	case "iovec":
		return d.iovec(addr, d.next(i), ^uint64(0))
	case "iovecout":
		return d.iovec(addr, d.next(i), uint64(d.ret))
	case "sockaddr":
		return d.sockaddr(addr, uint64(uint32(d.next(i))))
	case "sockaddrout":
		var n uint32
		if addr == 0 || usermem.CopyObjectIn(d.mem, usermem.Addr(d.next(i)), &n) != nil {
			return addrText(v)
		}
		return d.sockaddr(addr, uint64(n))
	case "optval":
		return d.optval(addr, uint64(uint32(d.next(i))))
	case "optvalout":
		var n uint32
		if addr == 0 || usermem.CopyObjectIn(d.mem, usermem.Addr(d.next(i)), &n) != nil {
			return addrText(v)
		}
		return d.optval(addr, uint64(n))
	case "msghdr", "msghdrout":
		return d.msghdr(addr, a.kind == "msghdrout")
	case "futextimeout":
		switch d.args[1] & 0x7f {
		case 0, 6, 9, 11, 13: // the waiting operations
			return d.object("timespec", "", addr)
		}
		return strconv.FormatUint(uint64(uint32(v)), 10)
	case "prctlarg":
		if d.args[0] == unix.PR_SET_NAME {
			return d.str(addr, 16)
		}
		return hex(v)
	case "fcntlarg":
		return d.fcntl(v)
	case "pollfds":
		return d.pollfds(addr, uint64(uint32(d.next(i))))
	case "fdset":
		return d.fdset(addr, d.args[0])
	case "epollevents":
		return d.epollEvents(addr, uint64(d.ret))
	}
	return d.object(a.kind, a.sub, addr)
}

func hex(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }

func addrText(v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return hex(v)
}

func octal(m uint32) string {
	if m == 0 {
		return "000"
	}
	s := strconv.FormatUint(uint64(m), 8)
	for len(s) < 3 {
		s = "0" + s
	}
	return "0" + s
}

// str is a NUL-terminated string in quotes.
func (d *decoder) str(addr usermem.Addr, limit int) string {
	if addr == 0 {
		return "NULL"
	}
	b := make([]byte, 0, 64)
	for len(b) <= limit {
		var chunk [64]byte
		n := min(len(chunk), 4096-int(addr%4096))
		got, err := d.mem.CopyIn(addr, chunk[:n])
		for i, c := range chunk[:got] {
			if c == 0 {
				b = append(b, chunk[:i]...)
				if len(b) > limit {
					return quote(b[:limit]) + "..."
				}
				return quote(b)
			}
		}
		b = append(b, chunk[:got]...)
		if err != nil || got == 0 {
			return hex(uint64(addr))
		}
		addr += usermem.Addr(got)
	}
	return quote(b[:limit]) + "..."
}

// bytes are n bytes in quotes.
func (d *decoder) bytes(addr usermem.Addr, n uint64) string {
	if addr == 0 {
		return "NULL"
	}
	b := make([]byte, min(n, stringLimit))
	if _, err := d.mem.CopyIn(addr, b); err != nil {
		return hex(uint64(addr))
	}
	if n > stringLimit {
		return quote(b) + "..."
	}
	return quote(b)
}

// quote is b as a C string literal.
func quote(b []byte) string {
	s := make([]byte, 0, len(b)+2)
	s = append(s, '"')
	for i, c := range b {
		switch c {
		case '"', '\\':
			s = append(s, '\\', c)
		case '\n':
			s = append(s, `\n`...)
		case '\t':
			s = append(s, `\t`...)
		case '\r':
			s = append(s, `\r`...)
		case '\v':
			s = append(s, `\v`...)
		case '\f':
			s = append(s, `\f`...)
		default:
			if c >= ' ' && c < 0x7f {
				s = append(s, c)
				continue
			}
			s = append(s, '\\')
			if i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '9' {
				s = append(s, '0'+c>>6, '0'+c>>3&7, '0'+c&7)
			} else {
				s = strconv.AppendUint(s, uint64(c), 8)
			}
		}
	}
	return string(append(s, '"'))
}

// strv is argv, or the address and length of envp.
func (d *decoder) strv(addr usermem.Addr, name string) string {
	if addr == 0 {
		return "NULL"
	}
	var l []string
	n := 0
	for ; n < 1<<16; n++ {
		var p usermem.Addr
		if usermem.CopyObjectIn(d.mem, addr+usermem.Addr(8*n), &p) != nil {
			return hex(uint64(addr))
		}
		if p == 0 {
			break
		}
		if name == "envp" {
			continue
		}
		if n == arrayLimit {
			l = append(l, "...")
			break
		}
		l = append(l, d.str(p, stringLimit))
	}
	if name == "envp" {
		return fmt.Sprintf("%#x /* %d vars */", uint64(addr), n)
	}
	return "[" + strings.Join(l, ", ") + "]"
}

// fcntl is the third argument of fcntl.
func (d *decoder) fcntl(v uint64) string {
	switch d.args[1] {
	case unix.F_SETFD:
		return flagText("fdflags", v)
	case unix.F_SETFL:
		return flagText("open", v)
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return d.object("flock", "", usermem.Addr(v))
	case unix.F_ADD_SEALS:
		return flagText("seals", v)
	case unix.F_SETSIG:
		return signalName(int32(v))
	case unix.F_SETLEASE:
		return flagText("locktype", v)
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_SETOWN, unix.F_SETPIPE_SZ:
		return strconv.Itoa(int(int32(v)))
	case unix.F_GETFD, unix.F_GETFL, unix.F_GETOWN, unix.F_GETSIG, unix.F_GETLEASE, unix.F_GETPIPE_SZ, unix.F_GET_SEALS:
		return "" // there is none
	}
	return hex(v)
}

// list is an array of n elements, as far as it is printed.
func list(n uint64, f func(i uint64) (string, bool)) string {
	var l []string
	for i := range n {
		if i == arrayLimit {
			l = append(l, "...")
			break
		}
		s, ok := f(i)
		if !ok {
			l = append(l, "...")
			break
		}
		l = append(l, s)
	}
	return "[" + strings.Join(l, ", ") + "]"
}

// iovec is a vector of buffers of which total bytes hold something.
func (d *decoder) iovec(addr usermem.Addr, n, total uint64) string {
	if addr == 0 {
		return "NULL"
	}
	if n > maxIov {
		return hex(uint64(addr))
	}
	return list(n, func(i uint64) (string, bool) {
		var v iovec
		if usermem.CopyObjectIn(d.mem, addr+usermem.Addr(16*i), &v) != nil {
			return "", false
		}
		l := min(v.Len, total)
		total -= l
		return fmt.Sprintf("{iov_base=%s, iov_len=%d}", d.bytes(usermem.Addr(v.Base), l), v.Len), true
	})
}

func (d *decoder) msghdr(addr usermem.Addr, out bool) string {
	if addr == 0 {
		return "NULL"
	}
	var h msghdr
	if usermem.CopyObjectIn(d.mem, addr, &h) != nil {
		return hex(uint64(addr))
	}
	total := ^uint64(0)
	if out {
		total = uint64(d.ret)
	}
	name := "NULL"
	if h.Name != 0 {
		name = d.sockaddr(h.Name, uint64(uint32(h.Namelen)))
	}
	control := ""
	if h.Control != 0 && h.Controllen > 0 {
		control = ", msg_control=" + d.control(h.Control, h.Controllen)
	}
	return fmt.Sprintf("{msg_name=%s, msg_namelen=%d, msg_iov=%s, msg_iovlen=%d%s, msg_controllen=%d, msg_flags=%s}",
		name, h.Namelen, d.iovec(h.Iov, h.Iovlen, total), h.Iovlen, control, h.Controllen, flagText("msg", uint64(uint32(h.Flags))))
}

func (d *decoder) pollfds(addr usermem.Addr, n uint64) string {
	if addr == 0 {
		return "NULL"
	}
	s := list(min(n, 1<<16), func(i uint64) (string, bool) {
		var p unix.PollFd
		if usermem.CopyObjectIn(d.mem, addr+usermem.Addr(8*i), &p) != nil {
			return "", false
		}
		text := fmt.Sprintf("{fd=%d, events=%s", p.Fd, flagText("poll", uint64(uint16(p.Events))))
		if d.err == nil && p.Revents != 0 {
			text += ", revents=" + flagText("poll", uint64(uint16(p.Revents)))
		}
		return text + "}", true
	})
	return s
}

func (d *decoder) fdset(addr usermem.Addr, nfds uint64) string {
	if addr == 0 {
		return "NULL"
	}
	n := min(uint64(uint32(nfds)), 1<<16)
	b := make([]byte, (n+63)/64*8)
	if _, err := d.mem.CopyIn(addr, b); err != nil {
		return hex(uint64(addr))
	}
	var l []string
	for fd := range n {
		if b[fd/8]>>(fd%8)&1 != 0 {
			l = append(l, strconv.FormatUint(fd, 10))
		}
	}
	return "[" + strings.Join(l, " ") + "]"
}

func (d *decoder) epollEvents(addr usermem.Addr, n uint64) string {
	return list(n, func(i uint64) (string, bool) {
		var e unix.EpollEvent
		if usermem.CopyObjectIn(d.mem, addr+usermem.Addr(12*i), &e) != nil {
			return "", false
		}
		return epollText(&e), true
	})
}
