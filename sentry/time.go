package sentry

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// Clocks. A time is a number of nanoseconds since the clock's epoch. Guests share the host's clocks; a
// time namespace adds to the monotonic ones.

// Clock ids that package unix does not have.
const (
	clockTAI = 11

	cpuClockProf    = 0
	cpuClockVirt    = 1
	cpuClockSched   = 2
	clockFD         = 3
	cpuClockPerTask = 4

	// coarseRes is the resolution that coarse clocks have: a tick of 250 Hz.
	coarseRes = int64(4 * time.Millisecond)
)

func hostClock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// wallClock reads a clock that is the same for all: not a CPU clock. off is what the task's time
// namespace adds.
func (t *Task) wallClock(id int32) (now int64, ok bool) {
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM:
		return time.Now().UnixNano(), true
	case unix.CLOCK_MONOTONIC:
		mono, _ := t.timeOffsets()
		return nanotime() + mono, true
	case unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE:
		mono, _ := t.timeOffsets()
		return hostClock(id) + mono, true
	case unix.CLOCK_REALTIME_COARSE, clockTAI:
		return hostClock(id), true
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		_, boot := t.timeOffsets()
		return hostClock(unix.CLOCK_BOOTTIME) + boot, true
	}
	return 0, false
}

// timeOffsets are what the task's time namespace adds to the monotonic clock and to boot time.
func (t *Task) timeOffsets() (mono, boot int64) {
	if ns := t.ns; ns != nil && ns.Time != t.k.rootNS.Time {
		m, b := ns.Time.Offsets()
		return int64(m), int64(b)
	}
	return 0, 0
}

// ClockOffset is what the task's time namespace adds to the host's clock id.
func (t *Task) ClockOffset(id int32) int64 {
	mono, boot := t.timeOffsets()
	switch id {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE:
		return mono
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return boot
	}
	return 0
}

// cpuClock is a clock of processor time: of a process, or one task if task is set.
type cpuClock struct {
	proc *Process
	task *Task
	kind uint8 // cpuClockProf: user and system, cpuClockVirt: user, cpuClockSched: both
}

// now reads the clock. Kernel.tasks is not held.
func (c *cpuClock) now() int64 {
	var user, sys time.Duration
	if c.task != nil {
		user, sys = c.task.cpuTime()
	} else {
		sh := c.proc.lockSig()
		user, sys = c.proc.cpuTimeLocked()
		sh.mu.Unlock()
	}
	if c.kind == cpuClockVirt {
		return int64(user)
	}
	return int64(user + sys)
}

// cpuTimeLocked is the processor time of all threads, dead ones included. SigHand.mu is held.
func (p *Process) cpuTimeLocked() (user, sys time.Duration) {
	p.acctMu.Lock()
	user, sys = p.deadUsage.User, p.deadUsage.System
	p.acctMu.Unlock()
	for _, t := range p.threads {
		u, s := t.cpuTime()
		user += u
		sys += s
	}
	return user, sys
}

// cpuClockOf finds what a clock id of processor time names; EINVAL if it is none. reading allows clocks of
// other processes.
func (t *Task) cpuClockOf(id int32, reading bool) (cpuClock, error) {
	switch id {
	case unix.CLOCK_PROCESS_CPUTIME_ID:
		return cpuClock{proc: t.proc, kind: cpuClockSched}, nil
	case unix.CLOCK_THREAD_CPUTIME_ID:
		return cpuClock{proc: t.proc, task: t, kind: cpuClockSched}, nil
	}
	if id >= 0 || id&3 == clockFD {
		return cpuClock{}, unix.EINVAL
	}
	c := cpuClock{kind: uint8(id & 3)}
	nr := ^(id >> 3)
	thread := id&cpuClockPerTask != 0
	if nr == 0 {
		c.proc = t.proc
		if thread {
			c.task = t
		}
		return c, nil
	}
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	o := t.PIDNS().findTask(nr)
	if o == nil {
		return c, unix.EINVAL
	}
	c.proc = o.proc
	if thread {
		if o.proc != t.proc {
			return c, unix.EINVAL
		}
		c.task = o
	} else if o != o.proc.leader && !(reading && o == t) {
		return c, unix.EINVAL
	}
	return c, nil
}

// ClockGetTime is clock_gettime(2).
func (t *Task) ClockGetTime(id int32) (int64, error) {
	if now, ok := t.wallClock(id); ok {
		return now, nil
	}
	if id == unix.CLOCK_THREAD_CPUTIME_ID {
		user, sys := t.cpuTime()
		return int64(user + sys), nil
	}
	c, err := t.cpuClockOf(id, true)
	if err != nil {
		return 0, err
	}
	if c.proc == t.proc {
	}
	return c.now(), nil
}

// ClockGetRes is clock_getres(2).
func (t *Task) ClockGetRes(id int32) (int64, error) {
	switch id {
	case unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE:
		return coarseRes, nil
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW, clockTAI,
		unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return 1, nil
	}
	c, err := t.cpuClockOf(id, true)
	if err != nil {
		return 0, err
	}
	if c.kind == cpuClockSched {
		return 1, nil
	}
	return coarseRes, nil
}

// ClockSetTime is the permission check of clock_settime(2): a guest never sets the host's clock.
func (t *Task) ClockSetTime(id int32, ns int64) error {
	switch id {
	case unix.CLOCK_REALTIME:
		return unix.EPERM
	}
	if _, ok := t.wallClock(id); ok {
		return unix.EINVAL
	}
	if _, err := t.cpuClockOf(id, false); err != nil {
		return err
	}
	return unix.EPERM
}

// sleepable tells whether a clock can be slept on: EOPNOTSUPP if it only tells the time, EINVAL if there
// is no such clock.
func (t *Task) sleepable(id int32) error {
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, clockTAI:
		return nil
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		if !t.Cred().HasInitial(unix.CAP_WAKE_ALARM) {
			return unix.EPERM
		}
		return nil
	case unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_REALTIME_COARSE:
		return unix.EOPNOTSUPP
	}
	return unix.EINVAL
}

// CheckSleepClock is what clock_nanosleep(2) says of a clock before it looks at its other arguments:
// EINVAL if there is none, EOPNOTSUPP if nobody can sleep on it.
func (t *Task) CheckSleepClock(id int32) error {
	const kind = clockFD | cpuClockPerTask
	switch {
	case id == unix.CLOCK_PROCESS_CPUTIME_ID || id < 0 && id&kind != clockFD:
		return nil
	case id == unix.CLOCK_THREAD_CPUTIME_ID || id < 0:
		return unix.EOPNOTSUPP
	}
	if err := t.sleepable(id); err != unix.EPERM {
		return err
	}
	return nil
}

// addTime is a+b without overflow.
func addTime(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// ClockNanosleep is clock_nanosleep(2) and, on CLOCK_MONOTONIC, nanosleep(2). ns is a duration or, if
// absolute, a time. remaining is called with what is left when a signal ends a relative sleep; it returns
// the error of storing it.
func (t *Task) ClockNanosleep(id int32, absolute bool, ns int64, remaining func(int64) error) error {
	if _, wall := t.wallClock(id); !wall {
		c, err := t.cpuClockOf(id, false)
		if err != nil {
			return err
		}
		if c.task == t {
			return unix.EINVAL
		}
		if !absolute {
			ns = addTime(c.now(), ns)
		}
		return t.sleepUntil(c.now, ns, absolute, remaining)
	}
	if err := t.sleepable(id); err != nil {
		return err
	}
	now := func() int64 {
		n, _ := t.wallClock(id)
		return n
	}
	if !absolute {
		// What happens to the clock meanwhile does not matter to a relative sleep.
		now = nanotime
		ns = addTime(nanotime(), ns)
	}
	return t.sleepUntil(now, ns, absolute, remaining)
}

func (t *Task) sleepUntil(now func() int64, deadline int64, absolute bool, remaining func(int64) error) error {
	for {
		left := deadline - now()
		if left <= 0 {
			return nil
		}
		switch err := t.Block(nil, time.Duration(left)); {
		case err == unix.ETIMEDOUT:
			continue
		case absolute:
			return vfs.ErrRestartNoHand
		}
		if left = deadline - now(); left <= 0 {
			return nil
		}
		if remaining != nil {
			if err := remaining(left); err != nil {
				return err
			}
		}
		t.restart = func(t *Task) (uintptr, error) {
			return 0, t.sleepUntil(now, deadline, false, remaining)
		}
		return vfs.ErrRestartBlock
	}
}

// Restart is restart_syscall(2).
func (t *Task) Restart() (uintptr, error) {
	f := t.restart
	t.restart = nil
	if f == nil {
		return 0, unix.EINTR
	}
	return f(t)
}

// SetRestart says how restart_syscall(2) goes on with a call that returns vfs.ErrRestartBlock.
func (t *Task) SetRestart(f func(t *Task) (uintptr, error)) { t.restart = f }

// DeadlineWait turns a time of a clock into a duration from now for Block; 0 if it is past.
func (t *Task) DeadlineWait(id int32, deadline int64) time.Duration {
	now, _ := t.wallClock(id)
	if deadline <= now {
		return 0
	}
	return time.Duration(deadline - now)
}

// restartFunc goes on with a call that a signal without a handler interrupted.
type restartFunc func(t *Task) (uintptr, error)
