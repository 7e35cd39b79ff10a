// Package gostd runs the Go standard library's own tests of what is close to the kernel: what passes natively has to
// pass in the sandbox.
package gostd

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gosv.dev/tests/harness"
)

var packages = flag.String("packages", "os os/exec os/signal syscall io/fs path/filepath time sync bufio", "packages to test")

func TestMain(m *testing.M) { harness.Main(m) }

// inet is what needs IP networks or a tun device, which the sandbox does not have yet; it is left out of both runs.
const inet = "^TestLargeCopyViaNetwork$|^TestGetPollFDAndNetwork$/tcp|^TestSendFile$/tcp|^TestSpliceFile$/TCP|^TestSpliceFile$/^Limited$/TCP|^TestExtraFilesRace$|^TestUnshare$|^TestNonPollable$"

// outcome is a line such as "    --- PASS: TestX/sub (0.01s)".
var outcome = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

// outcomes yields what became of each test.
func outcomes(text string) map[string]string {
	all := map[string]string{}
	for _, m := range outcome.FindAllStringSubmatch(text, -1) {
		all[m[2]] = m[1]
	}
	return all
}

func TestStandardLibrary(t *testing.T) {
	goTool := harness.Tool(t, "go")
	root, err := exec.Command(goTool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goroot := strings.TrimSpace(string(root))
	cache, err := exec.Command(goTool, "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := harness.Out(t, "gostd")
	for _, pkg := range strings.Fields(*packages) {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			bin := filepath.Join(out, fmt.Sprintf("%s-%s.test", strings.ReplaceAll(pkg, "/", "-"), runtime.Version()))
			if _, err := os.Stat(bin); err != nil {
				build := exec.Command(goTool, "test", "-c", "-o", bin, pkg)
				build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
				build.Dir = os.TempDir()
				if msg, err := build.CombinedOutput(); err != nil {
					t.Fatalf("go test -c %s: %v\n%s", pkg, err, msg)
				}
			}
			timeout := 4 * time.Minute
			args := []string{bin, "-test.v", "-test.timeout=200s", "-test.count=1", "-test.skip=" + inet}
			if !harness.Long() {
				args = append(args, "-test.short")
			}
			temp := harness.Dir(t, 0)
			c := harness.Command{
				Args: args, Dir: filepath.Join(goroot, "src", pkg), Timeout: timeout,
				Env: []string{"PATH=" + filepath.Join(goroot, "bin") + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + temp, "TMPDIR=" + temp, "GOROOT=" + goroot,
					"GOCACHE=" + strings.TrimSpace(string(cache)), "GOTOOLCHAIN=local", "CGO_ENABLED=0", "USER=root", "LANG=C.UTF-8"},
			}
			want := c.Run(t)
			native := outcomes(want.Stdout)
			if len(native) == 0 {
				t.Fatalf("natively no test ran\n%s%s", want, want.Stderr)
			}
			names := harness.Platforms()
			if harness.Native() {
				names = []string{""}
			}
			for _, p := range names {
				c.Platform = p
				got := c.Run(t)
				here := outcomes(got.Stdout)
				var bad []string
				passed := 0
				for name, r := range native {
					switch {
					case r != "PASS":
					case here[name] == "PASS":
						passed++
					case here[name] == "":
						bad = append(bad, name+": did not run to its end")
					default:
						bad = append(bad, name+": "+here[name])
					}
				}
				slices.Sort(bad)
				t.Logf("%s: %d tests pass natively (%v), %d of them on %q (%v)", pkg, count(native, "PASS"), want.Took.Round(time.Millisecond), passed, p, got.Took.Round(time.Millisecond))
				if len(bad) > 0 {
					t.Errorf("%d tests that pass natively do not on %q:\n%s\n\noutput:\n%s", len(bad), p, strings.Join(bad, "\n"), failures(got))
				}
			}
		})
	}
}

func count(m map[string]string, want string) (n int) {
	for _, r := range m {
		if r == want {
			n++
		}
	}
	return
}

// failures is the output around what failed: the lines of tests that passed are left out.
func failures(r harness.Result) string {
	var b strings.Builder
	for line := range strings.Lines(r.Stdout + r.Stderr) {
		s := strings.TrimSpace(line)
		if strings.HasPrefix(s, "=== ") || strings.HasPrefix(s, "--- PASS") || strings.HasPrefix(s, "--- SKIP") {
			continue
		}
		if b.Len() > 12000 {
			b.WriteString("... (cut)\n")
			break
		}
		b.WriteString(line)
	}
	if r.TimedOut {
		b.WriteString("(timed out)\n")
	}
	return b.String()
}
