package flat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform/flat/sites"
)

// TestBusyPages: a page becomes a busy one when some programs have come by it often, and is none with other contents, nor one where each
// comes by once. It is rewritten ahead if most programs come by.
func TestBusyPages(t *testing.T) {
	code := bytes.Repeat([]byte{0x9b}, pageSize)
	const n = 10
	at := func(i int) uint64 { return uint64(256 + 128*i) }
	for i := range n {
		copy(code[at(i)-5:], []byte{0xb8, byte(100 + i), 0, 0, 0, 0x0f, 0x05}) // mov $100+i,%eax; syscall
	}
	var b busyPages
	var home uint64
	run := func(frame uint64, sites int, code []byte) (ready int) {
		home = 0
		for i := range sites {
			var patches []int
			h, p := b.trapped(home, frame, at(i), uint64(100+i), code)
			for _, x := range p {
				patches = append(patches, int(x.Site))
				require.Zero(t, (x.Site-busyAddr-256)%128)
			}
			if i == 0 {
				ready = len(patches)
				require.Greater(t, h, home)
			}
			home = h
		}
		return ready
	}
	for range busyHomes {
		require.Zero(t, run(4096, n, code))
	}
	require.Equal(t, n, run(4096, n, code))
	require.Equal(t, n, run(4096, 1, code))
	require.Zero(t, run(8192, 1, code))
	for range 10 * busyHomes {
		require.Zero(t, run(8192, 2, code))
	}
	ahead := func() (frames []uint64) {
		b.aheadIn(0, 1<<30, func(frame uint64, of []byte, ready []sites.Patch) {
			require.Equal(t, code, of)
			require.NotEmpty(t, ready)
			frames = append(frames, frame)
		})
		return frames
	}
	require.Equal(t, []uint64{4096}, ahead())
	for range 2 * busyHomes {
		run(12288, n, code)
		b.begun()
		b.begun()
		run(16384, n, code)
	}
	require.Equal(t, n, run(12288, n, code))
	require.Equal(t, n, run(16384, n, code))
	require.Equal(t, []uint64{4096}, ahead())
	for range busyHomes {
		run(20480, n, code)
	}
	require.Equal(t, n, run(20480, n, code))
	require.Equal(t, []uint64{4096, 20480}, ahead())
	other := bytes.Clone(code)
	binary.LittleEndian.PutUint32(other[at(3)-4:], 7)
	require.Zero(t, run(4096, n, other))
	require.Equal(t, []uint64{20480}, ahead())
	for i := range 2 * mostBusy {
		run(uint64(i)*pageSize, n, code)
		require.LessOrEqual(t, len(b.pages), mostBusy)
	}
}
