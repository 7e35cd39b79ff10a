package real

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/tests/harness"
)

// A terminal is a person at a pseudo-terminal: it types, and waits until it reads what it expects.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	all  bytes.Buffer // everything that appeared
	seen int          // how much of it has been matched
}

// openPTY opens a new pseudo-terminal of 24 lines and 80 columns.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	// Not blocking, so that the runtime's poller waits and Close interrupts.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), slave
}

// start runs a command on a terminal of its own.
func start(t *testing.T, c harness.Command) *terminal {
	master, slave := openPTY(t)
	defer slave.Close()
	argv := c.Argv(t)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if c.UID != 0 && c.UID != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)}
		slave.Chown(c.UID, -1)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: master, cmd: cmd}
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		master.Close()
	})
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			term.mu.Lock()
			term.all.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

// expect waits until the text appears in what has not been matched yet.
func (p *terminal) expect(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		rest := p.all.Bytes()[p.seen:]
		i := bytes.Index(rest, []byte(text))
		if i >= 0 {
			p.seen += i + len(text)
		}
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%q did not appear; the terminal shows:\n%s", text, p.String())
		}
	}
}

// keys types.
func (p *terminal) keys(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// line types a line and waits for the next prompt.
func (p *terminal) line(text string) {
	p.t.Helper()
	p.keys(text + "\r")
	p.expect("\n>> ")
}

func (p *terminal) resize(rows, cols uint16) {
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
	// Fd made the file blocking.
	unix.SetNonblock(int(p.master.Fd()), true)
}

// wait waits for the end and yields the status as a shell gives it.
func (p *terminal) wait() int {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		p.t.Fatalf("it does not end; the terminal shows:\n%s", p.String())
	}
	time.Sleep(50 * time.Millisecond) // the last output
	ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

var jobPID = regexp.MustCompile(`(?m)(\[\d\][+-]?) +\d+`)

// String is all that appeared, without what differs between runs.
func (p *terminal) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.ReplaceAll(p.all.String(), "\r\n", "\n")
	return jobPID.ReplaceAllString(text, "$1 PID")
}

// onTerminal runs a session natively and in the sandbox and compares all that appeared.
func onTerminal(t *testing.T, c harness.Command, session func(p *terminal) int) {
	t.Helper()
	run := func(platform string) string {
		t.Helper()
		c.Platform = platform
		c.Dir = harness.Dir(t, c.UID)
		c.Env = []string{"PATH=/usr/bin:/bin", "PS1=>> ", "TERM=dumb", "HOME=" + c.Dir, "LC_ALL=C", "HISTFILE="}
		p := start(t, c)
		status := session(p)
		return fmt.Sprintf("%s\n(exit status %d)\n", strings.ReplaceAll(p.String(), c.Dir, "DIR"), status)
	}
	want := run("")
	names := harness.Platforms()
	if harness.Native() {
		names = []string{""}
	}
	for _, name := range names {
		if d := harness.Diff("native", want, "got "+name, run(name)); d != "" {
			t.Errorf("%s", d)
		}
	}
}

// TestJobControl sits at an interactive shell: stops, continues and interrupts jobs, resizes the window, logs out.
func TestJobControl(t *testing.T) {
	bash := harness.Tool(t, "bash")
	each(t, func(t *testing.T, uid int) {
		onTerminal(t, harness.Command{Args: []string{bash, "--norc", "--noprofile", "--noediting", "-i"}, UID: uid}, func(p *terminal) int {
			p.expect(">> ")
			p.line("echo hello; tty >/dev/null && echo a terminal")
			p.line("stty size; stty -a | grep -o 'intr = ^C'")
			p.keys("sleep 100 | cat\r")
			time.Sleep(400 * time.Millisecond)
			p.keys("\x1a")
			p.expect("Stopped")
			p.expect("\n>> ")
			p.line("jobs")
			p.line("bg >/dev/null; jobs -r | wc -l")
			p.keys("fg\r")
			p.expect("sleep 100 | cat")
			time.Sleep(300 * time.Millisecond)
			p.keys("\x03")
			p.expect("\n>> ")
			p.line("echo status $?")
			p.line("sleep 100 &")
			p.line("kill -STOP %1; sleep 0.2")
			p.line("jobs -l")
			p.line("kill -9 %1; sleep 0.3")
			p.line("cat >/dev/null & sleep 0.3; jobs -s | wc -l; kill -9 %%; sleep 0.3")
			p.keys("(trap 'echo resized $(stty size); exit' WINCH; while :; do sleep 0.1; done)\r")
			time.Sleep(300 * time.Millisecond)
			p.resize(30, 100)
			p.expect("resized 30 100")
			p.expect("\n>> ")
			p.line("stty size")
			p.keys("cat\r")
			time.Sleep(200 * time.Millisecond)
			p.keys("abc\x7fd\x15line two\r")
			p.expect("two\r\nline two")
			p.keys("\x04")
			p.expect(">> ")
			p.line("read -s -t 5 x <<<secret; echo $x")
			p.keys("read -n 3 y; echo \" got $y\"\r")
			time.Sleep(200 * time.Millisecond)
			p.keys("xyz")
			p.expect("got xyz")
			p.expect("\n>> ")
			p.keys("sleep 50\r")
			time.Sleep(300 * time.Millisecond)
			p.keys("\x1c")
			p.expect("\n>> ")
			p.line("echo $?")
			p.line("(exit 5); echo $?")
			p.keys("exit 7\r")
			return p.wait()
		})
	})
}

// TestRawMode runs a program that puts the terminal into raw mode and shows what it reads.
func TestRawMode(t *testing.T) {
	harness.Tool(t, "/usr/bin/python3")
	program := `
import os, signal, sys, termios, tty
old = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"ready\r\n")
data = b""
while not data.endswith(b"q"):
    data += os.read(0, 100)
termios.tcsetattr(0, termios.TCSADRAIN, old)
print(repr(data), os.get_terminal_size(), os.tcgetpgrp(0) == os.getpgrp(), os.isatty(0), os.ttyname(1).startswith("/dev/"))
signal.signal(signal.SIGINT, lambda *a: (print("interrupted", flush=True), sys.exit(3)))
print("waiting", flush=True)
while True:
    signal.pause()
`
	each(t, func(t *testing.T, uid int) {
		onTerminal(t, harness.Command{Args: []string{"/usr/bin/python3", "-c", program}, UID: uid}, func(p *terminal) int {
			p.expect("ready")
			p.keys("a\x03\x04\x1a\r\x7f\x1b[Aq")
			p.expect("waiting")
			time.Sleep(100 * time.Millisecond)
			p.keys("\x03")
			p.expect("interrupted")
			return p.wait()
		})
	})
}

// TestHangUp closes the terminal under a shell.
func TestHangUp(t *testing.T) {
	bash := harness.Tool(t, "bash")
	for _, platform := range append([]string{""}, harness.Platforms()...) {
		if platform != "" && harness.Native() {
			continue
		}
		dir := harness.Dir(t, 0)
		p := start(t, harness.Command{Args: []string{bash, "--norc", "--noprofile", "--noediting", "-i"}, Dir: dir, Platform: platform, Env: []string{"PATH=/usr/bin:/bin", "PS1=>> ", "TERM=dumb"}})
		p.expect(">> ")
		p.keys("sleep 1000\r")
		time.Sleep(200 * time.Millisecond)
		p.master.Close()
		p.wait()
	}
}
