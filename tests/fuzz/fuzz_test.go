// Package fuzz runs programs in the sandbox that make random calls with random arguments. Whatever they do, the sentry
// has to survive it, to end when its command ends, and to leave no process behind on the host. They never run natively.
package fuzz

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) {
	// What a sandbox leaves behind becomes a child of this process, where children finds it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	harness.Main(m)
}

// children yields the processes that are children of this one, dead ones reaped.
func children(t *testing.T) []string {
	for {
		var ws unix.WaitStatus
		if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); pid <= 0 || err != nil {
			break
		}
	}
	var all []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatal("the kernel lists no children")
	}
	for _, f := range tasks {
		text, _ := os.ReadFile(f)
		for _, pid := range strings.Fields(string(text)) {
			cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			all = append(all, pid+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return all
}

// survives runs a command in the sandbox and asks that it did its work, as a text in its output shows, that a line after
// it is printed, and that nothing is left behind.
func survives(t *testing.T, platform, command, evidence string, limit time.Duration) {
	t.Helper()
	c := harness.Command{
		Args:     []string{"/bin/sh", "-c", command + " >>log 2>&1; grep -aqF '" + evidence + "' log && echo worked || tail -c 2000 log; echo survived"},
		Dir:      harness.Dir(t, 0),
		Platform: platform,
		Timeout:  limit + 30*time.Second,
		Flags:    []string{"--memory=2G"},
	}
	r := c.Run(t)
	if r.TimedOut || r.Status != 0 || r.Stdout != "worked\nsurvived\n" {
		t.Errorf("%s on %s did not do its work or did not survive: %s%s", command, platform, tail(r.String()), tail(r.Stderr))
	}
	var left []string
	for range 100 {
		if left = children(t); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range left {
		t.Errorf("left behind on the host: %s", p)
		var pid int
		if fmt.Sscan(p, &pid); pid > 0 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func tail(s string) string {
	const most = 6000
	if len(s) > most {
		s = "(cut) ..." + s[len(s)-most:]
	}
	return s
}

func platforms(t *testing.T) []string {
	if harness.Native() {
		t.Skip("random calls are not for the host")
	}
	return harness.Platforms()
}

// TestRandomCalls runs our own program with seeds that are the same each time in the short form, and new ones in the long.
func TestRandomCalls(t *testing.T) {
	bin := filepath.Join(harness.Out(t, "fuzz"), "random_calls")
	if msg, err := exec.Command(harness.Tool(t, "gcc"), "-O1", "-Wall", "-Wno-unused-result", "programs/random_calls.c", "-o", bin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	seeds, seconds := []int64{1, 2}, 4
	if harness.Long() {
		seeds, seconds = []int64{time.Now().Unix()}, 60
	}
	for _, p := range platforms(t) {
		for _, seed := range seeds {
			t.Logf("seed %d on %s", seed, p)
			survives(t, p, fmt.Sprintf("%s %d %d 4", bin, seed, seconds), "done, children started yes", time.Duration(seconds)*time.Second)
		}
	}
}

// TestBadAddresses lets stress-ng make calls with addresses and values that are wrong.
func TestBadAddresses(t *testing.T) {
	tool := harness.Tool(t, "stress-ng")
	seconds := 3
	if harness.Long() {
		seconds = 30
	}
	for _, p := range platforms(t) {
		for _, name := range []string{"sysbadaddr", "sysinval"} {
			survives(t, p, fmt.Sprintf("%s --pathological --%s 2 -t %d", tool, name, seconds), "run completed", time.Duration(seconds)*time.Second)
		}
	}
}

// TestTrinity lets the fuzzer that found many bugs of Linux try its hand. Its end says little, the sandbox's much.
// It asks for perf events until it gets them, so it is told not to; and it dies of sockets on every kernel: it takes one
// of 46 protocols out of a table of 45 (net_protocols), and follows what it finds behind it, address 0x21.
func TestTrinity(t *testing.T) {
	tool := harness.Tool(t, "trinity")
	harness.Tool(t, "setpriv")
	seconds := 5
	if harness.Long() {
		seconds = 60
	}
	for _, p := range platforms(t) {
		survives(t, p, fmt.Sprintf("chmod 777 .; setpriv --reuid=65534 --regid=65534 --clear-groups timeout -s KILL %d %s -q -C 4 --disable-fds=perf --disable-fds=sockets -x ptrace -x reboot", seconds, tool), "[child", time.Duration(seconds)*time.Second)
	}
}

// TestTruncatedPrograms executes an ELF file cut at many places and with bytes changed, dynamic and static.
func TestTruncatedPrograms(t *testing.T) {
	script := `
import os, random, resource, signal, subprocess, sys
r = random.Random(int(sys.argv[1]))
data = open(sys.argv[2], "rb").read()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for i in range(int(sys.argv[3])):
    b = bytearray(data)
    if i % 3 == 0:
        b = b[:r.choice([0, 1, 4, 16, 63, 64, 65, 120, r.randrange(1024), r.randrange(len(b))])]
    else:
        for _ in range(r.randrange(1, 6)):
            b[r.randrange(min(len(b), 1024 if i % 3 == 1 else 64))] = r.choice([0, 1, 0x7f, 0x80, 0xff, r.randrange(256)])
    with open("p", "wb") as f:
        f.write(b)
    os.chmod("p", 0o755)
    try:
        p = subprocess.Popen(["./p"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError:
        continue
    try:
        p.wait(2)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
print("mangled all")
`
	harness.Tool(t, "/usr/bin/python3")
	program := filepath.Join(harness.Out(t, "fuzz"), "mangle.py")
	if err := os.WriteFile(program, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	rounds := 60
	if harness.Long() {
		rounds = 2000
	}
	for _, p := range platforms(t) {
		for _, victim := range []string{"/bin/true", harness.Tool(t, "busybox")} {
			survives(t, p, fmt.Sprintf("/usr/bin/python3 %s 1 %s %d", program, victim, rounds), "mangled all", time.Duration(rounds)*time.Second)
		}
	}
}
