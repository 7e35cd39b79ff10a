package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs/eventfd"
	"gosv.dev/vfs/timerfd"
)

// Timers, and the descriptors of timers and events.

// timevalNano is the nanoseconds of a valid timeval.
func timevalNano(v unix.Timeval) (int64, error) {
	if v.Sec < 0 || uint64(v.Usec) >= 1e6 {
		return 0, unix.EINVAL
	}
	return saturate(unix.Timespec{Sec: v.Sec, Nsec: v.Usec * 1000}), nil
}

func itimervalOut(t *sentry.Task, addr usermem.Addr, s sentry.TimerSpec) error {
	// A timer that is set never shows 0.
	if s.Value > 0 {
		s.Value = max(s.Value, 1000)
	}
	v := [2]unix.Timeval{unix.NsecToTimeval(s.Interval), unix.NsecToTimeval(s.Value)}
	return usermem.CopyObjectOut(t.MM(), addr, &v)
}

// getitimer(2)
func getitimer(t *sentry.Task, which int32, addr usermem.Addr) (uintptr, error) {
	s, err := t.Itimer(which)
	if err != nil {
		return 0, err
	}
	return 0, itimervalOut(t, addr, s)
}

// setitimer(2)
func setitimer(t *sentry.Task, which int32, val, old usermem.Addr) (uintptr, error) {
	var v [2]unix.Timeval
	if val != 0 {
		if err := usermem.CopyObjectIn(t.MM(), val, &v); err != nil {
			return 0, err
		}
	}
	var s sentry.TimerSpec
	var err error
	if s.Interval, err = timevalNano(v[0]); err != nil {
		return 0, err
	}
	if s.Value, err = timevalNano(v[1]); err != nil {
		return 0, err
	}
	was, err := t.SetItimer(which, s)
	if err != nil || old == 0 {
		return 0, err
	}
	return 0, itimervalOut(t, old, was)
}

// alarm(2)
func alarm(t *sentry.Task, seconds uint32) (uintptr, error) {
	was, err := t.SetItimer(unix.ITIMER_REAL, sentry.TimerSpec{Value: int64(seconds) * int64(time.Second)})
	if err != nil {
		return 0, err
	}
	// Rounded, but never to 0.
	left := (was.Value + int64(time.Second)/2) / int64(time.Second)
	if left == 0 && was.Value > 0 {
		left = 1
	}
	return uintptr(left), nil
}

// timer_create(2)
func timerCreate(t *sentry.Task, clock int32, ev, id usermem.Addr) (uintptr, error) {
	var e *sentry.Sigevent
	if ev != 0 {
		e = new(sentry.Sigevent)
		if err := usermem.CopyObjectIn(t.MM(), ev, e); err != nil {
			return 0, err
		}
	}
	n, err := t.CreateTimer(clock, e)
	if err != nil {
		return 0, err
	}
	if err := usermem.CopyObjectOut(t.MM(), id, &n); err != nil {
		_ = t.DeleteTimer(n)
		return 0, err
	}
	return 0, nil
}

func itimerspecOut(t *sentry.Task, addr usermem.Addr, s sentry.TimerSpec) error {
	v := [2]unix.Timespec{unix.NsecToTimespec(s.Interval), unix.NsecToTimespec(s.Value)}
	return usermem.CopyObjectOut(t.MM(), addr, &v)
}

// timer_settime(2)
func timerSettime(t *sentry.Task, id int32, flags uint32, val, old usermem.Addr) (uintptr, error) {
	if val == 0 {
		return 0, unix.EINVAL
	}
	var v [2]unix.Timespec
	if err := usermem.CopyObjectIn(t.MM(), val, &v); err != nil {
		return 0, err
	}
	if !validTimespec(v[0]) || !validTimespec(v[1]) {
		return 0, unix.EINVAL
	}
	was, err := t.SetTimer(id, flags&unix.TIMER_ABSTIME != 0,
		sentry.TimerSpec{Interval: saturate(v[0]), Value: saturate(v[1])})
	if err != nil || old == 0 {
		return 0, err
	}
	return 0, itimerspecOut(t, old, was)
}

// timer_gettime(2)
func timerGettime(t *sentry.Task, id int32, addr usermem.Addr) (uintptr, error) {
	s, err := t.GetTimer(id)
	if err != nil {
		return 0, err
	}
	return 0, itimerspecOut(t, addr, s)
}

// timer_getoverrun(2)
func timerGetoverrun(t *sentry.Task, id int32) (uintptr, error) {
	n, err := t.TimerOverrun(id)
	return uintptr(n), err
}

// timer_delete(2)
func timerDelete(t *sentry.Task, id int32) (uintptr, error) { return 0, t.DeleteTimer(id) }

// timerfd_create(2)
func timerfdCreate(t *sentry.Task, clock int32, flags uint32) (uintptr, error) {
	if (clock == unix.CLOCK_REALTIME_ALARM || clock == unix.CLOCK_BOOTTIME_ALARM) && !t.Cred().HasInitial(unix.CAP_WAKE_ALARM) {
		return 0, unix.EPERM
	}
	f, err := timerfd.NewFile(t, clock, t.ClockOffset(clock), flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.TFD_CLOEXEC != 0)
}

// withTimerfd calls f with the timer of a descriptor.
func withTimerfd(t *sentry.Task, fd int32, f func(*timerfd.Timer) error) error {
	file, err := openFile(t, fd)
	if err != nil {
		return err
	}
	defer file.DecRef()
	tm, ok := file.Ops.(*timerfd.Timer)
	if !ok {
		return unix.EINVAL
	}
	return f(tm)
}

// timerfd_settime(2)
func timerfdSettime(t *sentry.Task, fd, flags int32, val, old usermem.Addr) (uintptr, error) {
	var v, was unix.ItimerSpec
	if err := usermem.CopyObjectIn(t.MM(), val, &v); err != nil {
		return 0, err
	}
	if flags&^(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) != 0 || !validTimespec(v.Value) || !validTimespec(v.Interval) {
		return 0, unix.EINVAL
	}
	err := withTimerfd(t, fd, func(tm *timerfd.Timer) (err error) {
		was, err = tm.Set(flags, v)
		return err
	})
	if old != 0 && (err == nil || err == unix.ECANCELED) {
		if e := usermem.CopyObjectOut(t.MM(), old, &was); e != nil {
			return 0, e
		}
	}
	return 0, err
}

// timerfd_gettime(2)
func timerfdGettime(t *sentry.Task, fd int32, addr usermem.Addr) (uintptr, error) {
	var v unix.ItimerSpec
	err := withTimerfd(t, fd, func(tm *timerfd.Timer) error {
		v = tm.Get()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), addr, &v)
}

// eventfd2(2)
func eventfd2(t *sentry.Task, initial, flags uint32) (uintptr, error) {
	f, err := eventfd.NewFile(t, initial, flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.EFD_CLOEXEC != 0)
}

// eventfd(2)
func sysEventfd(t *sentry.Task, initial uint32) (uintptr, error) { return eventfd2(t, initial, 0) }
