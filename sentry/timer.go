package sentry

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

// Timers of a process: the three interval timers, POSIX timers and the limit of processor time. All state
// is guarded by SigHand.mu, since all that a timer does is to send a signal.
//
// A timer with an interval is set again when its signal is taken, not when it is sent, and what it
// missed meanwhile is its overrun count: a short interval cannot flood anybody.
//
// Timers of processor time are looked at when the process could have used that much since the
// last look. When a look finds the process asleep no other is planned; its tasks make one when they wake
// up (workResume), so that a process that sleeps costs nothing.

// PosixTimer is a timer of timer_create(2).
type PosixTimer struct {
	proc   *Process
	id     int32
	clock  int32
	cpu    cpuClock // if proc is set
	off    int64    // what the creator's time namespace adds to the clock
	notify int32    // SIGEV_*
	target *Task    // SIGEV_THREAD_ID
	entry  sigEntry

	interval int64
	expiry   int64 // in the clock's time; 0: disarmed
	timer    *time.Timer
	gen      uint64 // changes with every setting, so that a late callback knows

	overrun int32
	// queued: entry is in a queue. ignored: the signal was ignored, and the timer waits until it is not.
	queued, ignored bool
	deleted         bool
	charged         *atomic.Int64
}

const (
	sigevSignal   = 0
	sigevNone     = 1
	sigevThread   = 2
	sigevThreadID = 4

	// maxTimers is more than RLIMIT_SIGPENDING lets anybody have.
	maxTimers = math.MaxInt32
)

// itimer is ITIMER_VIRTUAL or ITIMER_PROF.
type itimer struct{ expiry, interval int64 }

// processTimers are a process's timers. Guarded by SigHand.mu.
type processTimers struct {
	proc *Process

	// ITIMER_REAL, in nanotime.
	real      *time.Timer
	realAt    int64
	realEvery int64
	realGen   uint64

	virt, prof itimer

	posix  map[int32]*PosixTimer
	nextID int32

	// cpuLimitAt is the processor time at which RLIMIT_CPU is looked at next; 0 if it is not set.
	cpuLimitAt int64
	// look is when the timers of processor time are looked at next.
	look     *time.Timer
	lookCPU  int64 // processor time at the last look
	parked   atomic.Bool
	lookOn   bool
	prefer   int // the thread that got the last signal of such a timer
	released bool
}

func (pt *processTimers) init(p *Process) { pt.proc = p }

// Sigevent is struct sigevent.
type Sigevent struct {
	Value  uint64
	Signo  int32
	Notify int32
	TID    int32
	_      [44]byte
}

// TimerSpec is struct itimerspec in nanoseconds.
type TimerSpec struct{ Interval, Value int64 }

// CreateTimer is timer_create(2). ev may be nil.
func (t *Task) CreateTimer(clock int32, ev *Sigevent) (int32, error) {
	pt := &PosixTimer{proc: t.proc, clock: clock}
	if _, wall := t.wallClock(clock); wall {
		if err := t.sleepable(clock); err != nil {
			return 0, err
		}
		mono, boot := t.timeOffsets()
		switch clock {
		case unix.CLOCK_MONOTONIC:
			pt.off = mono
		case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
			pt.off = boot
		}
	} else {
		c, err := t.cpuClockOf(clock, false)
		if err != nil {
			return 0, err
		}
		if c.proc != t.proc {
			return 0, unix.EINVAL
		}
		pt.cpu = c
	}
	info := &pt.entry.info
	pt.entry.timer = pt
	info.Code = SiTimer
	if ev == nil {
		info.Signo = int32(unix.SIGALRM)
	} else {
		pt.notify = ev.Notify
		info.Signo = ev.Signo
		info.SetValue(ev.Value)
		switch ev.Notify {
		case sigevSignal | sigevThreadID:
			t.k.tasks.RLock()
			o := t.PIDNS().findTask(ev.TID)
			t.k.tasks.RUnlock()
			if o == nil || o.proc != t.proc {
				return 0, unix.EINVAL
			}
			pt.target = o
			fallthrough
		case sigevSignal, sigevThread:
			if ev.Signo <= 0 || ev.Signo > NumSignals {
				return 0, unix.EINVAL
			}
		case sigevNone:
		default:
			return 0, unix.EINVAL
		}
	}
	// The entry is part of the user's queued signals as long as the timer lives.
	charge := t.k.chargeSignal(t.Cred(), t.Limit(unix.RLIMIT_SIGPENDING), false)
	if charge == nil {
		return 0, unix.EAGAIN
	}
	p := t.proc
	sh := p.lockSig()
	defer sh.mu.Unlock()
	ts := &p.timers
	if ts.posix == nil {
		ts.posix = make(map[int32]*PosixTimer)
	}
	if len(ts.posix) >= maxTimers {
		charge.Add(-1)
		return 0, unix.EAGAIN
	}
	for ts.posix[ts.nextID] != nil {
		ts.nextID = (ts.nextID + 1) & math.MaxInt32
	}
	pt.id = ts.nextID
	ts.nextID = (ts.nextID + 1) & math.MaxInt32
	info.SetTimerID(pt.id)
	if ev == nil {
		info.SetValue(uint64(pt.id))
	}
	pt.charged = charge
	ts.posix[pt.id] = pt
	return pt.id, nil
}

// now reads the timer's clock. SigHand.mu is held.
func (pt *PosixTimer) now() int64 {
	if c := &pt.cpu; c.proc != nil {
		var user, sys time.Duration
		if c.task != nil {
			user, sys = c.task.cpuTime()
		} else {
			user, sys = c.proc.cpuTimeLocked()
		}
		if c.kind == cpuClockVirt {
			return int64(user)
		}
		return int64(user + sys)
	}
	switch pt.clock {
	case unix.CLOCK_MONOTONIC:
		return nanotime() + pt.off
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM:
		return time.Now().UnixNano()
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return hostClock(unix.CLOCK_BOOTTIME) + pt.off
	}
	return hostClock(pt.clock)
}

// specLocked is what timer_gettime tells.
func (pt *PosixTimer) specLocked() TimerSpec {
	s := TimerSpec{Interval: pt.interval}
	if pt.expiry == 0 {
		return s
	}
	left := pt.expiry - pt.now()
	if left <= 0 && pt.interval > 0 && (pt.queued || pt.ignored || pt.notify == sigevNone) {
		left += (-left/pt.interval + 1) * pt.interval
	}
	if left <= 0 {
		if pt.notify == sigevNone {
			return s
		}
		left = 1
	}
	s.Value = left
	return s
}

// planLocked sets the host's timer, or the next look, for the expiry.
func (pt *PosixTimer) planLocked() {
	pt.gen++
	if pt.timer != nil {
		pt.timer.Stop()
		pt.timer = nil
	}
	if pt.expiry == 0 || pt.notify == sigevNone || pt.deleted {
		return
	}
	if pt.cpu.proc != nil {
		pt.proc.timers.planLookLocked()
		return
	}
	gen := pt.gen
	d := time.Duration(max(pt.expiry-pt.now(), 0))
	waitq.Expect(d)
	pt.timer = time.AfterFunc(d, func() {
		sh := pt.proc.lockSig()
		defer sh.mu.Unlock()
		if pt.gen == gen {
			pt.expireLocked()
		}
	})
}

// expireLocked sends the timer's signal if it is time.
func (pt *PosixTimer) expireLocked() {
	if pt.deleted || pt.expiry == 0 || pt.queued {
		return
	}
	if pt.now() < pt.expiry {
		pt.planLocked()
		return
	}
	pt.timer = nil
	pt.sendLocked()
}

// expire sends a signal that was ignored until now.
func (pt *PosixTimer) expire() {
	sh := pt.proc.lockSig()
	defer sh.mu.Unlock()
	if pt.ignored && !pt.deleted {
		pt.ignored = false
		if pt.expiry != 0 {
			pt.sendLocked()
		}
	}
}

func (pt *PosixTimer) sendLocked() {
	p, to := pt.proc, pt.target
	if pt.interval == 0 {
		pt.expiry = 0
	}
	if pt.queued || to != nil && to.sig.exiting {
		return
	}
	sig := pt.entry.info.Signo
	rep := to
	if rep == nil {
		if rep = p.timers.preferredLocked(&pt.cpu); rep == nil {
			return
		}
	}
	if !p.prepareLocked(sig, rep, true) {
		pt.ignored = pt.interval != 0
		return
	}
	q := &p.shared
	if to != nil {
		q = &to.sig.pending
	}
	pt.queued = true
	pt.entry.info.SetOverrun(0)
	q.push(&pt.entry)
	p.queuedLocked(q, sig, to, rep)
}

// takenLocked is called when the timer's signal is taken from its queue: the overrun is known now and the
// next expiry can be planned.
func (pt *PosixTimer) takenLocked(info *SigInfo) {
	pt.overrun = 0
	if pt.deleted {
		return
	}
	if pt.interval != 0 && pt.expiry != 0 {
		if late := pt.now() - pt.expiry; late >= 0 {
			n := late/pt.interval + 1
			pt.expiry += n * pt.interval
			pt.overrun = int32(min(n-1, math.MaxInt32))
		}
		pt.planLocked()
	}
	info.SetOverrun(pt.overrun)
}

func (t *Task) findTimerLocked(id int32) (*PosixTimer, error) {
	if pt := t.proc.timers.posix[id]; pt != nil {
		return pt, nil
	}
	return nil, unix.EINVAL
}

// SetTimer is timer_settime(2).
func (t *Task) SetTimer(id int32, absolute bool, n TimerSpec) (old TimerSpec, err error) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	pt, err := t.findTimerLocked(id)
	if err != nil {
		return old, err
	}
	old = pt.specLocked()
	pt.interval, pt.expiry, pt.overrun, pt.ignored = n.Interval, 0, 0, false
	if pt.queued {
		q := &t.proc.shared
		if pt.target != nil {
			q = &pt.target.sig.pending
		}
		q.drop(&pt.entry)
	}
	if n.Value != 0 {
		pt.expiry = n.Value
		if !absolute {
			pt.expiry = addTime(pt.now(), n.Value)
		}
	}
	pt.planLocked()
	return old, nil
}

// GetTimer is timer_gettime(2).
func (t *Task) GetTimer(id int32) (TimerSpec, error) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	pt, err := t.findTimerLocked(id)
	if err != nil {
		return TimerSpec{}, err
	}
	return pt.specLocked(), nil
}

// TimerOverrun is timer_getoverrun(2).
func (t *Task) TimerOverrun(id int32) (int32, error) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	pt, err := t.findTimerLocked(id)
	if err != nil {
		return 0, err
	}
	return pt.overrun, nil
}

// DeleteTimer is timer_delete(2).
func (t *Task) DeleteTimer(id int32) error {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	pt, err := t.findTimerLocked(id)
	if err != nil {
		return err
	}
	t.proc.timers.deleteLocked(pt)
	return nil
}

func (ts *processTimers) deleteLocked(pt *PosixTimer) {
	delete(ts.posix, pt.id)
	pt.deleted = true
	pt.expiry = 0
	pt.planLocked()
	if pt.queued {
		q := &ts.proc.shared
		if pt.target != nil {
			q = &pt.target.sig.pending
		}
		q.drop(&pt.entry)
	}
	if pt.charged != nil {
		pt.charged.Add(-1)
		pt.charged = nil
	}
}

// takeIgnored is the timers whose signal sig was ignored until now. SigHand.mu is held.
func (ts *processTimers) takeIgnored(sig int32) (l []*PosixTimer) {
	for _, pt := range ts.posix {
		if pt.ignored && pt.entry.info.Signo == sig {
			l = append(l, pt)
		}
	}
	return l
}

// flushedLocked is called when the pending signals sig have been dropped because they are ignored now.
func (ts *processTimers) flushedLocked(sig int32) {
	for _, pt := range ts.posix {
		if pt.entry.info.Signo == sig && pt.interval != 0 && pt.expiry != 0 && !pt.queued && pt.notify != sigevNone &&
			pt.now() >= pt.expiry {
			pt.ignored = true
		}
	}
}

// exec deletes the POSIX timers; interval timers go on.
func (ts *processTimers) exec() {
	sh := ts.proc.lockSig()
	defer sh.mu.Unlock()
	for _, pt := range ts.posix {
		ts.deleteLocked(pt)
	}
	ts.nextID = 0
}

// exitTimers stops all timers, when the last thread exits.
func (p *Process) exitTimers() {
	ts := &p.timers
	ts.exec()
	sh := p.lockSig()
	defer sh.mu.Unlock()
	ts.realGen++
	if ts.real != nil {
		ts.real.Stop()
	}
	ts.realAt, ts.realEvery = 0, 0
	ts.virt, ts.prof = itimer{}, itimer{}
	ts.cpuLimitAt = 0
	ts.released = true
	if ts.look != nil {
		ts.look.Stop()
	}
}

// Itimer is getitimer(2).
func (t *Task) Itimer(which int32) (TimerSpec, error) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	return t.proc.timers.itimerLocked(which)
}

func (ts *processTimers) itimerLocked(which int32) (s TimerSpec, err error) {
	var it *itimer
	var now int64
	switch which {
	case unix.ITIMER_REAL:
		s.Interval = ts.realEvery
		if ts.realAt != 0 {
			s.Value = max(ts.realAt-nanotime(), 1000)
		}
		return s, nil
	case unix.ITIMER_VIRTUAL:
		user, _ := ts.proc.cpuTimeLocked()
		it, now = &ts.virt, int64(user)
	case unix.ITIMER_PROF:
		user, sys := ts.proc.cpuTimeLocked()
		it, now = &ts.prof, int64(user+sys)
	default:
		return s, unix.EINVAL
	}
	s.Interval = it.interval
	if it.expiry != 0 {
		s.Value = max(it.expiry-now, 1000)
	}
	return s, nil
}

// SetItimer is setitimer(2), and with ITIMER_REAL alarm(2).
func (t *Task) SetItimer(which int32, n TimerSpec) (old TimerSpec, err error) {
	p := t.proc
	if which != unix.ITIMER_REAL {
	}
	sh := p.lockSig()
	defer sh.mu.Unlock()
	ts := &p.timers
	if old, err = ts.itimerLocked(which); err != nil {
		return old, err
	}
	switch which {
	case unix.ITIMER_REAL:
		ts.realEvery, ts.realAt = 0, 0
		if n.Value != 0 {
			ts.realEvery, ts.realAt = n.Interval, addTime(nanotime(), n.Value)
		}
		ts.planRealLocked()
		return old, nil
	case unix.ITIMER_VIRTUAL:
		ts.virt = itimer{interval: n.Interval}
		if n.Value != 0 {
			user, _ := p.cpuTimeLocked()
			ts.virt.expiry = addTime(int64(user), n.Value)
		}
	case unix.ITIMER_PROF:
		ts.prof = itimer{interval: n.Interval}
		if n.Value != 0 {
			user, sys := p.cpuTimeLocked()
			ts.prof.expiry = addTime(int64(user+sys), n.Value)
		}
	}
	ts.planLookLocked()
	return old, nil
}

func (ts *processTimers) planRealLocked() {
	ts.realGen++
	if ts.real != nil {
		ts.real.Stop()
		ts.real = nil
	}
	if ts.realAt == 0 || ts.released {
		return
	}
	gen := ts.realGen
	d := time.Duration(max(ts.realAt-nanotime(), 0))
	waitq.Expect(d)
	ts.real = time.AfterFunc(d, func() {
		p := ts.proc
		sh := p.lockSig()
		defer sh.mu.Unlock()
		if ts.realGen != gen {
			return
		}
		if ts.realEvery == 0 {
			ts.realAt = 0
		}
		_ = p.sendLocked(kernelInfo(unix.SIGALRM), nil, true)
	})
}

// alarmTakenLocked sets ITIMER_REAL again, when its SIGALRM has been taken.
func (ts *processTimers) alarmTakenLocked() {
	if ts.realEvery == 0 || ts.realAt == 0 {
		return
	}
	if late := nanotime() - ts.realAt; late >= 0 {
		ts.realAt += (late/ts.realEvery + 1) * ts.realEvery
		ts.planRealLocked()
	}
}

// cpuLimitChanged is called when RLIMIT_CPU of the process may have been set.
func (p *Process) cpuLimitChanged() {
	lim := p.Limit(unix.RLIMIT_CPU)
	sh := p.lockSig()
	defer sh.mu.Unlock()
	p.timers.cpuLimitAt = limitTime(lim.Cur)
	p.timers.planLookLocked()
}

func limitTime(seconds uint64) int64 {
	switch {
	case seconds == 0:
		return int64(time.Second) // Linux takes 0 for 1
	case seconds > math.MaxInt64/uint64(time.Second):
		return 0
	}
	return int64(seconds) * int64(time.Second)
}

// leftLocked is the processor time that may be used before some timer is due; false if there is none.
func (ts *processTimers) leftLocked() (left int64, ok bool) {
	user, sys := ts.proc.cpuTimeLocked()
	left = math.MaxInt64
	see := func(at, now int64) {
		if at != 0 {
			left, ok = min(left, at-now), true
		}
	}
	see(ts.virt.expiry, int64(user))
	see(ts.prof.expiry, int64(user+sys))
	see(ts.cpuLimitAt, int64(user+sys))
	for _, pt := range ts.posix {
		if pt.cpu.proc != nil && !pt.queued && !pt.ignored && pt.notify != sigevNone {
			see(pt.expiry, pt.now())
		}
	}
	return left, ok
}

// planLookLocked plans the next look at the timers of processor time.
func (ts *processTimers) planLookLocked() {
	left, ok := ts.leftLocked()
	if !ok || ts.released {
		if ts.look != nil {
			ts.look.Stop()
		}
		ts.lookOn = false
		return
	}
	busy := 0
	for _, t := range ts.proc.threads {
		if t.busy() {
			busy++
		}
	}
	left /= int64(max(1, min(busy, ts.proc.k.cpus)))
	ts.parked.Store(false)
	ts.lookOn = true
	d := max(time.Duration(left), 50*time.Microsecond)
	if ts.look == nil {
		ts.look = time.AfterFunc(d, ts.lookNow)
	} else {
		ts.look.Reset(d)
	}
}

// busy tells whether t runs, in the guest or in the sentry.
func (t *Task) busy() bool { return t.since.Load() != 0 }

// lookNow sends the signals of timers of processor time that are due, and plans the next look.
func (ts *processTimers) lookNow() {
	p := ts.proc
	sh := p.lockSig()
	defer sh.mu.Unlock()
	if ts.released || !ts.lookOn {
		return
	}
	user, sys := p.cpuTimeLocked()
	total := int64(user + sys)
	for _, x := range []struct {
		it  *itimer
		now int64
		sig unix.Signal
	}{{&ts.virt, int64(user), unix.SIGVTALRM}, {&ts.prof, total, unix.SIGPROF}} {
		if x.it.expiry == 0 || x.now < x.it.expiry {
			continue
		}
		x.it.expiry += x.it.interval
		if x.it.interval == 0 {
			x.it.expiry = 0
		} else if x.it.expiry <= x.now {
			x.it.expiry = x.now + x.it.interval
		}
		_ = p.sendPreferLocked(kernelInfo(x.sig), nil, ts.preferredLocked(nil), true)
	}
	if ts.cpuLimitAt != 0 && total >= ts.cpuLimitAt {
		lim := p.Limit(unix.RLIMIT_CPU)
		if hard := limitTime(lim.Max); hard != 0 && total >= hard {
			p.startGroupExitLocked(WaitStatus(unix.SIGKILL))
			return
		}
		ts.cpuLimitAt = (total/int64(time.Second) + 1) * int64(time.Second)
		_ = p.sendPreferLocked(kernelInfo(unix.SIGXCPU), nil, ts.preferredLocked(nil), true)
	}
	for _, pt := range ts.posix {
		if pt.cpu.proc != nil && pt.expiry != 0 && !pt.queued && !pt.ignored && pt.notify != sigevNone && pt.now() >= pt.expiry {
			pt.sendLocked()
		}
	}
	if total == ts.lookCPU && !ts.anyBusyLocked() {
		ts.parkLocked()
		return
	}
	ts.lookCPU = total
	ts.planLookLocked()
}

func (ts *processTimers) anyBusyLocked() bool {
	for _, t := range ts.proc.threads {
		if t.busy() {
			return true
		}
	}
	return false
}

// parkLocked stops looking until a task of the process runs again.
func (ts *processTimers) parkLocked() {
	if _, ok := ts.leftLocked(); !ok {
		ts.lookOn = false
		return
	}
	ts.parked.Store(true)
	for _, t := range ts.proc.threads {
		t.work.Or(workResume) // no kick: it need not wake up for this
	}
	if ts.anyBusyLocked() {
		ts.planLookLocked()
	}
}

// unpark goes on looking.
func (ts *processTimers) unpark() {
	if !ts.parked.Load() {
		return
	}
	sh := ts.proc.lockSig()
	defer sh.mu.Unlock()
	if ts.parked.Load() {
		ts.planLookLocked()
	}
}

// preferredLocked is the thread that a signal about processor time should go to: one that uses it.
func (ts *processTimers) preferredLocked(c *cpuClock) *Task {
	p := ts.proc
	if c != nil && c.task != nil {
		return c.task
	}
	if c == nil || c.proc != nil {
		n := len(p.threads)
		for i := range n {
			ts.prefer = (ts.prefer + 1) % n
			_ = i
			if t := p.threads[ts.prefer]; t.inGuest.Load() != 0 && !t.sig.exiting {
				return t
			}
		}
	}
	return p.someTask(nil)
}
