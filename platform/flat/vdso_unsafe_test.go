package flat

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/vdso"
)

// clockCalls is what countClock works on.
type clockCalls struct {
	clock     uint32
	n, asked  uint64
	sec, nsec int64
}

// countClock is a leaf call that counts, if it can read a clock.
//
//go:nosplit
//go:norace
func countClock(arg unsafe.Pointer, _, _, _, _ uint64) (uint64, platform.LeafResult) {
	c := (*clockCalls)(arg)
	c.asked++
	sec, nsec, ok := vdso.Clock(c.clock)
	if !ok {
		return 0, platform.LeafNot
	}
	c.sec, c.nsec = sec, nsec
	c.n++
	return c.n, platform.LeafDone
}

// TestLeafClock has leaf calls read a clock that the vDSO knows, and one for which it makes a system call: that is to be undone, and not
// tried again.
func TestLeafClock(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	if !goTLSInGS {
		t.Skip("there are no leaf calls")
	}
	as, st := guestAt(t, p, mem, countLoop)
	c := p.NewContext().(*context)
	defer c.Release()
	calls := &clockCalls{clock: unix.CLOCK_THREAD_CPUTIME_ID}
	c.AnswerBy(110, countClock, unsafe.Pointer(calls))
	defer vdso.Traps.Store(0)
	const whole = 1000
	for calls.n < whole {
		ev, err := c.Switch(as, st, false)
		require.NoError(t, err)
		require.Equal(t, platform.Syscall, ev.Kind)
		calls.n++
		require.Equal(t, []uint64{110, calls.n, calls.n - 1}, []uint64{st.Orig_rax, st.Rbx, st.R12})
		st.Rax = calls.n
	}
	require.NotZero(t, calls.asked)
	require.EqualValues(t, 1<<unix.CLOCK_THREAD_CPUTIME_ID, vdso.Traps.Load())

	calls.clock = unix.CLOCK_MONOTONIC
	time.AfterFunc(10*time.Millisecond, c.Interrupt)
	ev, err := c.Switch(as, st, false)
	require.NoError(t, err)
	require.Equal(t, platform.Interrupted, ev.Kind)
	require.Greater(t, calls.n, uint64(whole))
	require.InDelta(t, calls.n, st.R12, 1)
	var now unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	require.LessOrEqual(t, calls.sec*1e9+calls.nsec, now.Nano())
	require.NotZero(t, calls.sec*1e9+calls.nsec)
}
