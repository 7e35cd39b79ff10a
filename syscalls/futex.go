package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Futexes.

const (
	futexWait          = 0
	futexWake          = 1
	futexRequeue       = 3
	futexCmpRequeue    = 4
	futexWakeOp        = 5
	futexLockPI        = 6
	futexUnlockPI      = 7
	futexTrylockPI     = 8
	futexWaitBitset    = 9
	futexWakeBitset    = 10
	futexWaitRequeuePI = 11
	futexCmpRequeuePI  = 12
	futexLockPI2       = 13

	futexPrivate  = 128
	futexRealtime = 256

	futexAnyBit = ^uint32(0)

	// Flags of futex2 calls.
	futex2SizeMask = 3
	futex2SizeU32  = 2
	futex2Private  = 128

	maxFutexVec = 128
)

// saturate is the nanoseconds of a time that may be further away than can be said.
func saturate(ts unix.Timespec) int64 { return int64(duration(ts)) }

// futexDeadline reads the end of a wait: a duration, or a time of the clock.
func futexDeadline(t *sentry.Task, addr usermem.Addr, relative, realtime bool) (d sentry.FutexDeadline, err error) {
	if addr == 0 {
		return d, nil
	}
	var ts unix.Timespec
	if err := usermem.CopyObjectIn(t.MM(), addr, &ts); err != nil {
		return d, err
	}
	if !validTimespec(ts) {
		return d, unix.EINVAL
	}
	d.Set, d.Real, d.At = true, realtime, saturate(ts)
	if relative {
		id := int32(unix.CLOCK_MONOTONIC)
		if realtime {
			id = unix.CLOCK_REALTIME
		}
		now, err := t.ClockGetTime(id)
		if err != nil {
			return d, err
		}
		if d.At += now; d.At < now {
			d.At = int64(noLimit)
		}
	}
	return d, nil
}

// futex(2)
func futex(t *sentry.Task, addr usermem.Addr, op, val uint32, timeout, addr2 usermem.Addr, val3 uint32) (uintptr, error) {
	shared := op&futexPrivate == 0
	realtime := op&futexRealtime != 0
	cmd := op &^ (futexPrivate | futexRealtime)
	if realtime && cmd != futexWait && cmd != futexWaitBitset && cmd != futexWaitRequeuePI && cmd != futexLockPI2 {
		return 0, unix.ENOSYS
	}
	// Of commands without a timeout the argument is a number.
	val2 := int32(timeout)
	count := func(n int, err error) (uintptr, error) {
		if err != nil {
			return 0, err
		}
		return uintptr(n), nil
	}
	switch cmd {
	case futexWait:
		d, err := futexDeadline(t, timeout, true, realtime)
		if err != nil {
			return 0, err
		}
		return 0, t.FutexWait(addr, shared, val, futexAnyBit, d)
	case futexWaitBitset:
		d, err := futexDeadline(t, timeout, false, realtime)
		if err != nil {
			return 0, err
		}
		return 0, t.FutexWait(addr, shared, val, val3, d)
	case futexWake:
		return count(t.FutexWake(addr, shared, int(int32(val)), futexAnyBit))
	case futexWakeBitset:
		return count(t.FutexWake(addr, shared, int(int32(val)), val3))
	case futexRequeue:
		_, n, err := t.FutexRequeue(addr, shared, addr2, shared, int(int32(val)), int(val2), nil)
		return count(n, err)
	case futexCmpRequeue:
		_, n, err := t.FutexRequeue(addr, shared, addr2, shared, int(int32(val)), int(val2), &val3)
		return count(n, err)
	case futexWakeOp:
		return count(t.FutexWakeOp(addr, addr2, shared, int(int32(val)), int(val2), val3))
	case futexLockPI, futexLockPI2:
		d, err := futexDeadline(t, timeout, false, realtime || cmd == futexLockPI)
		if err != nil {
			return 0, err
		}
		return 0, t.FutexLockPI(addr, shared, false, d)
	case futexTrylockPI:
		return 0, t.FutexLockPI(addr, shared, true, sentry.FutexDeadline{})
	case futexUnlockPI:
		return 0, t.FutexUnlockPI(addr, shared)
	case futexWaitRequeuePI:
		d, err := futexDeadline(t, timeout, false, realtime)
		if err != nil {
			return 0, err
		}
		return 0, t.FutexWaitRequeuePI(addr, shared, val, futexAnyBit, d, addr2)
	case futexCmpRequeuePI:
		return count(t.FutexCmpRequeuePI(addr, shared, addr2, int(int32(val)), int(val2), val3))
	}
	return 0, unix.ENOSYS
}

// futex2Flags checks the flags of a futex2 call: only words of 32 bits exist.
func futex2Flags(flags uint32) (shared bool, err error) {
	if flags&^(futex2SizeMask|futex2Private) != 0 || flags&futex2SizeMask != futex2SizeU32 {
		return false, unix.EINVAL
	}
	return flags&futex2Private == 0, nil
}

func fits32(v uint64) bool { return v <= uint64(^uint32(0)) }

// futex_wake(2)
func sysFutexWake(t *sentry.Task, addr usermem.Addr, mask uint64, nr int32, flags uint32) (uintptr, error) {
	shared, err := futex2Flags(flags)
	if err != nil {
		return 0, err
	}
	if !fits32(mask) {
		return 0, unix.EINVAL
	}
	if nr <= 0 && mask != 0 {
		return 0, nil // unlike FUTEX_WAKE
	}
	n, err := t.FutexWake(addr, shared, int(nr), uint32(mask))
	return uintptr(n), err
}

// clockDeadline reads a time of a clock that futex2 calls take.
func clockDeadline(t *sentry.Task, addr usermem.Addr, clock int32) (sentry.FutexDeadline, error) {
	if addr != 0 && clock != unix.CLOCK_REALTIME && clock != unix.CLOCK_MONOTONIC {
		return sentry.FutexDeadline{}, unix.EINVAL
	}
	return futexDeadline(t, addr, false, clock == unix.CLOCK_REALTIME)
}

// futex_wait(2)
func sysFutexWait(t *sentry.Task, addr usermem.Addr, val, mask uint64, flags uint32, timeout usermem.Addr, clock int32) (uintptr, error) {
	shared, err := futex2Flags(flags)
	if err != nil {
		return 0, err
	}
	if !fits32(mask) || !fits32(val) {
		return 0, unix.EINVAL
	}
	d, err := clockDeadline(t, timeout, clock)
	if err != nil {
		return 0, err
	}
	return 0, t.FutexWait(addr, shared, uint32(val), uint32(mask), d)
}

// futexWaitvEntry is struct futex_waitv.
type futexWaitvEntry struct {
	Val, Addr uint64
	Flags     uint32
	Reserved  uint32
}

func readFutexVec(t *sentry.Task, addr usermem.Addr, n uint32) ([]sentry.FutexVec, error) {
	in, err := usermem.CopySliceIn[futexWaitvEntry](t.MM(), addr, int(n))
	if err != nil {
		return nil, err
	}
	v := make([]sentry.FutexVec, n)
	for i, e := range in {
		shared, err := futex2Flags(e.Flags)
		if err != nil || e.Reserved != 0 || !fits32(e.Val) {
			return nil, unix.EINVAL
		}
		v[i] = sentry.FutexVec{Val: uint32(e.Val), Addr: usermem.Addr(e.Addr), Shared: shared}
	}
	return v, nil
}

// futex_waitv(2)
func futexWaitv(t *sentry.Task, vec usermem.Addr, n, flags uint32, timeout usermem.Addr, clock int32) (uintptr, error) {
	if flags != 0 || n == 0 || n > maxFutexVec || vec == 0 {
		return 0, unix.EINVAL
	}
	d, err := clockDeadline(t, timeout, clock)
	if err != nil {
		return 0, err
	}
	v, err := readFutexVec(t, vec, n)
	if err != nil {
		return 0, err
	}
	i, err := t.FutexWaitv(v, d)
	return uintptr(i), err
}

// futex_requeue(2)
func sysFutexRequeue(t *sentry.Task, vec usermem.Addr, flags uint32, nwake, nmove int32) (uintptr, error) {
	if flags != 0 || vec == 0 {
		return 0, unix.EINVAL
	}
	v, err := readFutexVec(t, vec, 2)
	if err != nil {
		return 0, err
	}
	_, n, err := t.FutexRequeue(v[0].Addr, v[0].Shared, v[1].Addr, v[1].Shared, int(nwake), int(nmove), &v[0].Val)
	return uintptr(n), err
}

// set_robust_list(2)
func setRobustList(t *sentry.Task, head, size uint64) (uintptr, error) {
	return 0, t.SetRobustList(head, size)
}

// get_robust_list(2)
func getRobustList(t *sentry.Task, tid int32, head, size usermem.Addr) (uintptr, error) {
	h, err := t.RobustList(tid)
	if err != nil {
		return 0, err
	}
	n := uint64(24)
	if err := usermem.CopyObjectOut(t.MM(), size, &n); err != nil {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), head, &h)
}
