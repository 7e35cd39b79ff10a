package timerfd

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

func read(f *vfs.File) (uint64, error) {
	b := make([]byte, 8)
	v := usermem.Bytes(b)
	_, err := f.Read(vfs.KernelContext(), &v, 0)
	return binary.NativeEndian.Uint64(b), err
}

func TestTimerfd(t *testing.T) {
	for _, clock := range []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME} {
		f, err := NewFile(vfs.KernelContext(), clock, 0, 0)
		require.NoError(t, err)
		tm := f.Ops.(*Timer)
		require.Equal(t, unix.ItimerSpec{}, tm.Get())
		_, err = tm.Set(0, unix.ItimerSpec{Value: unix.NsecToTimespec(5e6), Interval: unix.NsecToTimespec(2e6)})
		require.NoError(t, err)
		require.Zero(t, f.Readiness(waitq.In))
		n, err := read(f) // waits
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, uint64(1))
		time.Sleep(11 * time.Millisecond)
		n, err = read(f)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, uint64(4))
		old, err := tm.Set(0, unix.ItimerSpec{})
		require.NoError(t, err)
		require.EqualValues(t, 2e6, old.Interval.Nano())
		require.Positive(t, old.Value.Nano())

		// An absolute time that has passed.
		_, err = tm.Set(unix.TFD_TIMER_ABSTIME, unix.ItimerSpec{Value: unix.Timespec{Nsec: 1}})
		require.NoError(t, err)
		n, err = read(f)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		_, err = tm.Set(0, unix.ItimerSpec{Value: unix.Timespec{Nsec: 1e9}})
		require.Equal(t, unix.EINVAL, err)
		f.DecRef()
	}
	_, err := New(unix.CLOCK_THREAD_CPUTIME_ID, 0)
	require.Equal(t, unix.EINVAL, err)
}
