package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Clocks and sleeping.

func copyTimespecOut(t *sentry.Task, addr usermem.Addr, ns int64) error {
	ts := unix.NsecToTimespec(ns)
	return usermem.CopyObjectOut(t.MM(), addr, &ts)
}

// readTimespec reads a time, which must be in its normal form.
func readTimespec(t *sentry.Task, addr usermem.Addr) (int64, error) {
	var ts unix.Timespec
	if err := usermem.CopyObjectIn(t.MM(), addr, &ts); err != nil {
		return 0, err
	}
	if !validTimespec(ts) {
		return 0, unix.EINVAL
	}
	return saturate(ts), nil
}

// clock_gettime(2)
func clockGettime(t *sentry.Task, id int32, addr usermem.Addr) (uintptr, error) {
	now, err := t.ClockGetTime(id)
	if err != nil {
		return 0, err
	}
	return 0, copyTimespecOut(t, addr, now)
}

// clock_getres(2)
func clockGetres(t *sentry.Task, id int32, addr usermem.Addr) (uintptr, error) {
	res, err := t.ClockGetRes(id)
	if err != nil || addr == 0 {
		return 0, err
	}
	return 0, copyTimespecOut(t, addr, res)
}

// clock_settime(2)
func clockSettime(t *sentry.Task, id int32, addr usermem.Addr) (uintptr, error) {
	ns, err := readTimespec(t, addr)
	if err != nil {
		return 0, err
	}
	return 0, t.ClockSetTime(id, ns)
}

// clock_nanosleep(2)
func clockNanosleep(t *sentry.Task, id int32, flags uint32, req, rem usermem.Addr) (uintptr, error) {
	if err := t.CheckSleepClock(id); err != nil {
		return 0, err
	}
	ns, err := readTimespec(t, req)
	if err != nil {
		return 0, err
	}
	var remaining func(int64) error
	if rem != 0 {
		remaining = func(left int64) error { return copyTimespecOut(t, rem, left) }
	}
	return 0, t.ClockNanosleep(id, flags&unix.TIMER_ABSTIME != 0, ns, remaining)
}

// nanosleep(2)
func nanosleep(t *sentry.Task, req, rem usermem.Addr) (uintptr, error) {
	return clockNanosleep(t, unix.CLOCK_MONOTONIC, 0, req, rem)
}

// gettimeofday(2)
func gettimeofday(t *sentry.Task, tv, tz usermem.Addr) (uintptr, error) {
	if tv != 0 {
		v := unix.NsecToTimeval(time.Now().UnixNano())
		if err := usermem.CopyObjectOut(t.MM(), tv, &v); err != nil {
			return 0, err
		}
	}
	if tz != 0 {
		var zone [2]int32 // minutes west of Greenwich, kind of summer time: the kernel does not know
		return 0, usermem.CopyObjectOut(t.MM(), tz, &zone)
	}
	return 0, nil
}

// settimeofday(2)
func settimeofday(t *sentry.Task, tv, tz usermem.Addr) (uintptr, error) {
	if tv != 0 {
		var v unix.Timeval
		if err := usermem.CopyObjectIn(t.MM(), tv, &v); err != nil {
			return 0, err
		}
		if uint64(v.Usec) > 1e6 {
			return 0, unix.EINVAL
		}
	}
	if tz != 0 {
		var zone [2]int32
		if err := usermem.CopyObjectIn(t.MM(), tz, &zone); err != nil {
			return 0, err
		}
	}
	return 0, unix.EPERM
}

// time(2)
func sysTime(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	now := time.Now().Unix()
	if addr != 0 {
		if err := usermem.CopyObjectOut(t.MM(), addr, &now); err != nil {
			return 0, err
		}
	}
	return uintptr(now), nil
}

// adjtime reads struct timex, checks that it changes nothing, and answers with the host's.
func adjtime(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	var in, out unix.Timex
	if err := usermem.CopyObjectIn(t.MM(), addr, &in); err != nil {
		return 0, err
	}
	const offsetReadOnly = 0xa001 // ADJ_OFFSET_SS_READ
	if in.Modes != 0 && in.Modes != offsetReadOnly {
		return 0, unix.EPERM
	}
	out.Modes = in.Modes
	state, err := unix.Adjtimex(&out)
	if err != nil {
		return 0, err
	}
	return uintptr(state), usermem.CopyObjectOut(t.MM(), addr, &out)
}

// adjtimex(2)
func adjtimex(t *sentry.Task, addr usermem.Addr) (uintptr, error) { return adjtime(t, addr) }

// clock_adjtime(2)
func clockAdjtime(t *sentry.Task, id int32, addr usermem.Addr) (uintptr, error) {
	if id != unix.CLOCK_REALTIME {
		if _, err := t.ClockGetRes(id); err != nil {
			return 0, err
		}
		return 0, unix.EOPNOTSUPP
	}
	return adjtime(t, addr)
}
