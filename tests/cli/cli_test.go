// Package cli tests the command line: what `gosv do` says and with which status it ends, what a program inherits from
// the caller, signals, and terminals.
package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// platform is where the test that runs has its sandboxes.
var platform string

// platforms runs a test once for each.
func platforms(t *testing.T, f func(t *testing.T)) {
	for _, p := range harness.Platforms() {
		t.Run(p, func(t *testing.T) {
			platform = p
			f(t)
		})
	}
}

// users runs a test on each platform as root and as an ordinary user.
func users(t *testing.T, f func(t *testing.T, uid int)) {
	platforms(t, func(t *testing.T) { harness.Users(t, f) })
}

// run runs a shell command line on the host in which $GOSV is the binary, told which platform to use.
func run(t *testing.T, uid int, script string) harness.Result {
	t.Helper()
	return harness.Command{
		Args: []string{"/bin/bash", "-c", script}, Dir: harness.Dir(t, uid), UID: uid, Timeout: 60 * time.Second,
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "GOSV=" + harness.GosvOn(t, platform), "LC_ALL=C", "HOME=/"},
	}.Run(t)
}

// TestStatus: every failure has a line that says what and what to do, and a status as a shell's.
func TestStatus(t *testing.T) {
	dir := harness.Dir(t, 0)
	file := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(content), mode))
		return p
	}
	self, err := os.ReadFile("/bin/true")
	require.NoError(t, err)
	arm := append([]byte(nil), self...)
	arm[18] = 183 // EM_AARCH64
	script := file("script", "#!/no/such/interpreter -x\n", 0o755)
	plain := file("plain", "hello\n", 0o755)
	noexec := file("noexec", "#!/bin/sh\n", 0o644)
	foreign := file("foreign", string(arm), 0o755)
	empty := file("empty", "", 0o755)
	cut := file("cut", string(self[:100]), 0o755)
	loader := file("loader", strings.Replace(string(self), "/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.9", 1), 0o755)
	tests := []struct {
		args   string
		status int
		stderr string
	}{
		{"do true", 0, ""},
		{"do false", 1, ""},
		{"do sh -c 'exit 77'", 77, ""},
		{"do sh -c 'kill -9 $$'", 137, ""},
		{"do sh -c 'kill -SEGV $$'", 139, ""},
		{"do no-such-command", 127, "gosv: do: no-such-command: command not found\n"},
		{"do ''", 127, "gosv: do: the command's name is empty\n"},
		{"do /no/such", 127, "gosv: do: /no/such: no such file\n"},
		{"do /etc/passwd/x", 127, "gosv: do: /etc/passwd/x: not a directory\n"},
		{"do /etc", 126, "gosv: do: /etc: is a directory\n"},
		{"do " + noexec, 126, "gosv: do: " + noexec + ": permission denied; is it executable (chmod +x), and may you read the directories above it?\n"},
		{"do " + script, 126, "gosv: do: " + script + ": its interpreter /no/such/interpreter does not exist; mend the first line of the script\n"},
		{"do " + loader, 126, "gosv: do: " + loader + ": its interpreter /lib64/ld-linux-x86-64.so.9 does not exist; install the C library that the program was built for\n"},
		{"do " + plain, 126, "gosv: do: " + plain + ": not a program for Linux on x86-64, and no script that begins with #!\n"},
		{"do " + empty, 126, "gosv: do: " + empty + ": the file is empty\n"},
		{"do " + foreign, 126, "gosv: do: " + foreign + ": a program for 64-bit ARM (aarch64); gosv runs programs for 64-bit x86 only\n"},
		{"do " + cut, 126, "gosv: do: " + cut + ": "},
		{"do", 125, "gosv: do: no command: write for example `gosv do ls /`, or see `gosv do --help`\n"},
		{"undo", 125, "gosv: there is no command \"undo\"; see `gosv --help`\n"},
		{"do --no-such-flag true", 125, "gosv: do: flag provided but not defined: -no-such-flag; see `gosv do --help`\n"},
		{"do --memory 1M true", 125, "gosv: do: --memory: 1M is too little for a sandbox; give at least 16M\n"},
		{"do --memory 99999999999T true", 125, "gosv: do: --memory: 99999999999T is too much; give at most 4T\n"},
		{"do --memory lots true", 125, "gosv: do: --memory: \"lots\" is no size; write for example 512M or 2G\n"},
		{"do --memory -5M true", 125, "gosv: do: --memory: \"-5M\" is no size; write for example 512M or 2G\n"},
		{"do --cpus 5000 true", 125, "gosv: do: --cpus: 5000 is out of range; choose 1 to 1024, or 0 for as many as the host has\n"},
		{"do --cpus x true", 125, "gosv: do: invalid value \"x\" for flag -cpus: "},
		{"do --platform kvm9 true", 125, "gosv: do: --platform: there is no platform \"kvm9\"; choose auto, ptrace or flat\n"},
		{"do --platform ptrace --no-rewrite true", 125, "gosv: do: --no-rewrite: only the platform flat rewrites programs; give --platform=flat too, or leave it out\n"},
		{"do --platform flat --interception hope true", 125, "gosv: do: --interception: there is no way of interception \"hope\"; choose auto, dispatch or seccomp\n"},
		{"do --platform ptrace --interception seccomp true", 125, "gosv: do: --interception: only the platform flat has a choice; give --platform=flat too, or leave it out\n"},
		{"do --cwd rel true", 125, "gosv: do: --cwd: \"rel\" is not absolute; give the path from the root of the sandbox\n"},
		{"do --cwd /no/dir true", 125, "gosv: do: working directory /no/dir: no such file or directory\n"},
		{"do --volume /x true", 125, "gosv: do: --volume: \"/x\" is not HOST:GUEST or HOST:GUEST:ro\n"},
		{"do --volume /no/dir:/x true", 125, "gosv: do: --volume: /no/dir does not exist on the host; make the directory first\n"},
		{"do --volume /etc/passwd:/x true", 125, "gosv: do: --volume: /etc/passwd is not a directory; share the directory that it is in\n"},
		{"do --volume /tmp:rel true", 125, "gosv: do: --volume: \"/tmp:rel\": the guest's directory must be absolute and not the root\n"},
		{"do --volume /proc:/x true", 125, "gosv: do: --volume: /proc shows the host's kernel and its processes, and is not shared; the sandbox has its own\n"},
		{"do --env =x true", 125, "gosv: do: --env: \"=x\" has no name; write NAME=VALUE\n"},
		{"do --user no-such-user true", 125, "gosv: do: --user: there is no user \"no-such-user\" in /etc/passwd; give a number\n"},
		{"do --log /no/dir/x true", 125, "gosv: do: --log: open /no/dir/x: no such file or directory\n"},
	}
	users(t, func(t *testing.T, uid int) {
		for _, tt := range tests {
			r := run(t, uid, "$GOSV "+tt.args)
			require.Equal(t, tt.status, r.Status, "%s\n%s", tt.args, r.Stderr)
			require.Empty(t, r.Stdout, tt.args)
			if strings.HasSuffix(tt.stderr, ": ") {
				require.True(t, strings.HasPrefix(r.Stderr, tt.stderr), "%s\n%s", tt.args, r.Stderr)
				require.Equal(t, 1, strings.Count(r.Stderr, "\n"), r.Stderr)
			} else {
				require.Equal(t, tt.stderr, r.Stderr, tt.args)
			}
		}
	})
}

// TestHelp: no line is wider than a terminal, and all flags are there.
func TestHelp(t *testing.T) {
	platform = "auto"
	r := run(t, os.Getuid(), "$GOSV do --help")
	require.Zero(t, r.Status)
	for _, line := range strings.Split(r.Stdout, "\n") {
		require.LessOrEqual(t, len(line), 100, line)
	}
	for _, f := range strings.Fields("env cwd user hostname memory cpus read-only volume platform no-rewrite strace strace-file log debug") {
		require.Contains(t, r.Stdout, "--"+f)
	}
	r = run(t, os.Getuid(), "$GOSV version; $GOSV --help")
	require.Zero(t, r.Status)
	require.Contains(t, r.Stdout, "kernel Linux 6.")
	require.Contains(t, r.Stdout, "COMMANDS")
}

// TestFlags: what each flag does, seen by the program.
func TestFlags(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"env", `X=caller Y=gone $GOSV do --env A=1,2 -e X -e NONE -e Y=new -- sh -c 'echo $A $X $Y ${NONE-unset}'`, "1,2 caller new unset\n"},
		{"cwd", `$GOSV do --cwd /usr/lib pwd; cd /usr && $GOSV do pwd`, "/usr/lib\n/usr\n"},
		{"hostname", `$GOSV do --hostname box -- sh -c 'hostname; uname -n'`, "box\nbox\n"},
		{"memory", `$GOSV do --memory 300M -- awk '/MemTotal/ {print $2}' /proc/meminfo`, "307200\n"},
		{"cpus", `$GOSV do --cpus 3 nproc`, "3\n"},
		{"arguments", `$GOSV do echo --env -x -- a; $GOSV do -- echo --env`, "--env -x -- a\n--env\n"},
		{"read-only", `$GOSV do --read-only -- sh -c 'touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo ok'`, "refused\nok\n"},
		{"scratch", `$GOSV do sh -c 'echo x > /tmp/gosv-cli-scratch && cat /tmp/gosv-cli-scratch'; ls /tmp/gosv-cli-scratch 2>/dev/null`, "x\n"},
		{"volume", `mkdir v; echo one > v/a; $GOSV do -v $PWD/v:/mnt/new/dir -- sh -c 'cat /mnt/new/dir/a; echo two > /mnt/new/dir/b'; cat v/b
			$GOSV do -v v:/mnt/new/dir:ro -- sh -c 'cat /mnt/new/dir/b; touch /mnt/new/dir/c 2>/dev/null || echo refused'; ls v`, "one\ntwo\ntwo\nrefused\na\nb\n"},
		{"umask", `umask 027; $GOSV do sh -c umask`, "0027\n"},
		{"nice", `nice -n 5 $GOSV do nice`, "5\n"},
		{"limits", `ulimit -Sn 500; ulimit -Sc 7; ulimit -St 1000; $GOSV do bash -c 'ulimit -Sn; ulimit -Sc; ulimit -St; ulimit -Ss'; ulimit -Ss`, "500\n7\n1000\n8192\n8192\n"},
		{"few files", `ulimit -n 64; $GOSV do bash -c 'ulimit -Sn; ulimit -Hn'`, "64\n64\n"},
		{"strace", `$GOSV do --strace true 2>&1 >/dev/null | grep -c 'execve\|exit_group' | sed 's/[1-9][0-9]*/some/'`, "some\n"},
		{"strace-file", `$GOSV do --strace-file s -- echo hi; grep -o 'write(1, "hi.n", 3)' s`, "hi\nwrite(1, \"hi\\n\", 3)\n"},
		{"no-rewrite", `$GOSV do --platform=flat --no-rewrite --debug --log l2 true; grep -o 'interception.*\|rewritten.*' l2`, "interception=\"Syscall User Dispatch\" rewriting=false\nrewritten=0\n"},
		{"interception", `$GOSV do --platform=flat --interception=seccomp --debug --log l3 true; grep -o 'interception.*' l3`, "interception=seccomp rewriting=true\n"},
		{"log", `$GOSV do --debug --log l true; grep -c msg=filter l`, "1\n"},
	}
	users(t, func(t *testing.T, uid int) {
		for _, tt := range tests {
			r := run(t, uid, tt.script)
			require.Equal(t, tt.want, r.Stdout, "%s\n%s", tt.name, r.Stderr)
		}
	})
	if os.Getuid() == 0 {
		r := run(t, 0, `$GOSV do --user nobody id -u; $GOSV do --user 1234:5678 sh -c 'id -u; id -g'; setpriv --reuid 1000 --regid 1001 --groups 1002,1003 $GOSV do id -G`)
		require.Equal(t, "65534\n1234\n5678\n1001 1002 1003\n", r.Stdout, r.Stderr)
	}
}

// TestStandardFiles: pipes, files, sockets, devices and closed descriptors.
func TestStandardFiles(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"much input", `seq 1 300000 | $GOSV do python3 -c 'import sys; print(sum(map(int, sys.stdin)))'`, "45000150000\n"},
		{"much output", `$GOSV do seq 1 300000 | cksum; seq 1 300000 | cksum`, ""},
		{"reader leaves", `$GOSV do sh -c 'yes; echo $? >&2' 2>e | head -1; cat e; $GOSV do yes | head -1; echo ${PIPESTATUS[0]}`, "y\n141\ny\n141\n"},
		{"program closes output", `($GOSV do sh -c 'exec >&- </dev/null; sleep 5' & echo $! > p) | cat; kill $(cat p) && echo before the end`, "before the end\n"},
		{"program closes input", `$GOSV do sh -c 'exec <&-; sleep 0.5; exit 3' < <(yes; echo "yes $?" >&2) 2>/dev/null; echo $?`, "3\n"},
		{"append", `echo a > f; $GOSV do sh -c 'echo b; echo c' >> f; echo d >> f; cat f`, "a\nb\nc\nd\n"},
		{"shared position", `$GOSV do sh -c 'echo out; echo err >&2; echo out' > f 2>&1; cat f; (read x; $GOSV do cat) < f; exec 3<f; $GOSV do head -c 4 <&3; cat <&3`, "out\nerr\nout\nerr\nout\nout\nerr\nout\n"},
		{"null", `$GOSV do sh -c 'cat; echo x' </dev/null >/dev/null && echo ok`, "ok\n"},
		{"zero", `$GOSV do head -c 100000 </dev/zero | wc -c`, "100000\n"},
		{"full", `$GOSV do sh -c 'echo x' >/dev/full 2>/dev/null || echo failed`, "failed\n"},
		{"socket", `python3 -c 'import os, socket, subprocess, sys
a, b = socket.socketpair()
p = subprocess.Popen([os.environ["GOSV"], "do", "tr", "a-z", "A-Z"], stdin=b, stdout=b)
b.close(); a.sendall(b"hello\n"); a.shutdown(socket.SHUT_WR); print(a.recv(100)); print(p.wait())'`, "b'HELLO\\n'\n0\n"},
		{"names", `$GOSV do readlink /proc/self/fd/0 </etc/passwd`, "/etc/passwd\n"},
	}
	users(t, func(t *testing.T, uid int) {
		for _, tt := range tests {
			r := run(t, uid, tt.script)
			if tt.name == "much output" {
				lines := strings.Split(r.Stdout, "\n")
				require.Equal(t, lines[0], lines[1])
				continue
			}
			require.Equal(t, tt.want, r.Stdout, "%s\n%s", tt.name, r.Stderr)
		}
	})
}

// TestMemory: whoever uses too much is killed, and the sandbox goes on.
func TestMemory(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		r := run(t, uid, `$GOSV do --memory 64M -- python3 -c 'l = []
while True: l.append(bytearray(1 << 20))'`)
		require.Equal(t, 137, r.Status, r.Stderr)
		// Many at once: the parent is told of each, and goes on.
		r = run(t, uid, `$GOSV do --memory 96M -- python3 -c 'import os
pids = []
for i in range(8):
    pid = os.fork()
    if pid == 0:
        l = []
        while True: l.append(bytearray(1 << 20))
    pids.append(pid)
print([os.waitpid(p, 0)[1] for p in pids])'`)
		require.Equal(t, "[9, 9, 9, 9, 9, 9, 9, 9]\n", r.Stdout, r.Stderr)
		// Files in memory count too, and do not kill.
		r = run(t, uid, `$GOSV do --memory 64M -- sh -c 'dd if=/dev/zero of=/dev/shm/f bs=1M count=500 2>/dev/null; echo $?; rm /dev/shm/f; echo on'`)
		require.Equal(t, "1\non\n", r.Stdout, r.Stderr)
	})
}

// background starts a command line of gosv do.
func background(t *testing.T, uid int, args ...string) (cmd *exec.Cmd, out, errOut *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command(harness.Gosv(t), append([]string{"do", "--platform=" + platform}, args...)...)
	cmd.Dir = harness.Dir(t, uid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	pr, pw := io.Pipe()
	cmd.Stdout, cmd.Stderr = pw, errOut
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	// The first line says that it runs.
	ready := make(chan bool)
	go func() {
		b := make([]byte, 4096)
		for first := true; ; first = false {
			n, err := pr.Read(b)
			out.Write(b[:n])
			if first {
				close(ready)
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not begin")
	}
	return cmd, out, errOut
}

// descendants are the processes below pid on the host.
func descendants(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(b)) {
			var child int
			fmt.Sscan(w, &child)
			all = append(append(all, child), descendants(child)...)
		}
	}
	return all
}

// gone waits until none of the processes is left.
func gone(t *testing.T, pids []int) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, p := range pids {
			if unix.Kill(p, 0) == nil {
				return false
			}
		}
		return true
	}, 10*time.Second, 20*time.Millisecond, "processes stay behind: %v", pids)
}

func status(cmd *exec.Cmd) int {
	cmd.Wait()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// TestSignals: what the command gets is the program's.
func TestSignals(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM} {
			cmd, _, _ := background(t, uid, "sh", "-c", "echo; exec sleep 100")
			pids := descendants(cmd.Process.Pid)
			require.NoError(t, cmd.Process.Signal(sig))
			require.Equal(t, 128+int(sig), status(cmd))
			gone(t, pids)

			cmd, _, _ = background(t, uid, "sh", "-c", fmt.Sprintf("trap 'exit 42' %d; echo; while :; do sleep 0.05; done", sig))
			require.NoError(t, cmd.Process.Signal(sig))
			require.Equal(t, 42, status(cmd))
		}
	})
}

// TestBlockedSignals: the sentry gets its signals, whatever the caller has blocked.
func TestBlockedSignals(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		r := run(t, uid, `env --block-signal timeout -s KILL 30 $GOSV do -- /bin/sh -c 'echo fine; exit 3'`)
		require.Equal(t, "fine\n", string(r.Stdout), "%s", r.Stderr)
		require.Equal(t, 3, r.Status)
	})
}

// TestKilled: when one of the processes of a sandbox is killed the others end, and what can say so says so.
func TestKilled(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		// The command.
		cmd, _, _ := background(t, uid, "sh", "-c", "sleep 100 & sleep 101 & echo; wait")
		pids := descendants(cmd.Process.Pid)
		least, loop := 4, "echo; while :; do :; done"
		if platform == "flat" { // one process for all programs but those that moved: a child that runs when its parent wants to
			least, loop = 2, "(while :; do :; done) & i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; echo; wait $!; exit $?"
		}
		require.GreaterOrEqual(t, len(pids), least)
		cmd.Process.Kill()
		require.Equal(t, 137, status(cmd))
		gone(t, pids)
		// The sentry.
		cmd, _, errOut := background(t, uid, "sh", "-c", "sleep 100 & echo; wait")
		pids = descendants(cmd.Process.Pid)
		unix.Kill(pids[0], unix.SIGKILL)
		require.Equal(t, 137, status(cmd))
		require.Equal(t, "gosv: do: the sandbox was ended by signal 9 (SIGKILL)\n", errOut.String())
		gone(t, pids)
		// All stubs, the program's among them.
		cmd, _, errOut = background(t, uid, "sh", "-c", loop)
		pids = descendants(cmd.Process.Pid)
		for _, p := range pids[1:] {
			unix.Kill(p, unix.SIGKILL)
		}
		require.Equal(t, 137, status(cmd), errOut)
		gone(t, pids)
	})
}

// TestIdle: a sandbox that waits uses no processor time, and little memory.
func TestIdle(t *testing.T) { platforms(t, testIdle) }

func testIdle(t *testing.T) {
	cmd, _, _ := background(t, os.Getuid(), "sh", "-c", "echo; sleep 100")
	time.Sleep(1500 * time.Millisecond) // start-up, and what runs once after it
	ticks := func() (n int) {
		for _, p := range append(descendants(cmd.Process.Pid), cmd.Process.Pid) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
			f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
			var u, s int
			fmt.Sscan(f[11], &u)
			fmt.Sscan(f[12], &s)
			n += u + s
		}
		return n
	}
	before := ticks()
	time.Sleep(2 * time.Second)
	require.LessOrEqual(t, ticks()-before, 1, "hundredths of a second in two seconds")
}
