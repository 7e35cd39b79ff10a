package sentry_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/ptrace"
	"gosv.dev/sentry"
	"gosv.dev/syscalls"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/pipe"
	"gosv.dev/vfs/tmpfs"
)

// sandbox is a kernel with a root in memory, for programs written in C.
type sandbox struct {
	t    *testing.T
	k    *sentry.Kernel
	out  *sink
	root vfs.Path
}

// sink is a file that keeps what is written.
type sink struct {
	vfs.DefaultFileOps
	mu  sync.Mutex
	buf []byte
}

func (s *sink) Stream() bool { return true }

func (s *sink) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	b := make([]byte, src.Len())
	n, err := src.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, b[:n]...)
	if n > 0 {
		err = nil
	}
	return int64(n), int64(n), err
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.buf)
}

// testLog passes the kernel's log on to the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	if os.Getenv("GOSV_TEST_LOG") != "" {
		return os.Stderr.Write(b) // in order with the calls
	}
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func newSandbox(t *testing.T, edit func(*sentry.Config)) *sandbox {
	t.Helper()
	size := int64(1 << 30)
	if name := t.Name(); strings.HasSuffix(name, "/oom") {
		size = 96 << 20
	}
	mem, err := mm.NewMemory(size)
	require.NoError(t, err)
	p, err := ptrace.New(ptrace.Options{Memory: mem.File()})
	require.NoError(t, err)
	reg := vfs.NewRegistry()
	reg.OpenFIFO = pipe.OpenFIFO
	reg.Register(tmpfs.Type(mem))
	sb, err := tmpfs.New(vfs.KernelContext(), mem, "root", "mode=0755")
	require.NoError(t, err)
	mounts := vfs.NewMountNamespace(reg, cred.InitUserNS(), sb, 0)
	table := syscalls.NewTable()
	if os.Getenv("GOSV_TEST_STRACE") != "" {
		table.Strace = syscalls.NewStrace(os.Stderr)
	}
	cfg := sentry.Config{
		Memory: mem, Platform: p, Syscalls: table, VFS: reg, Mounts: mounts,
		Log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s := &sandbox{t: t, out: &sink{}, root: mounts.Root()}
	cfg.OnInitStop = func() { // as a person would
		_ = s.k.Init().SendSignal(sentry.KernelInfo(unix.SIGCONT))
	}
	if edit != nil {
		edit(&cfg)
	}
	k, err := sentry.New(cfg)
	require.NoError(t, err)
	s.k = k
	t.Cleanup(func() {
		k.Shutdown()
		require.NoError(t, p.Close())
		require.NoError(t, mem.Close())
	})
	return s
}

// put writes a file into the sandbox.
func (s *sandbox) put(name string, mode uint32, content []byte) {
	s.t.Helper()
	ctx := vfs.KernelContext()
	f, err := vfs.Open(ctx, s.root, name, unix.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, Mode: uint64(mode)})
	require.NoError(s.t, err)
	for len(content) > 0 {
		io := usermem.Bytes(content)
		n, err := f.Write(ctx, &io, 0)
		require.NoError(s.t, err)
		content = content[n:]
	}
	f.DecRef()
}

var (
	compileMu sync.Mutex
	compiled  = map[string][]byte{}
)

// compile makes a static program of testdata/name.c.
func compile(t *testing.T, name string) []byte {
	t.Helper()
	compileMu.Lock()
	defer compileMu.Unlock()
	if b := compiled[name]; b != nil {
		return b
	}
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no C compiler")
	}
	out := filepath.Join(t.TempDir(), name)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, cc, "-static", "-O1", "-Wall", "-pthread", "-o", out, filepath.Join("testdata", name+".c")).CombinedOutput()
	require.NoError(t, err, string(b))
	b, err = os.ReadFile(out)
	require.NoError(t, err)
	compiled[name] = b
	return b
}

// run runs a program as init and returns its status.
func (s *sandbox) run(argv ...string) sentry.WaitStatus {
	s.t.Helper()
	out := func() *vfs.File { return vfs.NewAnonFile("pipe:[out]", s.out, unix.O_WRONLY, cred.Root()) }
	_, err := s.k.Start(sentry.InitArgs{
		Path: argv[0], Argv: argv, Envv: []string{"A=1"}, Files: []*vfs.File{nil, out(), out()},
	})
	require.NoError(s.t, err)
	select {
	case <-s.k.Done():
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the program hangs; output so far:\n%s\n%s", s.out, s.k.Dump())
	}
	return s.k.Wait()
}

// TestPrograms runs the C programs of testdata that check themselves: each prints "ok" and ends with 0.
func TestPrograms(t *testing.T) {
	list, err := filepath.Glob("testdata/*.c")
	require.NoError(t, err)
	for _, file := range list {
		name := strings.TrimSuffix(filepath.Base(file), ".c")
		t.Run(name, func(t *testing.T) {
			prog := compile(t, name)
			s := newSandbox(t, func(c *sentry.Config) { c.MaxTasks = 150 })
			s.put("/prog", 0o755, prog)
			require.NoError(t, vfs.Mkdir(vfs.KernelContext(), s.root, "/tmp", 0o1777))
			ws := s.run("/prog", "arg1", "arg2")
			require.Equal(t, sentry.WaitStatus(0), ws, "output:\n%s", s.out)
			require.True(t, strings.HasSuffix(s.out.String(), "ok\n"), "output:\n%s", s.out)
		})
	}
}
