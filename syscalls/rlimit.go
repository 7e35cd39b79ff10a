package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Resource limits and usage.

// getrlimit(2)
func getrlimit(t *sentry.Task, resource uint32, addr usermem.Addr) (uintptr, error) {
	if resource > 15 {
		return 0, unix.EINVAL
	}
	l := t.Process().Limit(int(resource))
	return 0, usermem.CopyObjectOut(t.MM(), addr, &l)
}

// setrlimit(2)
func setrlimit(t *sentry.Task, resource uint32, addr usermem.Addr) (uintptr, error) {
	var l unix.Rlimit
	if err := usermem.CopyObjectIn(t.MM(), addr, &l); err != nil {
		return 0, err
	}
	_, err := t.Process().SetLimit(t, int(resource), &l)
	return 0, err
}

// prlimit64(2)
func prlimit64(t *sentry.Task, pid int32, resource uint32, newAddr, oldAddr usermem.Addr) (uintptr, error) {
	var n *unix.Rlimit
	if newAddr != 0 {
		n = new(unix.Rlimit)
		if err := usermem.CopyObjectIn(t.MM(), newAddr, n); err != nil {
			return 0, err
		}
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	old, err := t.PrLimit(o, int(resource), n)
	if err != nil {
		return 0, err
	}
	if oldAddr != 0 {
		return 0, usermem.CopyObjectOut(t.MM(), oldAddr, &old)
	}
	return 0, nil
}

// getrusage(2)
func getrusage(t *sentry.Task, who int32, addr usermem.Addr) (uintptr, error) {
	var u sentry.Usage
	switch who {
	case unix.RUSAGE_SELF:
		u = t.Process().Usage()
	case unix.RUSAGE_CHILDREN:
		u = t.Process().ChildUsage()
	case unix.RUSAGE_THREAD:
		u = t.Usage()
	default:
		return 0, unix.EINVAL
	}
	ru := u.Rusage()
	return 0, usermem.CopyObjectOut(t.MM(), addr, &ru)
}

// times(2)
func times(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	const tick = time.Second / 100
	if addr != 0 {
		user, system := t.Process().CPUTime()
		c := t.Process().ChildUsage()
		tms := [4]int64{int64(user / tick), int64(system / tick), int64(c.User / tick), int64(c.System / tick)}
		if err := usermem.CopyObjectOut(t.MM(), addr, &tms); err != nil {
			return 0, err
		}
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return uintptr(now.Nano() / int64(tick)), nil
}
