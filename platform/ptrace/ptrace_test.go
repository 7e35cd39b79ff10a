package ptrace

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/platform/platformtest"
)

func TestConformance(t *testing.T) {
	platformtest.Run(t, func(t *testing.T, mem *os.File) platform.Platform {
		p, err := New(Options{Memory: mem})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		return p
	})
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
