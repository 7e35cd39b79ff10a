package mm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTextInLargePages: text that is mapped for a while is put into large pages if most of one is used, and stays what it was.
func TestTextInLargePages(t *testing.T) {
	m, err := NewMemory(64 << 20)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	const full, sparse = Frame(8 * blockPages), Frame(9 * blockPages)
	use := func(f Frame, n int) {
		for i := range Frame(n) {
			m.refs[f+i] = 1
			m.lin[uint64(f+i)<<PageShift] = byte(i) | 1
		}
	}
	use(full, hugeUsed)
	use(sparse, hugeUsed-1)
	require.NoError(t, m.collapse(full), "this host has no MADV_COLLAPSE")
	state := func() (noted, todo int, fullDone, sparseDone bool) {
		m.texts.mu.Lock()
		defer m.texts.mu.Unlock()
		return len(m.texts.noted), len(m.texts.todo), m.texts.noted[full], m.texts.noted[sparse]
	}
	m.noteText(full.Offset(), (textRun-1)*PageSize)
	noted, _, _, _ := state()
	require.Zero(t, noted)
	m.noteText(full.Offset()+100*PageSize, (blockPages-100+1)*PageSize)
	noted, todo, _, _ := state()
	require.Equal(t, []int{2, 2}, []int{noted, todo})
	require.Eventually(t, func() bool {
		noted, todo, fullDone, sparseDone := state()
		return noted == 1 && todo == 0 && fullDone && !sparseDone
	}, 10*time.Second, time.Millisecond)
	for i := range Frame(hugeUsed) {
		require.Equal(t, byte(i)|1, m.lin[uint64(full+i)<<PageShift])
		m.refs[full+i] = 0
	}
	for i := range Frame(hugeUsed - 1) {
		m.refs[sparse+i] = 0
	}
}
