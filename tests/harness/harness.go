// Package harness runs a command natively and in a sandbox and compares what came out: the main way in which gosv is
// tested, since Linux is its specification. It owns the flags that all packages below tests/ share:
//
//	-platforms ptrace,flat   the platforms to test (or GOSV_PLATFORMS)
//	-native                  no sandbox: run everything twice natively and ask that both are equal (or GOSV_NATIVE=1)
//	GOSV_BINARY              the gosv to test, bin/gosv otherwise
//	-show                    log what the native runs print
//	-strict                  a difference fails at once; otherwise it must show twice in a row
//	-long                    the long form of tests that have one (or GOSV_LONG=1)
//
// No locks. A Command's processes are in a session of their own and die with the test.
package harness

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"golang.org/x/sys/unix"
)

var (
	platforms = flag.String("platforms", env("GOSV_PLATFORMS", "ptrace"), "platforms to test, with commas between")
	native    = flag.Bool("native", os.Getenv("GOSV_NATIVE") != "", "do not use gosv: check that two native runs are equal")
	show      = flag.Bool("show", false, "show what the native runs print")
	strict    = flag.Bool("strict", os.Getenv("GOSV_STRICT") != "", "do not run a second time what differs")
	long      = flag.Bool("long", os.Getenv("GOSV_LONG") != "", "run the long form of the tests that have one")
)

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// Native says whether only native runs are asked for.
func Native() bool { return *native }

// Long says whether the long form of tests is asked for.
func Long() bool { return *long }

// Platforms yields the names of the platforms to test.
func Platforms() []string { return strings.Split(*platforms, ",") }

// Main is what each package's TestMain calls: the mask and the niceness that tests rely on, then the tests.
func Main(m *testing.M) {
	unix.Umask(0o022)
	flag.Parse()
	os.Exit(m.Run())
}

// Root is the root of the repository.
func Root() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	panic("tests run outside of the repository")
}

// Out is a directory that stays between runs, for programs built by tests. Everyone may enter it.
func Out(t testing.TB, name string) string {
	dir := filepath.Join(Root(), "tests", "out", name)
	if !openToAll(Root()) {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("gosv-tests-%d", os.Getuid()), name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openToAll says whether every user may reach a directory.
func openToAll(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err != nil || fi.Mode()&0o5 != 0o5 {
			return false
		}
	}
	return true
}

var gosvOnce = sync.OnceValues(func() (string, error) {
	bin := env("GOSV_BINARY", filepath.Join(Root(), "bin", "gosv"))
	if _, err := os.Stat(bin); err != nil {
		return "", errors.New("bin/gosv is missing: run make first")
	}
	if openToAll(filepath.Dir(bin)) {
		return bin, nil
	}
	// Other users must be able to run it.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("gosv-tests-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	data, err := os.ReadFile(bin)
	if err != nil {
		return "", err
	}
	copied := filepath.Join(dir, fmt.Sprintf("gosv-%d", os.Getpid()))
	return copied, os.WriteFile(copied, data, 0o755)
})

// Gosv is the path of the binary under test.
func Gosv(t testing.TB) string {
	bin, err := gosvOnce()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// GosvOn is a command that is gosv, but what it is told to `do` it does on a platform.
func GosvOn(t testing.TB, platform string) string {
	path := filepath.Join(Dir(t, 0), "gosv")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = do ] || exec %[1]s \"$@\"\nshift\nexec %[1]s do --platform=%[2]s \"$@\"\n", Gosv(t), platform)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// Tool fails the test when a program that it needs is not installed: nothing is skipped silently.
func Tool(t testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run tests/install.sh", name)
	}
	return path
}

// A Command is one run of a program.
type Command struct {
	Args     []string
	Dir      string        // the working directory
	Env      []string      // in place of the small environment that commands get
	Stdin    string        // what it reads; nothing by default
	Timeout  time.Duration // 20 s by default
	UID      int           // the user, when it is not the caller
	Platform string        // where it runs; "" is natively
	Flags    []string      // more flags of gosv do
}

// A Result is what a command did.
type Result struct {
	Stdout, Stderr string
	Status         int // the exit status, 128+n for signal n
	TimedOut       bool
	Took           time.Duration
}

// String is the result as comparisons see it.
func (r Result) String() string {
	s := r.Stdout
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n(no newline at the end)\n"
	}
	if r.TimedOut {
		return s + "(timed out)\n"
	}
	return s + fmt.Sprintf("(exit status %d)\n", r.Status)
}

// Argv is the command line that runs the command, on its platform.
func (c Command) Argv(t testing.TB) []string {
	if c.Platform == "" {
		return c.Args
	}
	argv := append([]string{Gosv(t), "do", "--platform=" + c.Platform, "--cwd=" + c.Dir}, c.Flags...)
	return append(append(argv, "--"), c.Args...)
}

// Environ is the environment of the command.
func (c Command) Environ() []string {
	if c.Env != nil {
		return c.Env
	}
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + c.Dir, "LANG=C.UTF-8", "TERM=dumb"}
}

// Run runs the command to its end. Its output goes to files, so that a straggler that keeps it open holds nothing up.
func (c Command) Run(t testing.TB) Result {
	t.Helper()
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	argv := c.Argv(t)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = c.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.UID != 0 && c.UID != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp("", "gosv-out-*")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer os.Remove(f.Name())
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	if c.Stdin != "" {
		f, err := os.CreateTemp("", "gosv-in-*")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer os.Remove(f.Name())
		f.WriteString(c.Stdin)
		f.Seek(0, 0)
		cmd.Stdin = f
	}
	start := time.Now()
	err := cmd.Run()
	r := Result{Took: time.Since(start), TimedOut: ctx.Err() != nil}
	var ee *exec.ExitError
	switch {
	case cmd.ProcessState == nil:
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	case err == nil || errors.As(err, &ee) || errors.Is(err, exec.ErrWaitDelay):
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		r.Status = ws.ExitStatus()
		if ws.Signaled() {
			r.Status = 128 + int(ws.Signal())
		}
	}
	// What the command left running, in its session's first group, ends here.
	unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	r.Stdout, r.Stderr = read(files[0]), read(files[1])
	return r
}

// read yields what was written to a file, up to a limit that only a program gone wild reaches.
func read(f *os.File) string {
	const most = 8 << 20
	buf := make([]byte, most)
	n, _ := f.ReadAt(buf, 0)
	return string(bytes.ToValidUTF8(buf[:n], []byte("\ufffd")))
}

// Diff shows how two texts differ, or "" when they do not.
func Diff(wantName, want, gotName, got string) string {
	if want == got {
		return ""
	}
	d, _ := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(want), B: difflib.SplitLines(got),
		FromFile: wantName, ToFile: gotName, Context: 2,
	})
	const most = 8000
	if len(d) > most {
		d = d[:most] + "\n... (cut)\n"
	}
	return d
}

// Dir makes a directory that the user owns and everyone may enter, which goes with the test.
func Dir(t testing.TB, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gosv-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if uid != 0 && uid != os.Getuid() {
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// SameAsNative runs a command natively and on each platform (or twice natively) and asks for equal output and status.
// Each run has a fresh directory, at the same path, which prepare fills.
func SameAsNative(t *testing.T, c Command, prepare func(dir string)) {
	t.Helper()
	dir := Dir(t, c.UID)
	fill := func() {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
		os.Chmod(dir, 0o755)
		if prepare != nil {
			prepare(dir)
		}
	}
	c.Dir = dir
	fill()
	want := c.Run(t)
	if want.TimedOut {
		t.Fatalf("timed out natively\n%s%s", want.Stdout, want.Stderr)
	}
	if *show {
		t.Logf("native:\n%s%s", want, stderr("native", want.Stderr))
	}
	check := func(name string) {
		t.Helper()
		fill()
		got := c.Run(t)
		d := Diff("native", want.String(), name, got.String())
		if d != "" && !*strict {
			// A program that waits for others can be late on a machine that is busy with something else, natively too.
			t.Logf("differs, tried again: %s\n%s%s", strings.Join(c.Args, " "), d, stderr(name, got.Stderr))
			again := c
			again.Platform = ""
			fill()
			want = again.Run(t)
			fill()
			got = c.Run(t)
			d = Diff("native", want.String(), name, got.String())
		}
		if d != "" {
			t.Errorf("%s\n%s%s", strings.Join(c.Args, " "), d, stderr(name, got.Stderr)+stderr("native", want.Stderr))
		} else {
			t.Logf("%s: native %v, %s %v", filepath.Base(c.Args[0]), want.Took.Round(time.Millisecond), name, got.Took.Round(time.Millisecond))
		}
	}
	if Native() {
		check("native again")
		return
	}
	for _, p := range Platforms() {
		c.Platform = p
		check(p)
	}
}

func stderr(name, text string) string {
	if text == "" {
		return ""
	}
	const most = 4000
	if len(text) > most {
		text = text[:most] + "\n... (cut)\n"
	}
	return "stderr of " + name + ":\n" + text
}

// Nobody is the ordinary user that tests run programs as.
const Nobody = 65534

// Users runs a test as root and as an ordinary user, or as the only user that there is.
func Users(t *testing.T, f func(t *testing.T, uid int)) {
	if os.Getuid() != 0 {
		f(t, os.Getuid())
		return
	}
	t.Run("root", func(t *testing.T) { f(t, 0) })
	t.Run("nobody", func(t *testing.T) { f(t, Nobody) })
}
