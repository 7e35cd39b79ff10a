package sentry

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/waitq"
)

// The structures that guests see must have the sizes and offsets of the ABI.
func TestSignalLayouts(t *testing.T) {
	require.Equal(t, SigInfoSize, sizeOf[SigInfo]())
	require.Equal(t, 32, sizeOf[SigAction]())
	require.Equal(t, 24, sizeOf[AltStack]())
	require.Equal(t, 64, sizeOf[Sigevent]())
	require.Equal(t, 80, sizeOf[SeccompNotif]())
	require.Equal(t, 304, ucSize)
	require.Equal(t, 440, frameSize)

	i := SigInfo{Signo: 17, Errno: 2, Code: cldStopped}
	i.SetPID(0x11)
	i.SetUID(0x22)
	i.SetStatus(0x33)
	i.SetUTime(0x44)
	i.SetSTime(0x55)
	b := usermem.AsBytes(&i)
	for off, want := range map[int]byte{0: 17, 4: 2, 8: cldStopped, 16: 0x11, 20: 0x22, 24: 0x33, 32: 0x44, 40: 0x55} {
		require.Equal(t, want, b[off], "offset %d", off)
	}
	s := i.signalfd()
	for off, want := range map[int]byte{0: 17, 4: 2, 8: cldStopped, 12: 0x11, 16: 0x22, 40: 0x33, 56: 0x44, 64: 0x55} {
		require.Equal(t, want, s[off], "signalfd offset %d", off)
	}
}

func TestSigInfoLayoutOfCodes(t *testing.T) {
	for _, c := range []struct {
		sig  unix.Signal
		code int32
		want infoLayout
	}{
		{unix.SIGUSR1, SiUser, layoutKill},
		{unix.SIGUSR1, SiTkill, layoutRT},
		{unix.SIGUSR1, SiQueue, layoutRT},
		{unix.SIGALRM, SiKernel, layoutKill},
		{unix.SIGALRM, SiTimer, layoutTimer},
		{unix.SIGSEGV, 1, layoutFault},
		{unix.SIGSEGV, SiKernel, layoutKill},
		{unix.SIGCHLD, cldExited, layoutChild},
		{unix.SIGIO, 1, layoutPoll},
		{unix.SIGSYS, sysSeccomp, layoutSys},
		{40, 3, layoutPoll},
	} {
		i := SigInfo{Signo: int32(c.sig), Code: c.code}
		require.Equal(t, c.want, i.layout(), "%v %d", c.sig, c.code)
	}
}

func TestSigQueue(t *testing.T) {
	var q sigQueue
	var charged atomic.Int64
	push := func(sig int32, value uint64) {
		e := &sigEntry{info: SigInfo{Signo: sig, Code: SiQueue}, charged: &charged}
		e.info.SetValue(value)
		charged.Add(1)
		q.set.add(sig)
		q.push(e)
	}
	push(35, 1)
	push(34, 2)
	push(35, 3)
	push(36, 4)
	q.set.add(10) // without an entry
	var i SigInfo
	take := func(sig int32, value uint64) {
		q.take(sig, &i)
		require.Equal(t, sig, i.Signo)
		require.Equal(t, value, i.Value())
	}
	take(35, 1)
	require.True(t, q.set.Has(35))
	take(35, 3)
	require.False(t, q.set.Has(35))
	take(10, 0)
	require.EqualValues(t, SiUser, i.Code)
	q.flush(SigSetOf(34, 35))
	require.Equal(t, SigSetOf(36), q.set)
	take(36, 4)
	require.Zero(t, q.set)
	require.Nil(t, q.head)
	require.Nil(t, q.tail)
	require.Zero(t, charged.Load())
}

func TestJobctlFlagsDoNotOverlap(t *testing.T) {
	all := jobctlSignalMask
	for _, f := range []uint32{jobctlStopDequeued, jobctlStopPending, jobctlStopConsume, jobctlTrapStop, jobctlTrapNotify, jobctlListening, jobctlStopped} {
		require.Zero(t, all&f)
		all |= f
	}
}

// Finding the bucket of a futex is on the hot path of every wait and wake-up.
func TestFutexBucketAllocatesNothing(t *testing.T) {
	var ft futexTable
	ft.init()
	var key mm.FutexKey
	require.Zero(t, testing.AllocsPerRun(100, func() { ft.bucket(key) }))
	require.Same(t, ft.bucket(key), ft.bucket(key))
}

func TestFutexQueue(t *testing.T) {
	var ft futexTable
	ft.init()
	var key mm.FutexKey
	b := ft.bucket(key)
	ws := make([]futexWaiter, 5)
	for i := range ws {
		ws[i].bell = waitq.NewBell()
		ws[i].key, ws[i].bitset = key, 1<<i
		b.waiters.Add(1)
		b.pushLocked(&ws[i])
	}
	n, err := ft.wake(key, 10, 1<<1|1<<3)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.True(t, ws[0].cancel())
	require.False(t, ws[1].cancel())
	<-ws[1].bell.C
	n, err = ft.wake(key, 1, ^uint32(0))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, ws[2].cancel())
	require.True(t, ws[4].cancel())
	require.Zero(t, b.waiters.Load())
	require.Nil(t, b.head)
	n, err = ft.wake(key, 1, ^uint32(0))
	require.NoError(t, err)
	require.Zero(t, n)
}

func sizeOf[T any]() int {
	var v T
	return len(usermem.AsBytes(&v))
}
