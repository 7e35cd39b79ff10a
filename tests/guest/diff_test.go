// Package guest holds small programs, each of which shows one behaviour of Linux and prints what it saw in lines that
// are the same on every Linux. The test builds them all, runs each natively and in the sandbox, and compares.
//
// A C program may say in comments at its top how it wants to be built:
//
//	// build: -static          more arguments of the compiler
//	// cc: musl-gcc            another compiler
//
// C programs are in programs (the go tool wants no C beside Go), Go programs in goprogs, one file each.
package guest

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gosv.dev/tests/harness"
)

var uid = flag.Int("uid", os.Getuid(), "the user that runs the programs")

func TestMain(m *testing.M) { harness.Main(m) }

var (
	buildLine = regexp.MustCompile(`(?m)^// build: (.*)$`)
	ccLine    = regexp.MustCompile(`(?m)^// cc: (.*)$`)
)

// A program is a source and where its executable goes: in a folder named by all that decides what it is.
type program struct {
	name, source, binary string
	argv                 []string // how to build it, without the output
}

// programs lists the sources.
func programs(t *testing.T) []program {
	header, err := os.ReadFile("programs/check.h")
	if err != nil {
		t.Fatal(err)
	}
	var all []program
	add := func(source string, argv ...string) {
		name := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if m := ccLine.FindSubmatch(text); m != nil {
			argv[0] = string(m[1])
		}
		argv = append(argv, source)
		if m := buildLine.FindSubmatch(text); m != nil {
			argv = append(argv, strings.Fields(string(m[1]))...)
		}
		sum := sha256.Sum256(append(fmt.Append(nil, argv, runtime.Version()), append(header, text...)...))
		all = append(all, program{name, source, fmt.Sprintf("%x/%s", sum[:8], name), argv})
	}
	c, _ := filepath.Glob("programs/*.c")
	for _, s := range c {
		add(s, "gcc", "-O1", "-Wall", "-Werror", "-pthread")
	}
	g, _ := filepath.Glob("goprogs/*.go")
	for _, s := range g {
		add(s, "go", "build")
	}
	if len(c) < 200 || len(g) == 0 {
		t.Fatalf("only %d C and %d Go programs found", len(c), len(g))
	}
	return all
}

// build makes the executable unless an earlier run left it.
func build(out string, p program) error {
	bin := filepath.Join(out, p.binary)
	if _, err := os.Stat(bin); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	argv := append([]string{}, p.argv[1:]...)
	if p.argv[0] == "go" {
		argv = append([]string{"build", "-o", temp}, argv[1:]...)
	} else {
		argv = append(argv, "-o", temp, "-lm")
	}
	cmd := exec.Command(p.argv[0], argv...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %v\n%s", p.source, err, bytes.TrimSpace(msg))
	}
	return os.Rename(temp, bin)
}

// buildAll builds what is missing, two at a time, and drops what no source makes any more.
func buildAll(t *testing.T, out string, all []program) {
	var wg sync.WaitGroup
	work := make(chan program)
	for range 2 {
		wg.Go(func() {
			for p := range work {
				if err := build(out, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	current := map[string]bool{}
	for _, p := range all {
		current[filepath.Dir(p.binary)] = true
		work <- p
	}
	close(work)
	wg.Wait()
	old, _ := os.ReadDir(out)
	for _, e := range old {
		if !current[e.Name()] {
			os.RemoveAll(filepath.Join(out, e.Name()))
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func TestPrograms(t *testing.T) {
	harness.Tool(t, "gcc")
	harness.Tool(t, "musl-gcc")
	all := programs(t)
	out := harness.Out(t, "guest")
	buildAll(t, out, all)
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			harness.SameAsNative(t, harness.Command{
				Args:    []string{filepath.Join(out, p.binary), "a", "b"},
				UID:     *uid,
				Timeout: 20 * time.Second,
			}, nil)
		})
	}
}
