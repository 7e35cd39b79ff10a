package flat

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/platform/platformtest"
	"gosv.dev/platform/ptrace"
)

func newPlatform(t testing.TB, mem *os.File) *Platform {
	stubs, err := ptrace.New(ptrace.Options{Memory: mem})
	require.NoError(t, err)
	st, err := mem.Stat()
	require.NoError(t, err)
	linear, err := unix.Mmap(int(mem.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(linear)) })
	p, err := New(Options{Memory: mem, Linear: linear, OfFile: func(off uint64) bool { return off != 8192 }, Stubs: stubs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestConformance(t *testing.T) {
	platformtest.Run(t, func(t *testing.T, mem *os.File) platform.Platform { return newPlatform(t, mem) })
}

// TestForeignState: the host's image of a thread that a signal stopped has components that are not a guest's, such as protection keys
// on processors that have them. A guest's handler must be able to return to it.
func TestForeignState(t *testing.T) {
	c := newPlatform(t, memory(t)).NewContext().(*context)
	defer c.Release()
	binary.LittleEndian.PutUint64(c.image[arch.FXSaveSize:], c.p.fpu.Features|xcrPKRU)
	c.fpImage = 1
	image, err := c.FP()
	require.NoError(t, err)
	require.NoError(t, c.SetFP(image))
}
