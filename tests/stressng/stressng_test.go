// Package stressng runs stressors of stress-ng with --verify in the sandbox: none may fail, crash or hang.
package stressng

import (
	"os"
	"strings"
	"testing"
	"time"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// A stressor is a line of stressors.txt.
type stressor struct {
	class, name string
	short       bool
	args        []string
}

func list(t *testing.T) []stressor {
	text, err := os.ReadFile("stressors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []stressor
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		s := stressor{class: f[0], name: f[1], args: f[2:]}
		if len(s.args) > 0 && s.args[0] == "*" {
			s.short, s.args = true, s.args[1:]
		}
		all = append(all, s)
	}
	return all
}

// TestStressors runs each for two seconds in the long form, and a part of them for half a second in the short one (as
// stress-ng counts whole seconds, by a limit of operations and a time-out of one second).
func TestStressors(t *testing.T) {
	tool := harness.Tool(t, "stress-ng")
	seconds := "1"
	if harness.Long() {
		seconds = "2"
	}
	for _, s := range list(t) {
		if !s.short && !harness.Long() {
			continue
		}
		t.Run(s.class+"/"+s.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{tool, "--" + s.name, "2", "--verify", "-t", seconds, "--temp-path", ".", "--no-rand-seed"}, s.args...)
			if !harness.Long() {
				args = append(args, "--"+s.name+"-ops", "2000")
			}
			c := harness.Command{Args: args, Timeout: 60 * time.Second}
			run := func(platform string) harness.Result {
				c.Platform, c.Dir = platform, harness.Dir(t, 0)
				return c.Run(t)
			}
			if harness.Native() {
				if r := run(""); r.Status != 0 {
					t.Errorf("natively: %s%s", r, r.Stderr)
				}
				return
			}
			for _, p := range harness.Platforms() {
				got := run(p)
				if got.Status == 0 && !got.TimedOut {
					continue
				}
				// What this machine cannot do natively says nothing about the sandbox.
				if want := run(""); want.Status != 0 {
					t.Logf("fails natively, too: %s%s", want, want.Stderr)
					continue
				}
				t.Errorf("on %s: %s%s", p, got, got.Stderr)
			}
		})
	}
}
