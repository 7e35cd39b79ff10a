package sandbox

import (
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/sentry/bpf"
)

// compile assembles rules for the interpreter that guests' filters run on.
func compile(t *testing.T, rules []Rule) *bpf.Program {
	t.Helper()
	return compileIn(t, rules, Text{})
}

func compileIn(t *testing.T, rules []Rule, text Text) *bpf.Program {
	t.Helper()
	prog, err := assemble(rules, text, false)
	require.NoError(t, err)
	var code []bpf.Instr
	for _, f := range prog {
		code = append(code, bpf.Instr{Code: f.Code, JT: f.Jt, JF: f.Jf, K: f.K})
	}
	p, err := bpf.Compile(code)
	require.NoError(t, err)
	return p
}

// allowed is what the rules mean.
func allowed(rules []Rule, nr int32, args *[6]uint64) bool {
next:
	for _, r := range rules {
		if int32(r.Nr) != nr {
			continue
		}
		for _, c := range r.Args {
			mask := c.Mask
			if mask == 0 {
				mask = ^uint64(0)
			}
			if (args[c.Arg]&mask == c.Value) == c.Not {
				continue next
			}
		}
		return true
	}
	return false
}

// TestAssemble compares random filters with what their rules mean.
func TestAssemble(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	values := []uint64{0, 1, 3, 0x80000000, 0xffffffff, 0x100000000, 0x100000001, ^uint64(0), uint64(1) << 63}
	pick := func() uint64 { return values[rnd.Intn(len(values))] }
	for range 300 {
		var rules []Rule
		for range 1 + rnd.Intn(60) {
			r := Rule{Nr: uintptr(rnd.Intn(450))}
			for range rnd.Intn(4) {
				c := Cond{Arg: rnd.Intn(6), Mask: pick()}
				if c.Mask == 0 {
					c.Value = pick()
				} else {
					c.Value = pick() & c.Mask
					c.Not = (uint32(c.Mask) == 0 || c.Mask>>32 == 0) && rnd.Intn(2) == 0
				}
				r.Args = append(r.Args, c)
			}
			rules = append(rules, r)
		}
		p := compile(t, rules)
		for range 500 {
			nr := int32(rnd.Intn(460))
			if rnd.Intn(2) == 0 {
				nr = int32(rules[rnd.Intn(len(rules))].Nr)
			}
			args := [6]uint64{pick(), pick(), pick(), pick(), pick(), pick()}
			d := bpf.NewData(nr, unix.AUDIT_ARCH_X86_64, 0, &args)
			got := p.Run(&d)
			want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
			if allowed(rules, nr, &args) {
				want = unix.SECCOMP_RET_ALLOW
			}
			require.Equal(t, want, got, "call %d %x", nr, args)
		}
		var args [6]uint64
		for _, d := range []bpf.Data{
			bpf.NewData(int32(rules[0].Nr), unix.AUDIT_ARCH_I386, 0, &args),
			bpf.NewData(int32(rules[0].Nr)|1<<30, unix.AUDIT_ARCH_X86_64, 0, &args), // x32
		} {
			require.EqualValues(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), p.Run(&d))
		}
	}
}

func TestAssembleRefuses(t *testing.T) {
	for _, rules := range [][]Rule{
		nil,
		{rule(1, "", Cond{Arg: 6})},
		{rule(1, "", Cond{Arg: 0, Mask: 1, Value: 2})},
		{rule(1, "", Cond{Arg: 0, Not: true})},
		{rule(1, "", Cond{Arg: 0, Mask: 1<<40 | 1, Not: true})},
	} {
		_, err := assemble(rules, Text{}, false)
		require.Error(t, err)
	}
	for _, text := range []Text{{Lo: 0x1000}, {Lo: 0x2000, Hi: 0x1000}, {Lo: 0xffff_f000, Hi: 0x1_0000_1000}} {
		_, err := assemble(RuntimeRules(), text, false)
		require.Error(t, err)
	}
}

// TestAssembleText: only calls from the sentry's text are judged by the rules; others, allowed or not, trap.
func TestAssembleText(t *testing.T) {
	for _, text := range []Text{{Lo: 0x401000, Hi: 0x501000}, {Lo: 0x6000_0000_1000, Hi: 0x6000_00a0_0000}, {Lo: 0x7000_8000_0000, Hi: 0x7000_ffff_f000}} {
		p := compileIn(t, RuntimeRules(), text)
		var args [6]uint64
		run := func(nr int32, arch uint32, ip uint64) uint32 {
			d := bpf.NewData(nr, arch, ip, &args)
			return p.Run(&d)
		}
		for _, ip := range []uint64{text.Lo + 2, text.Lo + 0x1234, text.Hi - 1, text.Hi} { // after the instruction
			require.EqualValues(t, unix.SECCOMP_RET_ALLOW, run(unix.SYS_FUTEX, unix.AUDIT_ARCH_X86_64, ip), "%#x", ip)
			require.EqualValues(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), run(unix.SYS_EXECVE, unix.AUDIT_ARCH_X86_64, ip), "%#x", ip)
			require.EqualValues(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), run(unix.SYS_FUTEX, unix.AUDIT_ARCH_I386, ip), "%#x", ip)
		}
		for _, ip := range []uint64{0, text.Lo - 1, text.Lo, text.Hi + 1, text.Lo + 1<<32, text.Lo&0xffffffff + 2 + text.Lo>>32<<33, text.Hi + 1<<32,
			0x1000_0000_0000 + text.Lo, 0xffff_ffff_ff60_0400} {
			if text.Lo < ip && ip <= text.Hi {
				continue
			}
			for _, nr := range []int32{unix.SYS_FUTEX, unix.SYS_EXECVE, -1, 1 << 30} {
				for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386} {
					require.EqualValues(t, unix.SECCOMP_RET_TRAP, run(nr, arch, ip), "%#x", ip)
				}
			}
		}
	}
}

// TestRuntimeRules: what no sentry may do, whatever its packages ask for.
func TestRuntimeRules(t *testing.T) {
	p := compile(t, RuntimeRules())
	run := func(nr uintptr, args ...uint64) uint32 {
		var a [6]uint64
		copy(a[:], args)
		d := bpf.NewData(int32(nr), unix.AUDIT_ARCH_X86_64, 0, &a)
		return p.Run(&d)
	}
	const minus = ^uint64(0)
	denied := map[string][]uint64{
		"socket":             {unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM},
		"connect":            {unix.SYS_CONNECT},
		"execve":             {unix.SYS_EXECVE},
		"open":               {unix.SYS_OPEN},
		"fork":               {unix.SYS_CLONE, uint64(unix.SIGCHLD)},
		"clone3":             {unix.SYS_CLONE3},
		"user namespace":     {unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_NEWUSER},
		"executable memory":  {unix.SYS_MMAP, 0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_ANONYMOUS | unix.MAP_PRIVATE},
		"mapped file":        {unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, 3},
		"mprotect":           {unix.SYS_MPROTECT, 0, 4096, unix.PROT_EXEC},
		"kill all":           {unix.SYS_KILL, minus, 9},
		"signal others":      {unix.SYS_TGKILL, uint64(os.Getpid()) + 1, 1, 9},
		"ptrace":             {unix.SYS_PTRACE},
		"dumpable":           {unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1},
		"mount":              {unix.SYS_MOUNT},
		"setns":              {unix.SYS_SETNS},
		"bpf":                {unix.SYS_BPF},
		"io_uring":           {unix.SYS_IO_URING_SETUP},
		"another filter":     {unix.SYS_SECCOMP},
		"userfaultfd":        {unix.SYS_USERFAULTFD},
		"process_vm_writev":  {unix.SYS_PROCESS_VM_WRITEV},
		"pidfd_getfd":        {unix.SYS_PIDFD_GETFD},
		"owner of a file":    {unix.SYS_FCNTL, 0, unix.F_SETOWN, 1},
		"input to terminals": {unix.SYS_IOCTL, 0, unix.TIOCSTI},
	}
	for name, a := range denied {
		require.EqualValues(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), run(uintptr(a[0]), a[1:]...), name)
	}
	require.EqualValues(t, unix.SECCOMP_RET_ALLOW, run(unix.SYS_FUTEX))
}

// TestFilterActs installs a filter in a child: a call that is not allowed ends it, with or without a traceback.
func TestFilterActs(t *testing.T) {
	switch mode := os.Getenv("SANDBOX_TEST_FILTER"); mode {
	case "kill", "trace":
		runtime.LockOSThread()
		// The filter takes it to the other threads.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			panic(err)
		}
		if err := InstallFilter(RuntimeRules(), Text{}, mode == "trace"); err != nil {
			panic(err)
		}
		println("confined")
		unix.Getuid()
		println("got away")
		os.Exit(0)
	}
	for _, mode := range []string{"kill", "trace"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFilterActs$")
		cmd.Env = append(os.Environ(), "SANDBOX_TEST_FILTER="+mode)
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "confined\n")
		require.NotContains(t, string(out), "got away")
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if mode == "kill" {
			require.True(t, ws.Signaled() && ws.Signal() == syscall.SIGSYS, string(out))
		} else {
			require.Equal(t, 2, ws.ExitStatus())
			require.Contains(t, string(out), "SIGSYS: bad system call")
			require.Contains(t, string(out), "TestFilterActs")
		}
	}
}

func TestBelow(t *testing.T) {
	for _, tt := range [][3]string{
		{"/", "/proc", "/proc"}, {"/", "/", ""}, {"/a", "/a", ""}, {"/a", "/ab", ""}, {"/a", "/a/b c", "/b c"}, {"/a/b", "/a", ""},
	} {
		require.Equal(t, tt[2], below(tt[0], tt[1]), strings.Join(tt[:2], " "))
	}
	require.Equal(t, "/a b\\c\t", unescape(`/a\040b\134c\011`))
}
