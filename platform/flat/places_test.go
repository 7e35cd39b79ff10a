package flat

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
)

// TestRoom: what a process gets in addition to its place is nobody else's until it ends, and then places again.
func TestRoom(t *testing.T) {
	p := newPlatform(t, memory(t))
	begin := func() *addressSpace {
		as, err := p.NewAddressSpace()
		require.NoError(t, err)
		_, _, _, own := as.(platform.Placer).Place(0)
		require.True(t, own)
		return as.(*addressSpace)
	}
	a, b := begin(), begin()
	free := len(p.places.free)
	var all []span
	room := func(as *addressSpace, n uint64) {
		lo, hi := as.Room(n)
		require.GreaterOrEqual(t, hi-lo, n)
		for _, s := range append(all, a.place, b.place) {
			require.False(t, s.overlaps(lo, hi), "%#x-%#x and %#x-%#x", lo, hi, s.lo, s.hi)
		}
		all = append(all, span{lo, hi})
		require.NoError(t, as.Reserve(lo, hi))
		require.NoError(t, as.Map(hi-4096, 4096, 8192, platform.Read))
	}
	for _, n := range []uint64{4096, placeSize, placeSize + 1, 2 << 40} {
		room(a, n)
		room(b, n)
	}
	require.Equal(t, free-2*(1+1+2+32), len(p.places.free))
	require.Zero(t, p.Moves())

	// One that has left, to a stub, has all there is.
	require.NoError(t, b.Move("a test"))
	lo, hi := b.Room(1)
	plo, phi := p.Range()
	require.Equal(t, span{plo, phi}, span{lo, hi})

	a.Release()
	b.Release()
	require.Len(t, p.places.free, free+2)
	for _, s := range all {
		require.False(t, p.places.overlaps(s.lo, s.hi))
		require.True(t, hostFree(s.lo, s.hi-s.lo))
	}
}

// TestTakenPlace: a place in which somebody has something is a place again when he has gone.
func TestTakenPlace(t *testing.T) {
	p := newPlatform(t, memory(t))
	pas, err := p.NewAddressSpace()
	require.NoError(t, err)
	as := pas.(*addressSpace)
	_, _, _, own := as.Place(0)
	require.True(t, own)
	l := &p.places
	taken := 0
	for _, f := range l.free {
		if f.usable() {
			require.NoError(t, as.Reserve(f.at+4096, f.at+8192))
			taken++
		}
	}
	require.False(t, l.take(&home{}, 1))
	require.Len(t, l.free, taken)
	as.Release()
	require.True(t, l.take(&home{}, 1))
	require.Len(t, l.free, taken) // the place of as is one, too
}
