package ptrace

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/platform/platformtest"
)

func TestConformance(t *testing.T) {
	conformance(t, false)
}

// TestConformanceForked is for hosts that do not execute a memfd.
func TestConformanceForked(t *testing.T) {
	conformance(t, true)
}

func conformance(t *testing.T, forked bool) {
	platformtest.Run(t, func(t *testing.T, mem *os.File) platform.Platform {
		p, err := New(Options{Memory: mem, forked: forked})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		return p
	})
}

// TestTemplate: the first stub has the host's vDSO where it is told to be, its own pages, and nothing else, however it was made.
func TestTemplate(t *testing.T) {
	for _, forked := range []bool{false, true} {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("forked=%v,inPlace=%v", forked, inPlace), func(t *testing.T) {
				v := FindVDSO()
				require.NotNil(t, v)
				p, err := New(Options{Memory: newMemory(t, 1<<20), VDSO: v, VDSOInPlace: inPlace, forked: forked})
				require.NoError(t, err)
				defer p.Close()
				require.NotZero(t, p.VDSO())
				if inPlace {
					require.Equal(t, v.image, p.VDSO())
				}
				exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.spawner.template.pid))
				require.NoError(t, err)
				require.Equal(t, !forked, strings.HasPrefix(exe, "/memfd:gosv-stub"), exe)
				maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.spawner.template.pid))
				require.NoError(t, err)
				for _, l := range strings.Split(strings.TrimSpace(string(maps)), "\n") {
					var lo, hi uint64
					_, err := fmt.Sscanf(l, "%x-%x", &lo, &hi)
					require.NoError(t, err)
					switch {
					case strings.HasSuffix(l, "[vdso]"):
						require.Equal(t, p.VDSO(), lo)
					case strings.Contains(l, "[vvar"):
						require.True(t, p.kept.start <= lo && hi <= p.kept.end, l)
					case strings.HasSuffix(l, "[vsyscall]"):
					default:
						require.True(t, stubBase <= lo && hi <= stubEnd, l)
					}
				}
			})
		}
	}
}

func newMemory(t testing.TB, size int64) *os.File {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "memfd")
	require.NoError(t, f.Truncate(size))
	t.Cleanup(func() { f.Close() })
	return f
}

// setup runs code at 0x10000 with a page of memory at 0x20000.
func setup(t testing.TB, code []byte) (*Platform, platform.AddressSpace, *arch.State) {
	f := newMemory(t, 1<<20)
	_, err := f.WriteAt(code, 4096)
	require.NoError(t, err)
	p, err := New(Options{Memory: f})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	as, err := p.NewAddressSpace()
	require.NoError(t, err)
	require.NoError(t, as.Map(0x10000, 4096, 4096, platform.Read|platform.Exec))
	require.NoError(t, as.Map(0x20000, 4096, 8192, platform.Read|platform.Write))
	st := &arch.State{}
	st.Reset(0x10000, 0x21000)
	return p, as, st
}

// getppidLoop: 1: mov $110, %eax; syscall; jmp 1b
var getppidLoop = []byte{0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}

// A stub that somebody kills is an error of all its contexts, and not the end of the sentry.
func TestStubKilled(t *testing.T) {
	p, as, st := setup(t, []byte{0xeb, 0xfe}) // jmp .
	c, c2 := p.NewContext().(*context), p.NewContext().(*context)
	pid := int(as.(*addressSpace).s.pid)
	errs := make(chan error)
	for _, c := range []*context{c, c2} {
		go func() {
			st := *st
			_, err := c.Switch(as, &st, false)
			c.Release() // before the test goes on: it closes the platform
			errs <- err
		}()
	}
	require.Eventually(t, func() bool { return as.(*addressSpace).inGuest.Load() == 2 }, 5e9, 1e6)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	require.ErrorIs(t, <-errs, platform.ErrGone)
	require.ErrorIs(t, <-errs, platform.ErrGone)
	as.Release()
	// The platform goes on.
	as2, err := p.NewAddressSpace()
	require.NoError(t, err)
	require.NoError(t, as2.Map(0x10000, 4096, 4096, platform.Read|platform.Exec))
	c3 := p.NewContext()
	c3.Interrupt()
	ev, err := c3.Switch(as2, st, false)
	require.NoError(t, err)
	require.Equal(t, platform.Interrupted, ev.Kind)
	c3.Release()
	as2.Release()
}

// Guest code that jumps into the stub's code makes no host call: its system calls are events like any other.
func TestStubCodeIsNoWayOut(t *testing.T) {
	p, as, st := setup(t, nil)
	c := p.NewContext()
	defer c.Release()
	st.Rip, st.Rax, st.Rdi = stubBase+codeOne, unix.SYS_MMAP, 0x30000
	ev, err := c.Switch(as, st, false)
	require.NoError(t, err)
	require.Equal(t, platform.Syscall, ev.Kind)
	require.Equal(t, uint64(unix.SYS_MMAP), st.SyscallNo())
	// Nor can it change the code or the operations.
	for _, addr := range []uint64{stubBase, opsBase} {
		_, mapped := as.(*addressSpace).lookup(addr)
		require.False(t, mapped)
	}
}

// The seccomp filter beneath: a stub that runs untraced can do nothing.
func TestStubFilter(t *testing.T) {
	p, as, _ := setup(t, nil)
	s := as.(*addressSpace).s
	err := p.spawner.do(func() error {
		_, err := callOne(s.pid, unix.SYS_GETPID, [6]uint64{})
		return err
	})
	require.ErrorIs(t, err, platform.ErrGone) // killed by SIGSYS
	as.(*addressSpace).dead.Store(true)
	as.Release()
}

func BenchmarkSyscall(b *testing.B) {
	p, as, st := setup(b, getppidLoop)
	c := p.NewContext()
	defer c.Release()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Switch(as, st, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForkLike(b *testing.B) {
	p, _, st := setup(b, getppidLoop)
	for b.Loop() {
		as, err := p.NewAddressSpace()
		require.NoError(b, err)
		as.Map(0x10000, 4096, 4096, platform.Read|platform.Exec)
		c := p.NewContext()
		done := make(chan struct{})
		go func() {
			st := *st
			c.Switch(as, &st, false)
			c.Release()
			close(done)
		}()
		<-done
		as.Release()
	}
}
