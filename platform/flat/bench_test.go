package flat

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// guestAt is an address space in a place of its own, with code at its beginning and a page of memory behind.
func guestAt(t testing.TB, p *Platform, mem *os.File, code []byte) (platform.AddressSpace, *arch.State) {
	_, err := mem.WriteAt(code, 4096)
	require.NoError(t, err)
	as, err := p.NewAddressSpace()
	require.NoError(t, err)
	t.Cleanup(as.Release)
	lo, _, _, _ := as.(platform.Placer).Place(0)
	require.NoError(t, as.Map(lo, 4096, 4096, platform.Read|platform.Exec|platform.Private))
	require.NoError(t, as.Map(lo+0x10000, 4096, 8192, platform.Read|platform.Write))
	st := &arch.State{}
	st.Reset(lo, lo+0x11000)
	return as, st
}

func memory(t testing.TB) *os.File {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "memfd")
	require.NoError(t, f.Truncate(64<<20))
	t.Cleanup(func() { f.Close() })
	return f
}

// callLoop: 1: mov $110, %eax; syscall; jmp 1b
var callLoop = []byte{0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}

// BenchmarkSwitch is the way of a rewritten system call out of the guest and back.
func BenchmarkSwitch(b *testing.B) {
	mem := memory(b)
	p := newPlatform(b, mem)
	as, st := guestAt(b, p, mem, callLoop)
	c := p.NewContext()
	defer c.Release()
	for b.Loop() {
		ev, err := c.Switch(as, st, false)
		if err != nil || ev.Kind != platform.Syscall || st.Orig_rax != 110 {
			b.Fatal(ev, err, st.Orig_rax)
		}
		st.Rax = 1
	}
	require.NotZero(b, p.Rewritten())
}

// BenchmarkEnterOnly is what the Go scheduler has to be told.
func BenchmarkEnterOnly(b *testing.B) {
	for b.Loop() {
		schedulerOnly()
	}
}
