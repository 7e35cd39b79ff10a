package sentry

import (
	"math"
	"math/bits"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs/cred"
)

// Scheduling. The Go scheduler and the host decide what runs; policies, priorities and affinity
// are kept and told truthfully, and have no other effect. What is real is accounting.

// Scheduling policies.
const (
	SchedNormal   = 0
	SchedFIFO     = 1
	SchedRR       = 2
	SchedBatch    = 3
	SchedIdle     = 5
	SchedDeadline = 6
)

// taskSched is a task's scheduling parameters and accounting.
type taskSched struct {
	schedMu     sync.Mutex // protects the parameters
	policy      int32
	rtPriority  int32
	nice        int32
	resetOnFork bool
	deadline    [3]uint64 // runtime, deadline, period
	utilMin     uint32
	utilMax     uint32
	affinity    CPUSet     // setAffinity sets it
	ioc         *ioContext // nil: never set

	cpu atomic.Int32 // the first of affinity

	startTime int64 // Kernel.mono at creation

	// Accounting: written by the task's goroutine, read by anybody.
	userTime   atomic.Int64 // as of since
	sysTime    atomic.Int64
	since      atomic.Int64 // Kernel.acct when it was last charged; 0 while it sleeps
	state      atomic.Int32 // taskRunning ...
	nvcsw      atomic.Int64
	nivcsw     atomic.Int64
	minFlt     atomic.Int64
	majFlt     atomic.Int64
	finalUsage Usage // set at exit
}

// ioContext is an I/O priority, which tasks made with CLONE_IO share.
type ioContext struct{ prio atomic.Int32 }

// States of a task, beside stops and death.
const (
	taskRunning int32 = iota
	taskSleeping
	taskUninterruptible
	taskHalted // asleep in a stop: whether that still holds is for job control and tracer to say
)

// CPUSet is a set of processors.
type CPUSet [16]uint64

// MaxCPUs is how many processors a CPUSet can have.
const MaxCPUs = 16 * 64

// Has tells whether processor n is in s.
func (s *CPUSet) Has(n int) bool { return n >= 0 && n < MaxCPUs && s[n/64]>>(n%64)&1 != 0 }

// first is the lowest processor in s, or 0 if it is empty.
func (s *CPUSet) first() int {
	for i, w := range s {
		if w != 0 {
			return 64*i + bits.TrailingZeros64(w)
		}
	}
	return 0
}

// AllCPUs is the set of the sandbox's processors.
func (k *Kernel) AllCPUs() CPUSet {
	var s CPUSet
	for i := range min(k.cpus, MaxCPUs) {
		s[i/64] |= 1 << (i % 64)
	}
	return s
}

// Usage is what getrusage(2) tells.
type Usage struct {
	User, System     time.Duration
	MinFlt, MajFlt   int64
	Nvcsw, Nivcsw    int64
	InBlock, OuBlock int64
	MaxRSS           uint64 // bytes
}

func (u *Usage) add(o *Usage) {
	u.User += o.User
	u.System += o.System
	u.MinFlt += o.MinFlt
	u.MajFlt += o.MajFlt
	u.Nvcsw += o.Nvcsw
	u.Nivcsw += o.Nivcsw
	u.InBlock += o.InBlock
	u.OuBlock += o.OuBlock
	u.MaxRSS = max(u.MaxRSS, o.MaxRSS)
}

// Rusage is u in the layout of the ABI.
func (u *Usage) Rusage() unix.Rusage {
	return unix.Rusage{
		Utime: unix.NsecToTimeval(int64(u.User)), Stime: unix.NsecToTimeval(int64(u.System)),
		Maxrss: int64(u.MaxRSS >> 10), Minflt: u.MinFlt, Majflt: u.MajFlt,
		Inblock: u.InBlock, Oublock: u.OuBlock, Nvcsw: u.Nvcsw, Nivcsw: u.Nivcsw,
	}
}

// clockTicks is a time in USER_HZ.
func clockTicks(d time.Duration) int64 { return int64(d / (time.Second / 100)) }

// charge adds the time since the last charge to what the task did since.
func (t *Task) charge(to *atomic.Int64) {
	if now, since := t.k.acct(), t.since.Load(); now != since {
		to.Add(now - since)
		t.since.Store(now)
	}
}

// sleepBegin and sleepEnd enclose a wait.
func (t *Task) sleepBegin(interruptible bool) {
	t.charge(&t.sysTime)
	t.since.Store(0)
	t.nvcsw.Add(1)
	t.k.switches.Add(1)
	if interruptible {
		t.state.Store(taskSleeping)
	} else {
		t.state.Store(taskUninterruptible)
	}
	t.rseqSleep()
	if t.asleep != nil {
		t.asleep.Sleep()
	}
	t.k.endRunning()
}

func (t *Task) sleepEnd() {
	t.k.beginRunning()
	if t.asleep != nil {
		t.asleep.Wake()
	}
	t.state.Store(taskRunning)
	t.since.Store(t.k.acct())
	t.rseq.since.Store(t.k.acct())
}

// cpuTime is the processor time that the task has used. Any goroutine may call it.
func (t *Task) cpuTime() (user, system time.Duration) {
	u, s, now := t.userTime.Load(), t.sysTime.Load(), t.k.acct()
	if since := t.since.Load(); since != 0 && now > since {
		if t.inGuest.Load() != 0 {
			u += now - since
		} else {
			s += now - since
		}
	}
	return time.Duration(u), time.Duration(s)
}

// CPUTime is the processor time that the task has used.
func (t *Task) CPUTime() (user, system time.Duration) { return t.cpuTime() }

// cpuTime is the processor time of all threads, the dead ones included.
func (p *Process) cpuTime() (user, system time.Duration) {
	u := p.Usage()
	return u.User, u.System
}

// CPUTime is the processor time of all threads, the dead ones included.
func (p *Process) CPUTime() (user, system time.Duration) { return p.cpuTime() }

// usage is the task's own usage.
func (t *Task) usage() Usage {
	user, system := t.cpuTime()
	return Usage{User: user, System: system, MinFlt: t.minFlt.Load(), MajFlt: t.majFlt.Load(),
		Nvcsw: t.nvcsw.Load(), Nivcsw: t.nivcsw.Load()}
}

// Usage is the task's own usage, with the process's resident set.
func (t *Task) Usage() Usage {
	u := t.usage()
	u.MaxRSS = t.proc.rss(t)
	return u
}

// Usage is that of all threads, living and dead.
func (p *Process) Usage() Usage {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.usageLocked(nil)
}

// ChildUsage is that of the children waited for.
func (p *Process) ChildUsage() Usage {
	p.acctMu.Lock()
	defer p.acctMu.Unlock()
	return p.childUsage
}

// usageLocked is Usage with Kernel.tasks held.
func (p *Process) usageLocked(_ *Task) Usage {
	p.acctMu.Lock()
	u := p.deadUsage
	p.acctMu.Unlock()
	counted := false
	for _, t := range p.threads {
		x := t.usage()
		if t.dead {
			x = t.finalUsage
		}
		u.add(&x)
		if counted {
			continue
		}
		// All threads have the same memory; it counts page faults itself.
		t.mu.Lock()
		if t.mm != nil {
			m := t.mm.Usage()
			u.MaxRSS = max(u.MaxRSS, m.VmHWM)
			u.MinFlt += int64(m.MinFlt)
			u.MajFlt += int64(m.MajFlt)
			counted = true
		}
		t.mu.Unlock()
	}
	return u
}

// rss is the largest resident set so far.
func (p *Process) rss(t *Task) uint64 {
	p.acctMu.Lock()
	peak := p.deadUsage.MaxRSS
	p.acctMu.Unlock()
	t.mu.Lock()
	if t.mm != nil {
		peak = max(peak, t.mm.Usage().VmHWM)
	}
	t.mu.Unlock()
	return peak
}

// noteRSS keeps the resident set of memory that the process gives up.
func (p *Process) noteRSS(as *mm.AddressSpace) {
	if as == nil {
		return
	}
	u := as.Usage()
	p.acctMu.Lock()
	p.deadUsage.MaxRSS = max(p.deadUsage.MaxRSS, u.VmHWM)
	if as.Users() == 1 {
		p.deadUsage.MinFlt += int64(u.MinFlt)
		p.deadUsage.MajFlt += int64(u.MajFlt)
	}
	p.acctMu.Unlock()
}

// finishAccounting fixes the task's usage when it dies.
func (t *Task) finishAccounting() {
	t.charge(&t.sysTime)
	t.since.Store(0)
	t.finalUsage = t.usage()
	t.leaveIO()
}

// countFault counts a page fault that ended in a signal; mm counts the others.
func (t *Task) countFault(*mm.FaultError) { t.minFlt.Add(1) }

// cpuTicks is utime and stime for SIGCHLD: of the task alone or of its process. Kernel.tasks is held.
func (t *Task) cpuTicks(alone bool) (utime, stime int64) {
	u := t.usage()
	if !alone {
		u = t.proc.usageLocked(nil)
	}
	return clockTicks(u.User), clockTicks(u.System)
}

// State is the letter of /proc/PID/stat and status.
func (t *Task) State() byte {
	t.k.tasks.RLock()
	dead, released := t.dead, t.released
	t.k.tasks.RUnlock()
	switch {
	case released:
		return 'X'
	case dead:
		return 'Z'
	}
	stopped, traced := t.Stopped()
	switch {
	case traced:
		return 't'
	case stopped:
		return 'T'
	}
	switch t.state.Load() {
	case taskSleeping:
		if t.Interrupted() {
			return 'R' // it has been woken and only did not run yet
		}
		return 'S'
	case taskUninterruptible:
		return 'D'
	}
	return 'R'
}

// StartTime is when the task was made, since the sandbox booted.
func (t *Task) StartTime() time.Duration { return time.Duration(t.startTime) }

// Switches are voluntary and involuntary context switches.
func (t *Task) Switches() (voluntary, involuntary int64) { return t.nvcsw.Load(), t.nivcsw.Load() }

// CPU is the processor that getcpu(2) names: the first that the task may run on, since the
// host moves it as it likes.
func (t *Task) CPU() int { return int(t.cpu.Load()) }

// setAffinity sets it. schedMu is held unless nobody else knows the task yet.
func (s *taskSched) setAffinity(set CPUSet) {
	s.affinity = set
	s.cpu.Store(int32(set.first()))
}

// Sched is a task's scheduling parameters as others see them.
type Sched struct {
	Policy, RTPriority, Nice  int32
	ResetOnFork               bool
	Runtime, Deadline, Period uint64
	UtilMin, UtilMax          uint32
}

// Sched returns the parameters.
func (t *Task) Sched() Sched {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	return Sched{Policy: t.policy, RTPriority: t.rtPriority, Nice: t.nice, ResetOnFork: t.resetOnFork,
		Runtime: t.deadline[0], Deadline: t.deadline[1], Period: t.deadline[2], UtilMin: t.utilMin, UtilMax: t.utilMax}
}

// inherit copies the parameters for a new task.
func (s *taskSched) inherit(t *Task, flags uint64) {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	s.policy, s.rtPriority, s.nice = t.policy, t.rtPriority, t.nice
	s.setAffinity(t.affinity)
	if s.ioc = t.ioc; s.ioc != nil && flags&unix.CLONE_IO == 0 {
		s.ioc = new(ioContext)
		s.ioc.prio.Store(t.ioc.prio.Load())
	}
	s.utilMin, s.utilMax = t.utilMin, t.utilMax
	if t.resetOnFork {
		if s.policy == SchedFIFO || s.policy == SchedRR || s.policy == SchedDeadline {
			s.policy, s.rtPriority, s.nice = SchedNormal, 0, 0
		} else if s.nice < 0 {
			s.nice = 0
		}
	}
}

// sameOwner tells whether t may change another's parameters without a capability.
func (t *Task) sameOwner(o *Task) bool {
	c, oc := t.Cred(), o.Cred()
	return t.proc == o.proc && t == o || c.EUID == oc.EUID || c.EUID == oc.UID
}

// SetSched is sched_setscheduler, sched_setparam and sched_setattr: t changes o.
func (t *Task) SetSched(o *Task, n Sched) error {
	switch n.Policy {
	case SchedNormal, SchedBatch, SchedIdle:
		if n.RTPriority != 0 {
			return unix.EINVAL
		}
	case SchedFIFO, SchedRR:
		if n.RTPriority < 1 || n.RTPriority > 99 {
			return unix.EINVAL
		}
	case SchedDeadline:
		if n.Period == 0 {
			n.Period = n.Deadline
		}
		if n.RTPriority != 0 || n.Deadline == 0 || n.Runtime < 1<<10 || n.Runtime > n.Deadline || n.Deadline > n.Period ||
			n.Deadline>>63 != 0 || n.Period>>63 != 0 {
			return unix.EINVAL
		}
	default:
		return unix.EINVAL
	}
	cur := o.Sched()
	priv := t.Cred().HasIn(o.Cred().UserNS, unix.CAP_SYS_NICE)
	if !priv {
		if (n.Policy == SchedNormal || n.Policy == SchedBatch) && n.Nice < cur.Nice && !o.mayNice(n.Nice) {
			return unix.EPERM
		}
		if n.Policy == SchedFIFO || n.Policy == SchedRR {
			lim := int64(min(o.Limit(unix.RLIMIT_RTPRIO), 99))
			if n.Policy != cur.Policy && lim == 0 {
				return unix.EPERM
			}
			if n.RTPriority > cur.RTPriority && int64(n.RTPriority) > lim {
				return unix.EPERM
			}
		}
		if n.Policy == SchedDeadline {
			return unix.EPERM
		}
		if cur.Policy == SchedIdle && n.Policy != SchedIdle && !o.mayNice(cur.Nice) {
			return unix.EPERM
		}
		if !t.sameOwner(o) {
			return unix.EPERM
		}
		if cur.ResetOnFork && !n.ResetOnFork {
			return unix.EPERM
		}
	}
	o.schedMu.Lock()
	defer o.schedMu.Unlock()
	o.policy, o.rtPriority, o.resetOnFork = n.Policy, n.RTPriority, n.ResetOnFork
	o.utilMin, o.utilMax = n.UtilMin, n.UtilMax
	o.deadline = [3]uint64{}
	switch n.Policy {
	case SchedNormal, SchedBatch:
		o.nice = n.Nice
	case SchedDeadline:
		o.deadline = [3]uint64{n.Runtime, n.Deadline, n.Period}
	}
	return nil
}

// mayNice tells whether RLIMIT_NICE allows the value.
func (t *Task) mayNice(nice int32) bool {
	return uint64(20-nice) <= t.Limit(unix.RLIMIT_NICE)
}

// SetNice is setpriority(2) for one task.
func (t *Task) SetNice(o *Task, nice int32) error {
	nice = max(-20, min(19, nice))
	c, oc := t.Cred(), o.Cred()
	if c.UID != oc.UID && c.EUID != oc.EUID && c.EUID != oc.UID && !c.HasIn(oc.UserNS, unix.CAP_SYS_NICE) {
		return unix.EPERM
	}
	if nice < o.Sched().Nice && !o.mayNice(nice) && !c.HasInitial(unix.CAP_SYS_NICE) {
		return unix.EACCES
	}
	o.schedMu.Lock()
	o.nice = nice
	o.schedMu.Unlock()
	return nil
}

// Affinity is the set of processors that the task may run on.
func (t *Task) Affinity() CPUSet {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	return t.affinity
}

// SetAffinity is sched_setaffinity(2): t changes o.
func (t *Task) SetAffinity(o *Task, set CPUSet) error {
	if !t.sameOwner(o) && !t.Cred().HasIn(o.Cred().UserNS, unix.CAP_SYS_NICE) {
		return unix.EPERM
	}
	all := t.k.AllCPUs()
	any := false
	for i := range set {
		set[i] &= all[i]
		any = any || set[i] != 0
	}
	if !any {
		return unix.EINVAL
	}
	o.schedMu.Lock()
	o.setAffinity(set)
	o.schedMu.Unlock()
	o.setWork(workResume) // its processor for rseq(2) may be another now
	return nil
}

// IOPrio is ioprio_get(2) of one task, SetIOPrio sets it.
func (t *Task) IOPrio() int32 {
	t.schedMu.Lock()
	defer t.schedMu.Unlock()
	if t.ioc == nil {
		return 0
	}
	return t.ioc.prio.Load()
}

// SetIOPrio sets the I/O priority of o for t.
func (t *Task) SetIOPrio(o *Task, prio int32) error {
	c, oc := t.Cred(), o.Cred()
	if oc.UID != c.EUID && oc.UID != c.UID && !c.HasInitial(unix.CAP_SYS_NICE) {
		return unix.EPERM
	}
	o.schedMu.Lock()
	if o.ioc == nil {
		o.ioc = new(ioContext)
	}
	o.ioc.prio.Store(prio)
	o.schedMu.Unlock()
	return nil
}

// SchedTask is the task with this id in the caller's pid namespace, 0 the caller.
func (t *Task) SchedTask(pid int32) (*Task, error) {
	if pid < 0 {
		return nil, unix.EINVAL
	}
	if pid == 0 {
		return t, nil
	}
	if o := t.k.Task(t.PIDNS(), pid); o != nil {
		return o, nil
	}
	return nil, unix.ESRCH
}

// What getpriority and ioprio_get select tasks by.
const (
	PrioProcess = iota
	PrioPgrp
	PrioUser
)

// Select calls f for the tasks that a PRIO_* selector means.
func (t *Task) Select(which int, who int32, f func(*Task)) error {
	var list []*Task
	k, ns := t.k, t.PIDNS()
	k.tasks.RLock()
	switch which {
	case PrioProcess:
		if who == 0 {
			list = append(list, t)
		} else if o := ns.findTask(who); o != nil {
			list = append(list, o)
		}
	case PrioPgrp:
		pgrp := t.proc.pgrp
		if who != 0 {
			pgrp = ns.findPID(who)
		}
		if pgrp != nil {
			for _, p := range pgrp.pgrp {
				list = append(list, p.threads...)
			}
		}
	case PrioUser:
		uid := t.Cred().UID
		if who != 0 {
			if uid = t.Cred().UserNS.MapUIDToKernel(uint32(who)); uid == cred.Invalid {
				k.tasks.RUnlock()
				return unix.ESRCH
			}
		}
		for _, pid := range ns.pids {
			if o := pid.task; o != nil && o.Cred().UID == uid {
				list = append(list, o)
			}
		}
	default:
		k.tasks.RUnlock()
		return unix.EINVAL
	}
	k.tasks.RUnlock()
	for _, o := range list {
		f(o)
	}
	if len(list) == 0 {
		return unix.ESRCH
	}
	return nil
}

// loadAverage is the average number of running tasks, computed when it is asked for.
type loadAverage struct {
	mu   sync.Mutex
	last time.Duration
	avg  [3]float64
}

// LoadAverage is what /proc/loadavg and sysinfo tell. It is sampled when somebody looks, so that
// an idle sandbox needs no timer.
func (k *Kernel) LoadAverage() [3]float64 {
	l := &k.load
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Duration(k.mono())
	dt := (now - l.last).Seconds()
	if dt < 0.1 {
		return l.avg
	}
	l.last = now
	n := float64(max(k.running.Load(), 0))
	for i, period := range [3]float64{60, 300, 900} {
		e := math.Exp(-dt / period)
		l.avg[i] = l.avg[i]*e + n*(1-e)
	}
	return l.avg
}

func sortBy[T any](list []T, key func(T) int32) {
	sort.Slice(list, func(i, j int) bool { return key(list[i]) < key(list[j]) })
}
