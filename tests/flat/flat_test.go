// Package flat is what can go wrong when guest and sentry share one address space, tried until it does: signals at 10 kHz against
// system calls, every register over every way out of the guest and back, sites that are rewritten while threads execute
// them, code that comes and goes, thousands of threads. Each program in testdata prints the same natively and in the sandbox.
//
// A program's argument is how many milliseconds each of its parts goes on; what it prints does not depend on it. The long form
// (-long) lasts minutes, and does it all again while the sentry collects its garbage without a pause.
package flat

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) {
	// The platform is what this is about, and what happens once in a hundred runs is to be seen.
	if os.Getenv("GOSV_PLATFORMS") == "" {
		flag.Set("platforms", "flat")
	}
	flag.Set("strict", "true")
	harness.Main(m)
}

var (
	buildLine = regexp.MustCompile(`(?m)^// build: (.*)$`)
	longLine  = regexp.MustCompile(`(?m)^// long: (\d+)$`)
)

// build compiles a program and yields its path and how many seconds its parts last in the long form.
func build(t *testing.T, source string) (bin string, long int) {
	text, err := os.ReadFile(source)
	require.NoError(t, err)
	name := strings.TrimSuffix(filepath.Base(source), ".c")
	bin = filepath.Join(harness.Out(t, "flat"), name)
	argv := []string{"-O1", "-Wall", "-Werror", "-pthread", "-I", filepath.Join(harness.Root(), "tests/guest/programs"), source}
	if m := buildLine.FindSubmatch(text); m != nil {
		argv = append(argv, strings.Fields(string(m[1]))...)
	}
	temp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	msg, err := exec.Command(harness.Tool(t, "gcc"), append(argv, "-o", temp)...).CombinedOutput()
	require.NoError(t, err, "%s: %s", source, bytes.TrimSpace(msg))
	require.NoError(t, os.Rename(temp, bin))
	if m := longLine.FindSubmatch(text); m != nil {
		long, _ = strconv.Atoi(string(m[1]))
	}
	return bin, long
}

func TestPrograms(t *testing.T) {
	sources, _ := filepath.Glob("testdata/*.c")
	require.NotEmpty(t, sources)
	for _, s := range sources {
		bin, long := build(t, s)
		t.Run(filepath.Base(bin), func(t *testing.T) {
			ms, timeout := 150, 60*time.Second
			if harness.Long() && long > 0 {
				ms, timeout = long*1000, 60*time.Second+10*time.Duration(long)*time.Second
			}
			harness.SameAsNative(t, harness.Command{Args: []string{bin, strconv.Itoa(ms)}, Timeout: timeout}, nil)
		})
	}
}

// TestSeccomp runs the short form of programs that are hard on interception where the filter does it: signals, threads, code that
// is rewritten and code that comes and goes.
func TestSeccomp(t *testing.T) {
	if harness.Native() || harness.Long() {
		return
	}
	for _, name := range []string{"timers", "threads", "patch", "jit", "otherways", "leafclock"} {
		bin, _ := build(t, filepath.Join("testdata", name+".c"))
		for _, flags := range [][]string{{"--interception=seccomp"}, {"--interception=seccomp", "--no-rewrite"}} {
			t.Run(name, func(t *testing.T) {
				c := harness.Command{Args: []string{bin, "100", "vsyscall"}, Timeout: 60 * time.Second, Dir: harness.Dir(t, 0)}
				want := c.Run(t)
				c.Platform, c.Flags = "flat", flags
				got := c.Run(t)
				require.Equal(t, want.String(), got.String(), "%s\n%s", strings.Join(flags, " "), got.Stderr)
			})
		}
	}
}

// collector is a file that is compiled into package main of a gosv for this test only.
const collector = `package main

import (
	"runtime"
	"time"
)

func init() {
	go func() {
		for {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}()
}
`

// TestCollector runs the programs in a gosv that collects all the time.
func TestCollector(t *testing.T) {
	// Natively, and in itself, there is nothing to do; the short form is platform/flat's TestStress tests.
	if harness.Native() || os.Getenv("GOSV_FLAT_COLLECTS") != "" || !harness.Long() {
		return
	}
	dir := harness.Dir(t, 0)
	file := filepath.Join(dir, "collector.go")
	require.NoError(t, os.WriteFile(file, []byte(collector), 0o644))
	root := harness.Root()
	overlay := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlay,
		fmt.Appendf(nil, `{"Replace": {%q: %q}}`, filepath.Join(root, "runsc-like", "collector_for_test.go"), file), 0o644))
	bin := filepath.Join(dir, "gosv")
	cmd := exec.Command("go", "build", "-overlay", overlay, "-ldflags=-T=0x600000001000 -s -w", "-o", bin, "./runsc-like")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	msg, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", msg)

	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.Command(self, "-test.run=^TestPrograms$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), "GOSV_BINARY="+bin, "GOSV_FLAT_COLLECTS=1")
	msg, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", msg)
	t.Logf("%s", msg)
}
