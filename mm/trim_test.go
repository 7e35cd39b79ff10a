package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// What is cut off the ends of a region is gone and not counted, and the rest is what it was.
func TestTrim(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	vm, committed := as.totalVM, m.committed.Load()
	a := anonMap(t, as, 8*PageSize)
	for i := uint64(0); i < 8; i++ {
		require.NoError(t, poke(as, a+i*PageSize, i+1))
	}
	// The rights differ from those of what may be around.
	require.NoError(t, as.MProtect(usermem.Addr(a), 8*PageSize, unix.PROT_READ))
	regions := as.regions.Len()

	require.NoError(t, as.MUnmap(usermem.Addr(a), 2*PageSize))
	require.NoError(t, as.MUnmap(usermem.Addr(a+7*PageSize), PageSize))
	require.Equal(t, regions, as.regions.Len())
	require.Equal(t, vm+5, as.totalVM)
	require.Equal(t, committed+5, m.committed.Load())
	require.EqualValues(t, 5, as.rss[kindAnon].Load())
	for i := uint64(0); i < 8; i++ {
		err := as.HandleFault(usermem.Addr(a+i*PageSize), platform.AccessRead)
		if i < 2 || i == 7 {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, i+1, mustPeek(t, as, a+i*PageSize))
	}

	// Mapped again, it is zero; a sealed end stays.
	require.Equal(t, a, mmap(t, as, MMapOpts{Addr: usermem.Addr(a), Length: 2 * PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED}))
	require.Zero(t, mustPeek(t, as, a))
	require.NoError(t, as.MSeal(usermem.Addr(a+2*PageSize), 5*PageSize))
	require.Equal(t, unix.EPERM, as.MUnmap(usermem.Addr(a+6*PageSize), PageSize))
	require.Equal(t, unix.EPERM, as.MUnmap(usermem.Addr(a), 3*PageSize))
	as.DecUsers()
	clean(t, m)
}
