package ptrace

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

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

func TestSyscallLoop(t *testing.T) {
	p, as, st := setup(t, []byte{0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}) // mov $110,%eax; syscall; jmp
	c := p.NewContext()
	defer c.Release()
	for i := 0; i < 10; i++ {
		ev, err := c.Switch(as, st, false)
		require.NoError(t, err)
		require.Equal(t, platform.Syscall, ev.Kind)
		require.Equal(t, uint64(110), st.SyscallNo())
		require.Equal(t, uint64(0x10007), st.Rip)
		st.SetReturn(uint64(i))
	}
}

func BenchmarkSyscall(b *testing.B) {
	p, as, st := setup(b, []byte{0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7})
	c := p.NewContext()
	defer c.Release()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Switch(as, st, false); err != nil {
			b.Fatal(err)
		}
	}
}
