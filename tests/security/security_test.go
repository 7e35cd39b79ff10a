// Package security tries to break out of the sandbox, and looks at its walls from the outside, as root and as an ordinary
// user.
package security

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// guest compiles a program of testdata.
func guest(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(harness.Out(t, "security"), name)
	cmd := exec.Command(harness.Tool(t, "gcc"), "-O1", "-w", "-pthread", "-o", out, filepath.Join("testdata", name+".c"))
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	return out
}

// platform is where the test that runs has its sandboxes.
var platform string

// users runs a test on each platform as root and as an ordinary user.
func users(t *testing.T, f func(t *testing.T, uid int)) {
	for _, p := range harness.Platforms() {
		t.Run(p, func(t *testing.T) {
			platform = p
			harness.Users(t, f)
		})
	}
}

// do runs a command in the sandbox.
func do(t *testing.T, uid int, flags []string, args ...string) harness.Result {
	t.Helper()
	return harness.Command{Args: args, Dir: "/", UID: uid, Platform: platform, Flags: flags, Timeout: 60 * time.Second}.Run(t)
}

// start starts a sandbox and waits for its first line.
func start(t *testing.T, uid int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(harness.Gosv(t), append([]string{"do", "--platform=" + platform}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var b [1]byte
	_, err = out.Read(b[:])
	require.NoError(t, err)
	return cmd
}

// children are the processes below pid on the host.
func children(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(b)) {
			var child int
			fmt.Sscan(w, &child)
			all = append(append(all, child), children(child)...)
		}
	}
	return all
}

// TestConfinement looks at every thread of the sentry and of its stubs from the host.
func TestConfinement(t *testing.T) {
	users(t, func(t *testing.T, uid int) {
		vol := harness.Dir(t, uid)
		cmd := start(t, uid, "--volume", vol+":/mnt", "--", "sh", "-c", "sleep 100 & sleep 100 & echo; wait")
		all := children(cmd.Process.Pid)
		processes, least := 4, 9 // the sentry, the template and three stubs
		if platform == "flat" {
			processes, least = 2, 4 // the programs are in the sentry's process
		}
		require.GreaterOrEqual(t, len(all), processes)
		threads := 0
		for _, pid := range all {
			tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
			require.NoError(t, err)
			for _, f := range tasks {
				b, err := os.ReadFile(f)
				require.NoError(t, err)
				threads++
				s := map[string]string{}
				for _, line := range strings.Split(string(b), "\n") {
					k, v, _ := strings.Cut(line, ":")
					s[k] = strings.TrimSpace(v)
				}
				for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
					require.Equal(t, "0000000000000000", s[set], "%s of %s", set, f)
				}
				require.Equal(t, "1", s["NoNewPrivs"], f)
				require.Equal(t, "2", s["Seccomp"], f)
			}
			for _, ns := range []string{"user", "mnt", "pid", "net", "ipc", "uts"} {
				theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
				require.NoError(t, err)
				ours, err := os.Readlink("/proc/self/ns/" + ns)
				require.NoError(t, err)
				require.NotEqual(t, ours, theirs, ns)
			}
			// The root is empty and cannot be written to.
			root := fmt.Sprintf("/proc/%d/root/", pid)
			entries, err := os.ReadDir(root)
			require.NoError(t, err)
			require.Empty(t, entries)
			require.Error(t, os.WriteFile(root+"x", nil, 0o600))
			// There is no network device but a loopback that is down.
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
			require.NoError(t, err)
			require.Equal(t, 3, bytes.Count(b, []byte("\n")), string(b))
			b, err = os.ReadFile(fmt.Sprintf("/proc/%d/net/route", pid))
			require.NoError(t, err)
			require.LessOrEqual(t, bytes.Count(b, []byte("\n")), 1, "routes: %s", b)
			// No descriptor is a directory of the host's but the trees, which are not writable, but for the volume.
			fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			require.NoError(t, err)
			if pid != all[0] {
				require.Len(t, fds, 2, "a stub has the flat memory and the page of operations")
			}
			// The environment of the caller stays outside.
			b, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			require.NoError(t, err)
			require.NotContains(t, string(b), "PATH=")
		}
		require.GreaterOrEqual(t, threads, least)
		// The trees: nosuid, nodev, and the root read-only, even for us.
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", all[0]))
		require.NoError(t, err)
		trees := 0
		for _, fd := range fds {
			name := fmt.Sprintf("/proc/%d/fd/%s", all[0], fd.Name())
			to, _ := os.Readlink(name)
			if to != "/tree0" && to != "/tree1" {
				continue
			}
			trees++
			var s unix.Statfs_t
			require.NoError(t, unix.Statfs(name, &s))
			require.NotZero(t, s.Flags&unix.ST_NOSUID, to)
			require.NotZero(t, s.Flags&unix.ST_NODEV, to)
			if to == "/tree0" {
				require.NotZero(t, s.Flags&unix.ST_RDONLY)
				require.ErrorIs(t, os.WriteFile(name+"/gosv-security", nil, 0o600), unix.EROFS)
				for _, hidden := range []string{"proc", "sys", "dev"} {
					entries, err := os.ReadDir(name + "/" + hidden)
					require.NoError(t, err)
					require.Empty(t, entries, hidden)
				}
			}
		}
		require.GreaterOrEqual(t, trees, 2)
	})
}

// TestBreakOut runs a program that tries what it can; each line of its output is an attempt that succeeded.
func TestBreakOut(t *testing.T) {
	attack := guest(t, "attack")
	// What it looks for on the host.
	abstract, err := net.Listen("unix", fmt.Sprintf("@gosv-security-%d", os.Getpid()))
	require.NoError(t, err)
	defer abstract.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	users(t, func(t *testing.T, uid int) {
		dir := harness.Dir(t, uid)
		rw, ro, outside := filepath.Join(dir, "rw"), filepath.Join(dir, "ro"), filepath.Join(dir, "outside")
		for _, d := range []string{rw, ro, outside} {
			require.NoError(t, os.Mkdir(d, 0o777))
			require.NoError(t, os.Chmod(d, 0o777))
			require.NoError(t, os.WriteFile(filepath.Join(d, "secret"), []byte("of "+filepath.Base(d)), 0o666))
			require.NoError(t, os.Chmod(filepath.Join(d, "secret"), 0o666))
		}
		// Links that the host left in the volume lead where they say inside the guest, not on the host.
		require.NoError(t, os.Symlink("../outside/secret", filepath.Join(rw, "up")))
		require.NoError(t, os.Symlink("/proc/self/root", filepath.Join(rw, "root")))
		sock := filepath.Join(rw, "sock")
		l, err := net.Listen("unix", sock)
		require.NoError(t, err)
		defer l.Close()
		require.NoError(t, os.Chmod(sock, 0o777))
		victim := exec.Command("sleep", "1000")
		victim.SysProcAttr = &syscall.SysProcAttr{}
		if uid != os.Getuid() {
			victim.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		}
		require.NoError(t, victim.Start())
		defer victim.Wait()
		defer victim.Process.Kill()
		for _, user := range []string{"0:0", fmt.Sprint(uid, ":", uid)} {
			r := do(t, uid, []string{"--user", user, "--volume", rw + ":/rw", "--volume", ro + ":/ro:ro"},
				attack, fmt.Sprint(os.Getpid()), fmt.Sprint(victim.Process.Pid), fmt.Sprint(tcp.Addr().(*net.TCPAddr).Port))
			require.Equal(t, "done\n", r.Stdout, "attempts that succeeded\n%s", r.Stderr)
			require.Zero(t, r.Status, r.Stderr)
			require.NoError(t, victim.Process.Signal(syscall.Signal(0)))
			require.Equal(t, "of ro", read(t, filepath.Join(ro, "secret")))
			require.Equal(t, "of outside", read(t, filepath.Join(outside, "secret")))
			ours := map[string]bool{"rw": true, "secret": true, "up": true, "root": true, "sock": true}
			// Nothing in the volume is a device, or belongs to somebody else.
			filepath.Walk(rw, func(p string, fi os.FileInfo, err error) error {
				require.NoError(t, err)
				require.Zero(t, fi.Mode()&os.ModeDevice, p)
				if !ours[filepath.Base(p)] {
					require.EqualValues(t, uid, fi.Sys().(*syscall.Stat_t).Uid, p)
				}
				return nil
			})
		}
	})
}

func read(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// TestStubCalls: no way of entering the kernel makes a host call from a stub.
func TestStubCalls(t *testing.T) {
	prog := guest(t, "hostcall")
	users(t, func(t *testing.T, uid int) {
		ways := []string{"auto"}
		if platform == "flat" {
			ways = append(ways, "seccomp") // not the first choice where there is another
		}
		for _, way := range ways {
			for _, how := range []string{"syscall", "int80", "sysenter", "vsyscall", "stubone", "stubbatch", "stubclone", "stubpark", "far"} {
				r := do(t, uid, []string{"--memory", "64M", "--interception", way}, prog, how)
				require.NotContains(t, r.Stdout, "host", "%s, %s: it reached the host\n%s", how, way, r.Stderr)
				require.NotEqual(t, 125, r.Status, "%s, %s: %s", how, way, r.Stderr)
				require.False(t, r.TimedOut, how)
			}
		}
	})
}

// TestLinkRace swaps a directory of a volume with a symbolic link to a directory outside, as fast as it can,
// while the guest opens, makes and removes files below it.
func TestLinkRace(t *testing.T) {
	prog := guest(t, "race")
	users(t, func(t *testing.T, uid int) {
		dir := harness.Dir(t, uid)
		vol, outside := filepath.Join(dir, "vol"), filepath.Join(dir, "outside")
		for _, d := range []string{vol, outside, filepath.Join(vol, "d")} {
			require.NoError(t, os.Mkdir(d, 0o777))
			require.NoError(t, os.Chmod(d, 0o777))
		}
		for d, s := range map[string]string{outside: "outside", filepath.Join(vol, "d"): "inside"} {
			require.NoError(t, os.WriteFile(filepath.Join(d, "f"), []byte(s), 0o666))
			require.NoError(t, os.Chmod(filepath.Join(d, "f"), 0o666))
		}
		link := filepath.Join(vol, "l")
		// Followed on the host it leads outside; in the guest, to a name that is not there.
		require.NoError(t, os.Symlink("../outside", link))
		var stop atomic.Bool
		done := make(chan int)
		go func() {
			n := 0
			for ; !stop.Load(); n++ {
				unix.Renameat2(unix.AT_FDCWD, filepath.Join(vol, "d"), unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
			done <- n
		}()
		r := do(t, uid, []string{"--volume", vol + ":/v"}, prog, "/v/d")
		stop.Store(true)
		swaps := <-done
		require.Contains(t, r.Stdout, "never outside", r.Stderr)
		require.Zero(t, r.Status, r.Stdout)
		t.Logf("%d swaps; %s", swaps, r.Stdout)
		require.Equal(t, "outside", read(t, filepath.Join(outside, "f")))
		entries, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	})
}

// TestMountsOfTheHost: what is mounted in the host's root is seen, but for the kernel's own file systems.
func TestMountsOfTheHost(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := harness.Dir(t, 0)
	for _, d := range []string{"data", "chroot/proc", "bound dir"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	mount := func(source, at, fstype string, flags uintptr) {
		require.NoError(t, unix.Mount(source, filepath.Join(dir, at), fstype, flags, ""))
		t.Cleanup(func() { unix.Unmount(filepath.Join(dir, at), unix.MNT_DETACH) })
	}
	mount("x", "data", "tmpfs", 0)
	mount("x", "chroot/proc", "proc", 0)
	mount("/etc", "bound dir", "", unix.MS_BIND)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data/f"), []byte("mounted"), 0o644))
	users(t, func(t *testing.T, uid int) {
		r := do(t, uid, nil, "sh", "-c", fmt.Sprintf(`cat "%[1]s/data/f"; cmp "%[1]s/bound dir/passwd" /etc/passwd && echo same; ls "%[1]s/chroot/proc" | wc -l; ls -d /var/run/. /var/run`, dir))
		require.Equal(t, "mountedsame\n0\n/var/run\n/var/run/.\n", r.Stdout, r.Stderr)
	})
}

// TestHoard: what a guest makes the kernel keep counts for the sandbox's memory, so that the sentry does not grow beyond it,
// and the sandbox goes on when the guest has come to an end.
func TestHoard(t *testing.T) {
	const limit, spare = 256 << 20, 150 << 20
	prog := guest(t, "hoard")
	for _, platform := range harness.Platforms() {
		for _, kind := range []string{"sockets", "pipes", "msgs", "mqueues", "files", "epolls", "inodes", "xattrs", "memfds"} {
			t.Run(platform+"/"+kind, func(t *testing.T) {
				cmd := exec.Command(harness.Gosv(t), "do", "--platform="+platform, "--memory=256M", "--",
					"sh", "-c", prog+" "+kind+"; ls / >/dev/null && echo answers")
				cmd.Dir = "/"
				in, err := cmd.StdinPipe()
				require.NoError(t, err)
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				require.NoError(t, cmd.Start())
				kill := time.AfterFunc(90*time.Second, func() { cmd.Process.Kill() })
				defer func() { kill.Stop(); cmd.Process.Kill(); cmd.Wait() }()
				lines := bufio.NewScanner(out)
				for lines.Scan() && lines.Text() != "ready" {
					t.Log(lines.Text())
				}
				require.Equal(t, "ready", lines.Text(), errs.String())
				pids := children(cmd.Process.Pid)
				require.NotEmpty(t, pids)
				require.Less(t, peak(t, pids[0]), int64(limit+spare))
				in.Write([]byte("\n"))
				require.True(t, lines.Scan(), errs.String())
				require.Equal(t, "answers", lines.Text(), errs.String())
			})
		}
	}
}

// peak is the most memory that a process had.
func peak(t *testing.T, pid int) (n int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscan(v, &n)
		}
	}
	require.NotZero(t, n)
	return n << 10
}
