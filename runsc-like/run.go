package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/runsc-like/sandbox"
)

// run starts the sentry and waits for it.
func (f *doFlags) run(args []string) error {
	c, err := f.config(args)
	if err != nil {
		var e *exitError
		if errors.As(err, &e) {
			return err
		}
		return fmt.Errorf("do: %w", err)
	}
	logFile, err := openOutput(f.log)
	if err != nil {
		return fmt.Errorf("do: --log: %w", err)
	}
	c.LogFile = f.log != ""
	straceFile := os.Stderr
	if f.straceFile != "" {
		if straceFile, err = openOutput(f.straceFile); err != nil {
			return fmt.Errorf("do: --strace-file: %w", err)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("do: socketpair: %w", err)
	}
	control, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	m := &monitor{control: control, done: make(chan struct{}), signal: make(chan os.Signal, 32),
		ignored: map[syscall.Signal]bool{unix.SIGTSTP: signal.Ignored(unix.SIGTSTP), unix.SIGTTIN: signal.Ignored(unix.SIGTTIN)}}
	// From here on nothing may end the command and leave the terminal raw.
	signal.Notify(m.signal, forwarded...)
	m.term = openTerminal(c)
	defer m.term.restore()

	raiseLimits()
	// The sentry dies with the thread that starts it.
	runtime.LockOSThread()
	// The sentry inherits how late its timers may be. Where the Go scheduler sleeps for 3 us, before it takes a goroutine that
	// another processor was about to run, the usual slack makes that 60.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// And it needs all its signals, whatever the caller has blocked.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
	p, err := sandbox.Start(c.Identity, bootCommand, theirs, logFile, straceFile)
	if err != nil {
		return fmt.Errorf("do: starting the sandbox: %w%s", err, startHint(err))
	}
	theirs.Close()
	if m.term.fd < 0 {
		giveUpStandardFiles()
	}
	// A sentry that died has its own reasons, told below.
	c.send(control)
	go m.signals()
	go m.messages()
	if m.term.fd >= 0 {
		go m.foreground()
	}
	ws, err := p.Wait()
	<-m.done
	m.term.restore()
	return m.exitStatus(ws, err)
}

// giveUpStandardFiles closes the command's own standard input and output: whoever is at the other end of a pipe must notice
// when the program closes its. Standard error stays, for what goes wrong.
func giveUpStandardFiles() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return // the other end learns it when the sandbox ends
	}
	defer null.Close()
	for fd := 0; fd <= 1; fd++ {
		unix.Dup3(int(null.Fd()), fd, 0)
	}
}

// startHint says what to do about the usual reasons.
func startHint(err error) string {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) || errors.Is(err, unix.EACCES) {
		do := "run gosv as root, or allow it"
		if os.Geteuid() == 0 {
			do = "allow it"
		}
		return ": this host does not let you create a user namespace with others below it; " + do +
			" (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0," +
			" user.max_user_namespaces and the other max_*_namespaces more than 0)"
	}
	if errors.Is(err, unix.ENOENT) {
		return ": is /proc mounted? gosv needs it"
	}
	return ""
}

// raiseLimits lifts the limits that are meant for the program and would hit the sentry, as far as the host
// allows. The program keeps the caller's: the sentry enforces them.
func raiseLimits() {
	for _, r := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA, unix.RLIMIT_FSIZE, unix.RLIMIT_CPU, unix.RLIMIT_NPROC, unix.RLIMIT_NOFILE} {
		var l syscall.Rlimit
		if syscall.Getrlimit(r, &l) != nil {
			continue
		}
		most := uint64(unix.RLIM_INFINITY)
		if r == unix.RLIMIT_NOFILE {
			most = 1 << 20
		}
		if l.Max < most && syscall.Setrlimit(r, &syscall.Rlimit{Cur: most, Max: most}) == nil {
			continue
		}
		l.Cur = l.Max
		syscall.Setrlimit(r, &l)
	}
	// A core file would have the guest's secrets in it, and nobody asked for one of the sentry.
	syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{})
}

// openOutput opens a file for a log; without a name what is written goes nowhere.
func openOutput(name string) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
}

// forwarded are the signals that are meant for the program when the command gets them.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH, unix.SIGALRM}

// monitor is the command while the sentry runs: it passes signals on and stops when the program stops.
type monitor struct {
	control *os.File
	term    *terminal
	signal  chan os.Signal
	ignored map[syscall.Signal]bool // stop signals that the caller ignores; set before signals are handled
	done    chan struct{}           // closed when the sentry has said its last word

	// What it said, valid after done.
	ended  bool // status is the program's
	status byte
	killed syscall.Signal // what ended the program, or 0

	// suspended: the program has stopped, and the command stops or has.
	suspended atomic.Bool
}

// signals passes on what the command gets.
func (m *monitor) signals() {
	for s := range m.signal {
		switch s {
		case unix.SIGWINCH:
			m.resize()
		case unix.SIGCONT:
			m.suspended.Store(false)
			m.inForeground()
			m.control.Write([]byte{msgSignal, byte(unix.SIGCONT)})
		default:
			m.control.Write([]byte{msgSignal, byte(s.(syscall.Signal))})
		}
	}
}

func (m *monitor) resize() {
	if w, ok := m.term.size(); ok {
		b := []byte{msgResize, byte(w.Row), byte(w.Row >> 8), byte(w.Col), byte(w.Col >> 8),
			byte(w.Xpixel), byte(w.Xpixel >> 8), byte(w.Ypixel), byte(w.Ypixel >> 8)}
		m.control.Write(b)
	}
}

// inForeground takes the terminal over if the command is in its foreground.
func (m *monitor) inForeground() {
	if m.term.raw() {
		m.resize()
		m.control.Write([]byte{msgForeground})
	}
}

// foreground notices that a command which was started in the background comes to the foreground: shells send no signal
// then if it is not stopped.
func (m *monitor) foreground() {
	for {
		select {
		case <-m.done:
			return
		case <-time.After(200 * time.Millisecond):
		}
		if !m.suspended.Load() && !m.term.taken() {
			m.inForeground()
		}
		if m.term.taken() {
			// Only a stop can take it away again, and SIGCONT ends that.
			for m.term.taken() {
				select {
				case <-m.done:
					return
				case <-m.term.released:
				}
			}
		}
	}
}

// messages handles what the sentry says.
func (m *monitor) messages() {
	defer close(m.done)
	for {
		var b [4]byte
		if _, err := io.ReadFull(m.control, b[:1]); err != nil {
			return
		}
		switch b[0] {
		case msgStop:
			m.stop(unix.SIGTSTP)
		case msgInput:
			m.stop(unix.SIGTTIN)
		case msgExit:
			if _, err := io.ReadFull(m.control, b[:2]); err != nil {
				return
			}
			m.ended, m.status, m.killed = true, b[0], syscall.Signal(b[1])
		case msgError:
			if _, err := io.ReadFull(m.control, b[:4]); err != nil {
				return
			}
			text, err := io.ReadAll(io.LimitReader(m.control, int64(binary.LittleEndian.Uint32(b[:]))))
			m.term.restore()
			fmt.Fprintf(os.Stderr, "gosv: do: %s\n", text)
			if err != nil {
				return
			}
		}
	}
}

// stop stops the command, and whatever is in its process group, as the terminal would have stopped them. Where there is
// nobody to continue a group Linux does not stop it that way: the program has then been stopped by SIGSTOP.
func (m *monitor) stop(sig syscall.Signal) {
	orphaned := groupOrphaned()
	if orphaned && sig == unix.SIGTTIN {
		return
	}
	m.suspended.Store(true)
	m.term.restore()
	if orphaned {
		unix.Kill(unix.Getpid(), unix.SIGSTOP)
		return
	}
	stop := func() {
		unix.Kill(0, sig)
		// Go on when the signal has arrived and the stop is over; or if the caller ignores it.
		for i := 0; i < 100 && m.suspended.Load(); i++ {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if m.ignored[sig] {
		stop()
	} else {
		withDefaultAction(sig, stop)
	}
	if m.suspended.Swap(false) {
		m.inForeground()
		m.control.Write([]byte{msgSignal, byte(unix.SIGCONT)})
	}
}

// exitStatus is the error whose status the sentry's end stands for.
func (m *monitor) exitStatus(ws unix.WaitStatus, err error) error {
	if m.ended {
		if m.status == 0 {
			return nil
		}
		if m.killed == unix.SIGINT && m.term.fd >= 0 {
			// A shell ends its loop when Ctrl-C has ended a command of it, and must see that.
			signal.Reset(unix.SIGINT)
			unix.Kill(unix.Getpid(), unix.SIGINT)
			time.Sleep(time.Second)
		}
		return &exitError{int(m.status), nil}
	}
	switch {
	case err != nil:
		return fmt.Errorf("do: the sandbox failed: %w", err)
	case ws.Exited() && ws.ExitStatus() == 0:
		return errors.New("do: the sandbox failed: it ended without a word")
	case ws.Signaled() && ws.Signal() == syscall.SIGSYS:
		return errors.New("do: the sandbox was ended because it made a host call that its filter does not allow." +
			"\nThis is a defect of gosv. The host's log has the number of the call (dmesg | grep type=1326); --debug says more")
	case ws.Signaled():
		return &exitError{128 + int(ws.Signal()), fmt.Errorf("do: the sandbox was ended by signal %d (%s)", ws.Signal(), unix.SignalName(ws.Signal()))}
	}
	return fmt.Errorf("do: the sandbox failed with status %d; this is a defect of gosv", ws.ExitStatus())
}
