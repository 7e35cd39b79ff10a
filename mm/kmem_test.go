package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestKernelMemory: it counts for the limit together with the frames, is refused before frames are, and leaves
// some to those who make what does not last.
func TestKernelMemory(t *testing.T) {
	m, err := NewMemory(64 << 20)
	require.NoError(t, err)
	defer m.Close()
	limit := m.Limit()
	free := m.Stats().Free
	require.NoError(t, m.ChargeKernel(limit/4))
	require.EqualValues(t, limit/4, m.Stats().Kernel)
	require.Equal(t, free-uint64(limit/4), m.Stats().Free)

	require.Equal(t, unix.ENOMEM, m.ChargeKernel(limit))
	require.NoError(t, m.ChargeKernel(limit/2+limit/8))
	require.Equal(t, unix.ENOMEM, m.ChargeKernel(PageSize))
	m.kother.Add(PageSize)
	require.Equal(t, unix.ENOMEM, m.KernelRoom(true))
	require.NoError(t, m.KernelRoom(false))
	m.kother.Add(limit / 16)
	require.Equal(t, unix.ENOMEM, m.KernelRoom(false))
	m.kother.Store(0)

	// Frames take what is left, and no more.
	n := int64(0)
	for {
		if _, err := m.Alloc(); err != nil {
			break
		}
		n++
	}
	require.InDelta(t, limit/8/PageSize, n, 4)

	// A little may always be had.
	m.UnchargeKernel(limit/4 + limit/2 + limit/8)
	for m.used.Load() < m.limit {
		_, err := m.Alloc()
		require.NoError(t, err)
	}
	require.NoError(t, m.ChargeKernel(limit/32))
	require.Equal(t, unix.ENOMEM, m.ChargeKernel(limit/8))
	var none *Memory
	require.NoError(t, none.ChargeKernel(limit))
	require.NoError(t, none.KernelRoom(true))
	none.UnchargeKernel(limit)
}
