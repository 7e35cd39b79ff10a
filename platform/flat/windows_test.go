package flat

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// load: mov (%rdi),%rax; syscall; jmp back to the beginning.
var load = []byte{0x48, 0x8b, 0x07, 0x0f, 0x05, 0xeb, 0xf9}

// TestWindows: what is shown where the same was hidden is in a window from then on, until it becomes something else. A page that the host
// loses comes back; one that is hidden is a fault.
func TestWindows(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	require.True(t, p.pages.works(), "this host has no userfaultfd(2) with minor faults")
	pas, first := guestAt(t, p, mem, load)
	as := pas.(*addressSpace)
	const off, rw = 32 << 20, platform.Read | platform.Write
	_, err := mem.WriteAt([]byte("\x2a"), off)
	require.NoError(t, err)
	c := p.NewContext()
	defer c.Release()
	lo, _, _, _ := as.Place(0)
	at := lo + 16<<20
	read := func(addr uint64) (platform.Event, uint64) {
		st := *first
		st.Rdi = addr
		ev, err := c.Switch(as, &st, false)
		require.NoError(t, err)
		return ev, st.Orig_rax
	}
	shows := func(addr, want uint64) {
		ev, got := read(addr)
		require.Equal(t, platform.Syscall, ev.Kind, "%+v", ev)
		require.Equal(t, want, got)
	}
	faults := func(addr uint64) {
		ev, _ := read(addr)
		require.Equal(t, platform.Event{Kind: platform.Fault, Signal: ev.Signal, Code: ev.Code, Addr: addr}, ev)
	}
	for i := range 4 {
		require.NoError(t, as.Map(at, 4*arch.PageSize, off, rw))
		require.Equal(t, i > 0, as.windows.has(at, at+4*arch.PageSize, off, true), "time %d", i)
		shows(at, 42)
		shows(at+arch.PageSize, 0)
		require.NoError(t, as.Unmap(at, 4*arch.PageSize))
		faults(at)
		faults(at + 3*arch.PageSize)
	}
	require.NoError(t, as.Map(at, 2*arch.PageSize, off, rw))
	shows(at, 42)
	faults(at + 2*arch.PageSize)
	require.Zero(t, p.pages.hide(at, arch.PageSize))
	shows(at, 42) // as when the host has had no memory for a while

	// Memory that the host has no page for.
	require.NoError(t, as.Unmap(at, 2*arch.PageSize))
	require.NoError(t, unix.Fallocate(int(mem.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off+arch.PageSize, arch.PageSize))
	faults(at + arch.PageSize)
	require.NoError(t, as.Map(at, 2*arch.PageSize, off, rw))
	shows(at, 42)
	shows(at+arch.PageSize, 0)

	// Something else has the middle, which is no part of it any more.
	require.NoError(t, as.Map(at+arch.PageSize, arch.PageSize, off, platform.Read))
	shows(at+arch.PageSize, 42)
	require.Len(t, as.windows.all, 2)
	require.False(t, as.windows.has(at, at+2*arch.PageSize, 0, false))
	require.NoError(t, as.Protect(at+arch.PageSize, arch.PageSize, rw))
	require.NoError(t, as.Protect(at, 2*arch.PageSize, platform.Read))
	shows(at, 42)
	require.Len(t, as.windows.all, 1)
	require.NoError(t, as.Unmap(at, 4*arch.PageSize))
	faults(at)
	require.Equal(t, []window{{span{at + 2*arch.PageSize, at + 4*arch.PageSize}, off + 2*arch.PageSize}}, as.windows.all)

	// There are not too many, and what goes for a new one leaves nothing.
	for i := range uint64(3 * mostWindows) {
		a := at + (8+2*i)*arch.PageSize
		for range 2 {
			require.NoError(t, as.Map(a, arch.PageSize, off, rw))
			shows(a, 42)
			require.NoError(t, as.Unmap(a, arch.PageSize))
		}
	}
	require.Len(t, as.windows.all, mostWindows)
	faults(at + 2*arch.PageSize)
	faults(at + 8*arch.PageSize)
	require.NoError(t, as.Move("a test"))
	require.Empty(t, as.windows.all)
	faults(at + 8*arch.PageSize)
}
