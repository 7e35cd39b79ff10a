package flat

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// TestLeftovers: the next program of the same kind gets the same place and finds its text mapped, and rewritten if it is what it was;
// what it maps otherwise is as it says, and what it has settled without a mapping is a fault.
func TestLeftovers(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	const text = platform.Read | platform.Exec | platform.Private
	_, err := mem.WriteAt(callLoop, 4096)
	require.NoError(t, err)
	_, err = mem.WriteAt(load, 12288)
	require.NoError(t, err)
	begin := func(program uint64) (as *addressSpace, lo, random uint64) {
		pas, err := p.NewAddressSpace()
		require.NoError(t, err)
		as = pas.(*addressSpace)
		lo, _, random, own := as.Place(program)
		require.True(t, own)
		return as, lo, random
	}
	run := func(as *addressSpace, at, rdi uint64, times int) (ev platform.Event, nr uint64) {
		c := p.NewContext()
		defer c.Release()
		st := &arch.State{}
		st.Reset(at, at+0x11000)
		st.Rdi = rdi
		for range times {
			ev, err = c.Switch(as, st, false)
			require.NoError(t, err)
		}
		return ev, st.Orig_rax
	}
	end := func(as *addressSpace, lo uint64) {
		require.NoError(t, as.Unmap(lo+0x10000, 4096))
		as.Release()
	}
	showData := func(as *addressSpace, lo uint64) {
		require.NoError(t, as.Map(lo+0x10000, 4096, 8192, platform.Read|platform.Write))
	}

	as, lo, random := begin(1)
	require.False(t, as.Left(lo, lo+placeSize/2))
	require.NoError(t, as.Map(lo, 4096, 4096, text))
	require.NoError(t, as.Map(lo+0x2000, 4096, 12288, text))
	showData(as, lo)
	_, nr := run(as, lo, 0, rewriteAt+1)
	require.Equal(t, uint64(110), nr)
	rewritten := p.Rewritten()
	require.Equal(t, int64(1), rewritten)
	as.Release()

	as, other, _ := begin(2)
	require.NotEqual(t, lo, other)
	as.Release()

	// The same again, mapped as a library is: first all of it to be read, then its text over that.
	as, again, sameRandom := begin(1)
	require.Equal(t, []uint64{lo, random}, []uint64{again, sameRandom})
	require.True(t, as.Left(lo, lo+4096))
	require.True(t, as.Left(lo+0x2000, lo+0x3000))
	require.False(t, as.Left(lo+0x10000, lo+0x11000), "data is not left")
	as.Keep(lo, lo+0x1000)
	require.NoError(t, as.Map(lo, 4096, 4096, platform.Read|platform.Private))
	require.NoError(t, as.Unmap(lo, 4096))
	require.NoError(t, as.Map(lo, 4096, 4096, text))
	as.Settle(lo, lo+0x1000)
	showData(as, lo)
	require.Len(t, as.rw.copies, 1)
	_, nr = run(as, lo, 0, 3)
	require.Equal(t, uint64(110), nr)
	require.Equal(t, rewritten, p.Rewritten())
	// What has been unmapped is gone, and so is what was settled.
	as.Settle(lo+0x2000, lo+0x3000)
	require.False(t, as.Left(lo, lo+0x3000))
	require.NoError(t, as.Unmap(lo, 4096))
	for _, at := range []uint64{lo, lo + 0x2000} {
		ev, _ := run(as, at, 0, 1)
		require.Equal(t, platform.Fault, ev.Kind)
		require.Equal(t, at, ev.Addr)
	}
	require.Empty(t, as.rw.copies)
	require.NoError(t, as.Map(lo, 4096, 4096, text))
	_, _ = run(as, lo, 0, rewriteAt+1)
	require.NoError(t, as.Map(lo+0x2000, 4096, 12288, text))
	end(as, lo)

	// Text that has changed is not what was rewritten, and other memory is itself.
	changed := append([]byte{}, callLoop...)
	changed[1] = 111
	_, err = mem.WriteAt(changed, 4096)
	require.NoError(t, err)
	as, again, _ = begin(1)
	require.Equal(t, lo, again)
	require.Len(t, as.rw.copies, 1)
	require.NoError(t, as.Map(lo, 4096, 4096, text))
	require.Empty(t, as.rw.copies)
	_, err = mem.WriteAt([]byte{42}, 16384)
	require.NoError(t, err)
	require.NoError(t, as.Map(lo+0x2000, 4096, 16384, platform.Read|platform.Private))
	require.NoError(t, as.Map(lo+0x3000, 4096, 12288, text))
	_, nr = run(as, lo, 0, 2)
	require.Equal(t, uint64(111), nr)
	_, nr = run(as, lo+0x3000, lo+0x2000, 1)
	require.Equal(t, uint64(42), nr)
	as.Release()

	// Only so many places keep something.
	for program := uint64(3); program < 3+2*mostLeft; program++ {
		as, at, _ := begin(program)
		require.NoError(t, as.Map(at, 4096, 4096, text))
		as.Release()
	}
	left := 0
	for i := range p.places.free {
		if p.places.free[i].left.Len() != 0 {
			left++
		}
	}
	require.Equal(t, mostLeft, left)
	as, _, again = begin(1)
	require.False(t, as.Left(lo, lo+placeSize/2))
	require.NotEqual(t, random, again)
	as.Release()
}

// TestLeftoversElsewhere: text outside of a place is left to who has the addresses next.
func TestLeftoversElsewhere(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	const text, at = platform.Read | platform.Exec | platform.Private, 0x10000000
	_, err := mem.WriteAt(load, 12288)
	require.NoError(t, err)
	run := func(as *addressSpace, at, rdi uint64) (ev platform.Event, nr uint64) {
		c := p.NewContext()
		defer c.Release()
		st := &arch.State{}
		st.Reset(at, at+0x1000)
		st.Rdi = rdi
		ev, err := c.Switch(as, st, false)
		require.NoError(t, err)
		return ev, st.Orig_rax
	}
	begin := func() *addressSpace {
		pas, err := p.NewAddressSpace()
		require.NoError(t, err)
		as := pas.(*addressSpace)
		as.Place(1)
		return as
	}
	as := begin()
	require.NoError(t, as.Reserve(at, at+0x8000))
	require.NoError(t, as.Map(at, 0x4000, 12288, text))
	require.NoError(t, as.Map(at+0x6000, 0x1000, 8192, platform.Read|platform.Write))
	as.Release()

	// A smaller program has a part of it for a while.
	as = begin()
	require.NoError(t, as.Reserve(at+0x1000, at+0x3000))
	require.True(t, as.Left(at+0x1000, at+0x3000))
	require.False(t, as.Left(at, at+0x1000))
	as.Settle(at+0x1000, at+0x3000)
	require.False(t, as.Left(at+0x1000, at+0x3000))
	ev, _ := run(as, at+0x1000, 0)
	require.Equal(t, []any{platform.Fault, platform.AccessExec, uint64(at + 0x1000)}, []any{ev.Kind, ev.Access, ev.Addr})
	as.Release()

	as = begin()
	require.NoError(t, as.Reserve(at, at+0x8000))
	require.True(t, as.Left(at, at+0x1000))
	require.False(t, as.Left(at+0x1000, at+0x3000))
	require.True(t, as.Left(at+0x3000, at+0x4000))
	as.Keep(at, at+0x8000)
	require.NoError(t, as.Map(at, 0x3000, 12288, text))
	as.Settle(at, at+0x8000)
	_, err = mem.WriteAt([]byte{43}, 12288+0x2800)
	require.NoError(t, err)
	_, nr := run(as, at, at+0x2800)
	require.Equal(t, uint64(43), nr)
	for _, hole := range []uint64{at + 0x3000, at + 0x6000} {
		ev, _ = run(as, at, hole)
		require.Equal(t, platform.Fault, ev.Kind)
		require.Equal(t, hole, ev.Addr)
	}
	as.Release()

	// Another program of the same addresses takes over what this one shows while it sleeps, and the other way round.
	one, two := begin(), begin()
	c1, c2 := p.NewContext(), p.NewContext()
	defer c1.Release()
	defer c2.Release()
	value := func(c platform.Context, as *addressSpace) uint64 {
		st := &arch.State{}
		st.Reset(at, at+0x1000)
		st.Rdi = at + 0x6000
		ev, err := c.Switch(as, st, false)
		require.NoError(t, err)
		require.Equal(t, platform.Syscall, ev.Kind, "%+v", ev)
		return st.Orig_rax
	}
	for i, as := range []*addressSpace{one, two} {
		require.NoError(t, as.Reserve(at, at+0x8000))
		require.NoError(t, as.Map(at, 0x4000, 12288, text))
		off := uint64(20480 + i*4096)
		_, err = mem.WriteAt([]byte{byte(50 + i)}, int64(off))
		require.NoError(t, err)
		require.NoError(t, as.Map(at+0x6000, 0x1000, off, platform.Read|platform.Write))
	}
	require.Nil(t, two.turn.Load())
	for range 3 {
		require.Equal(t, uint64(50), value(c1, one))
		c1.(platform.Sleeper).Sleep()
		require.Equal(t, uint64(51), value(c2, two))
		require.False(t, two.left.some.Load())
		c2.(platform.Sleeper).Sleep()
		c1.(platform.Sleeper).Wake()
		require.Equal(t, uint64(50), value(c1, one))
		require.False(t, one.left.some.Load())
		c2.(platform.Sleeper).Wake()
	}
	require.Zero(t, p.Moves())
	one.Release()
	two.Release()
}
