package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/tests/harness"
)

// person sits at a pseudo-terminal of the host, where an interactive shell of the host runs: it types, and waits until it
// reads what it expects.
type person struct {
	t             *testing.T
	master, slave *os.File
	shell         *exec.Cmd
	slow          time.Duration // what starting a sandbox costs now, several times

	mu   sync.Mutex
	all  []byte // everything that appeared
	seen int    // how much of it has been matched
}

// sitDown starts the shell.
func sitDown(t *testing.T, uid int) *person {
	t.Helper()
	begin := time.Now()
	require.NoError(t, exec.Command(harness.Gosv(t), "do", "--platform="+platform, "true").Run())
	slow := min(5*time.Since(begin), 3*time.Second)
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	p := &person{t: t, slow: slow, master: os.NewFile(uintptr(fd), "ptmx")}
	p.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	p.shell = exec.Command(harness.Tool(t, "bash"), "--norc", "--noprofile", "--noediting", "-i")
	p.shell.Dir = harness.Dir(t, uid)
	p.shell.Env = []string{"PATH=/usr/bin:/bin", "PS1=>> ", "TERM=xterm", "LC_ALL=C", "HISTFILE=", "GOSV=" + harness.GosvOn(t, platform), "HOME=/"}
	p.shell.Stdin, p.shell.Stdout, p.shell.Stderr = p.slave, p.slave, p.slave
	p.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if uid != os.Getuid() {
		p.shell.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		require.NoError(t, p.slave.Chown(uid, -1))
	}
	require.NoError(t, p.shell.Start())
	t.Cleanup(func() {
		for _, pid := range descendants(p.shell.Process.Pid) {
			unix.Kill(pid, unix.SIGKILL)
		}
		p.shell.Process.Kill()
		p.shell.Wait()
		p.master.Close()
		p.slave.Close()
	})
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := p.master.Read(buf)
			p.mu.Lock()
			p.all = append(p.all, buf[:n]...)
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	p.expect(">> ")
	return p
}

// expect waits until a text appears after what has been matched.
func (p *person) expect(text string) {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for ; ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		i := bytes.Index(p.all[p.seen:], []byte(text))
		if i >= 0 {
			p.seen += i + len(text)
		}
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(deadline) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%q did not appear; the terminal shows:\n%s", text, p.all)
		}
	}
}

func (p *person) keys(text string) {
	p.t.Helper()
	_, err := p.master.WriteString(text)
	require.NoError(p.t, err)
}

// line types a line and waits for what it prints, and for the prompt of the host's shell.
func (p *person) line(text, want string) {
	p.t.Helper()
	p.keys(text + "\r")
	p.expect("\r\n" + want)
	p.expect(">> ")
}

// cooked asks that the terminal is as a shell leaves it.
func (p *person) cooked() {
	p.t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	require.NoError(p.t, err)
	require.NotZero(p.t, s.Lflag&unix.ICANON)
	require.NotZero(p.t, s.Lflag&unix.ECHO)
	require.NotZero(p.t, s.Lflag&unix.ISIG)
	require.NotZero(p.t, s.Oflag&unix.OPOST)
	require.NotZero(p.t, s.Iflag&unix.ICRNL)
}

// pause gives a program time to start, or to be stopped: on a busy machine more.
func (p *person) pause() { time.Sleep(350*time.Millisecond + p.slow) }

// sentry is the pid of the sandbox that the shell runs.
func (p *person) sentry() int {
	all := descendants(p.shell.Process.Pid)
	require.GreaterOrEqual(p.t, len(all), 2)
	return all[1] // the shell's child is the command
}

// TestTerminal uses the command from an interactive shell on the host.
func TestTerminal(t *testing.T) {
	harness.Tool(t, "/usr/bin/less")
	users(t, func(t *testing.T, uid int) {
		p := sitDown(t, uid)
		// It is a terminal, of the right size, and what is typed arrives.
		p.line("$GOSV do sh -c 'tty >/dev/null && stty size'", "24 80\r\n")
		p.keys("$GOSV do cat\r")
		p.pause()
		p.keys("abc\x7fd\r")
		p.expect("abd\r\n")
		p.keys("\x04")
		p.expect(">> ")
		p.cooked()
		// Ctrl-C, Ctrl-\.
		p.keys("$GOSV do sleep 100\r")
		p.pause()
		p.keys("\x03")
		p.expect("^C\r\n>> ") // the shell sees that it was Ctrl-C
		p.line("echo status $?", "status 130")
		p.keys("$GOSV do sleep 100\r")
		p.pause()
		p.keys("\x1c")
		p.expect(">> ")
		p.line("echo status $?", "status 131")
		// Ctrl-Z stops it, fg goes on.
		p.keys("$GOSV do sh -c 'read x; echo got $x; stty size'\r")
		p.pause()
		p.keys("\x1a")
		p.expect("Stopped")
		p.expect(">> ")
		p.cooked()
		p.line("jobs | grep -c Stopped", "1\r\n")
		require.NoError(t, unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}))
		p.keys("fg\r")
		p.expect("read x")
		p.pause()
		p.keys("hello\r")
		p.expect("got hello\r\n30 100\r\n")
		p.expect(">> ")
		p.cooked()
		// Stopped and continued in the background, where it ends.
		p.keys("$GOSV do sleep 6\r")
		p.pause()
		p.keys("\x1a")
		p.expect("Stopped")
		p.expect(">> ")
		p.line("bg", "")
		p.keys("wait; echo waited $?\r")
		p.expect("\r\nwaited 0")
		p.expect(">> ")
		// Begun in the background: what is typed is the shell's. A program that reads is stopped.
		p.line("$GOSV do cat &", "")
		p.pause()
		p.pause()
		p.line("echo mine", "mine\r\n")
		p.pause()
		p.line("jobs | grep -c 'Stopped.*cat'", "1\r\n")
		p.keys("fg\r")
		p.expect("do cat")
		p.pause()
		p.keys("typed\r")
		p.expect("typed\r\ntyped\r\n")
		p.keys("\x04")
		p.expect(">> ")
		// Begun in the background and then wanted.
		p.line("$GOSV do sh -c 'sleep 1; read x; echo got $x' &", "")
		p.keys("fg\r")
		p.expect("got $x'")
		time.Sleep(time.Second)
		p.pause()
		p.keys("it\r")
		p.expect("got it\r\n")
		p.expect(">> ")
		p.cooked()
		// The window changes its size.
		p.keys("$GOSV do bash -c 'trap \"stty size\" WINCH; echo ready; while sleep 0.1; do :; done'\r")
		p.expect("\r\nready\r\n")
		require.NoError(t, unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}))
		p.expect("40 120\r\n")
		p.keys("\x03")
		p.expect(">> ")
		// A pager in raw mode, with search and a clean end.
		p.keys("seq 1 1000 > n; $GOSV do less n\r")
		p.expect("38\r\n39\r\n")
		p.keys("/777\r")
		p.expect("777")
		p.keys("q")
		p.expect(">> ")
		p.cooked()
		// In a pipeline the other end has the terminal.
		p.keys("$GOSV do seq 1 1000 | less\r")
		p.expect("38\r\n39\r\n")
		p.keys("G")
		p.expect("1000\r\n")
		p.keys("q")
		p.expect(">> ")
		p.line("$GOSV do seq 8 9 | cat", "8\r\n9\r\n")
		// An interactive shell with jobs of its own.
		p.keys("$GOSV do bash --norc --noprofile --noediting -i\r")
		p.expect(">> ")
		p.keys("sleep 100\r")
		p.pause()
		p.keys("\x1a")
		p.expect("Stopped")
		p.expect(">> ")
		p.line("jobs | grep -c sleep; uname -v | grep -o gosv", "1\r\ngosv\r\n")
		p.line("kill -STOP $$", "")
		p.cooked()
		p.line("uname -v | grep -c gosv", "0\r\n") // the host's shell
		p.keys("fg\r")
		p.pause()
		p.line("uname -v | grep -c gosv", "1\r\n")
		p.line("kill -9 %1; wait %1 2>/dev/null", "")
		p.keys("exit\r")
		p.expect("exit\r\n>> ")
		p.cooked()
		// The sentry dies.
		p.keys("$GOSV do cat\r")
		p.pause()
		require.NoError(t, unix.Kill(p.sentry(), unix.SIGKILL))
		p.expect("gosv: do: the sandbox was ended by signal 9 (SIGKILL)\r\n")
		p.expect(">> ")
		p.cooked()
		// The command is told to end.
		p.keys("$GOSV do cat\r")
		p.pause()
		require.NoError(t, unix.Kill(descendants(p.shell.Process.Pid)[0], unix.SIGTERM))
		p.expect(">> ")
		p.line("echo status $?", "status 143")
		p.cooked()
		// It does not begin.
		p.line("$GOSV do no-such-command", "gosv: do: no-such-command: command not found\r\n")
		p.cooked()
	})
}

// TestHangUp closes the terminal: nothing stays behind.
func TestHangUp(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		p := sitDown(t, uid)
		p.keys("$GOSV do bash --norc --noprofile --noediting -i\r")
		p.expect(">> ")
		p.keys("sleep 1000\r")
		p.pause()
		pids := descendants(p.shell.Process.Pid)
		require.GreaterOrEqual(t, len(pids), 3) // the command, the sentry and a stub
		p.slave.Close()
		p.master.Close()
		gone(t, pids)
	})
}

// TestVi edits a file.
func TestVi(t *testing.T) { platforms(t, testVi) }

func testVi(t *testing.T) {
	editor := ""
	for _, name := range []string{"vim.tiny", "vim", "vi"} {
		if path, err := exec.LookPath(name); err == nil {
			editor = path
			break
		}
	}
	if editor == "" {
		t.Skip("no vi is installed")
	}
	p := sitDown(t, os.Getuid())
	p.keys("$GOSV do -v $PWD:/mnt " + editor + " -u NONE /mnt/text\r")
	p.expect("/mnt/text")
	p.pause()
	p.keys("ihello, world\x1b:wq\r")
	p.expect(">> ")
	p.cooked()
	b, err := os.ReadFile(p.shell.Dir + "/text")
	require.NoError(t, err)
	require.Equal(t, "hello, world", strings.TrimSpace(string(b)))
}
