package sentry

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// ptrace(2), the part of the traced task: attaching, stops and their ends. The requests that a
// tracer makes of a stopped task are in ptrace_requests.go.
//
// A traced task stops in ptraceStopLocked, on its own goroutine, which then waits. What belongs to the
// goroutine (registers, memory, the platform's context) is the tracer's while it holds tracing.access
// of a stopped task: the task takes that lock before it leaves the stop.

// taskTrace is a task's part of ptrace, as tracee and as tracer.
type taskTrace struct {
	// Protected by Kernel.tasks for writing together with the tracee's SigHand.mu; either is enough
	// for reading.
	tracer *Task

	// Protected by Kernel.tasks.
	tracees []*Task

	// Protected by the task's SigHand.mu.
	seized  bool
	options uint32
	stopped bool
	// code is what wait4 says of the stop (0 once told); the tracer leaves the signal to go on with here.
	code    uint32
	message uint64
	info    *SigInfo
	left    chan struct{} // closed at the end of the stop
	calls   chan func()   // what the tracer wants the goroutine of the stopped task to do

	// Set by the tracer in a stop.
	sysTrace, sysEmu bool
	step             bool

	access sync.Mutex
}

// ptraceEventMask are the options that report an event of the same number.
func ptraceOption(event int) uint32 { return 1 << uint(event) }

const (
	ptraceOptions = 0xff | unix.PTRACE_O_EXITKILL

	eventmsgSyscallEntry = 1
	eventmsgSyscallExit  = 2
)

// tracer is the task that traces t, or nil. Kernel.tasks is held at least for reading, or SigHand.mu.
func (t *Task) tracer() *Task { return t.tracing.tracer }

// Tracer is the id in ns of the task that traces t, 0 if there is none (TracerPid of /proc/PID/status).
func (t *Task) Tracer(ns *PIDNamespace) int32 {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	if t.tracing.tracer == nil {
		return 0
	}
	return t.tracing.tracer.PID().In(ns)
}

// linkLocked makes tracer trace t. Kernel.tasks is held for writing.
func (t *Task) linkTracer(tracer *Task, seized bool, options uint32) {
	sh := t.proc.lockSig()
	t.tracing.tracer = tracer
	t.tracing.seized, t.tracing.options = seized, options
	sh.mu.Unlock()
	tracer.tracing.tracees = append(tracer.tracing.tracees, t)
}

// traceSlowly has the platform run a traced program in the way that looks the same as Linux to a debugger, if it has another.
// Where that fails it goes on as before.
func traceSlowly(as *mm.AddressSpace) {
	if m, ok := as.Platform().(platform.Mover); ok {
		_ = m.Move("ptrace")
	}
}

// ptraceUnlink ends the tracing of t; it goes back to stopping with its process. Kernel.tasks is held
// for writing.
func (t *Task) ptraceUnlink() {
	tracer := t.tracing.tracer
	if tracer == nil {
		return
	}
	tracer.tracing.tracees = remove(tracer.tracing.tracees, t)
	sh := t.proc.lockSig()
	tr := &t.tracing
	tr.tracer, tr.seized, tr.options = nil, false, 0
	tr.sysTrace, tr.sysEmu, tr.step = false, false, false
	t.traceWork()
	t.clearJobctlLocked(jobctlTrapMask)
	p := t.proc
	if !t.sig.exiting && (p.stopped || p.stopCount > 0) && !p.groupExit {
		t.sig.jobctl |= jobctlStopPending
		if t.sig.jobctl&jobctlSignalMask == 0 {
			t.sig.jobctl |= uint32(unix.SIGSTOP)
		}
	}
	wasStopped := tr.stopped
	tr.stopped = false
	if wasStopped || t.sig.jobctl&jobctlStopPending != 0 {
		t.signalWake()
	}
	sh.mu.Unlock()
}

// traceWork sets the work flag that the trace state needs.
func (t *Task) traceWork() {
	if t.tracing.sysTrace || t.tracing.sysEmu || t.tracing.step {
		t.work.Or(workTrace)
		t.noAnswers()
	} else {
		t.work.And(^workTrace)
	}
}

// PtraceMode says how ptraceMayAccess looks at the caller.
type PtraceMode uint8

const (
	// PtraceRead is looking (/proc/PID/maps and the like), PtraceAttach is more.
	PtraceRead PtraceMode = 1 << iota
	PtraceAttach
	// PtraceRealCreds uses the caller's real ids and permitted capabilities instead of the
	// filesystem ids and the effective ones.
	PtraceRealCreds
)

// PtraceMayAccess tells whether t may look into o (Linux: ptrace_may_access).
func (t *Task) PtraceMayAccess(o *Task, mode PtraceMode) bool {
	if t.proc == o.proc {
		return true
	}
	c, oc := t.Cred(), o.Cred()
	uid, gid, caps := c.FSUID, c.FSGID, c.Effective
	if mode&PtraceRealCreds != 0 {
		uid, gid, caps = c.UID, c.GID, c.Permitted
	}
	same := uid == oc.EUID && uid == oc.SUID && uid == oc.UID && gid == oc.EGID && gid == oc.SGID && gid == oc.GID
	capable := c.HasIn(oc.UserNS, unix.CAP_SYS_PTRACE)
	if !same && !capable {
		return false
	}
	if !o.dumpable() && !capable {
		return false
	}
	if c.UserNS == oc.UserNS && oc.Permitted&^caps == 0 {
		return true
	}
	return capable
}

// PtraceTraceme is PTRACE_TRACEME.
func (t *Task) PtraceTraceme() error {
	err := t.ptraceTraceme()
	if err == nil {
		traceSlowly(t.mm)
	}
	return err
}

func (t *Task) ptraceTraceme() error {
	k := t.k
	k.tasks.Lock()
	defer k.unlockTasks()
	tracer := t.proc.parentTask
	if t.tracing.tracer != nil || tracer == nil || tracer.exiting.Load() {
		return unix.EPERM
	}
	t.linkTracer(tracer, false, 0)
	return nil
}

// PtraceAttach is PTRACE_ATTACH and PTRACE_SEIZE.
func (t *Task) PtraceAttach(tid int32, seize bool, addr, options uint64) error {
	if seize && (addr != 0 || options&^uint64(ptraceOptions) != 0) {
		return unix.EIO
	}
	o, err := t.ptraceAttach(tid, seize, options)
	if err == nil {
		if as := o.GetMM(); as != nil {
			traceSlowly(as)
			as.DecUsers()
		}
	}
	return err
}

func (t *Task) ptraceAttach(tid int32, seize bool, options uint64) (*Task, error) {
	k := t.k
	k.tasks.Lock()
	defer k.unlockTasks()
	o := t.PIDNS().findTask(tid)
	if o == nil {
		return nil, unix.ESRCH
	}
	if o.proc == t.proc || !t.PtraceMayAccess(o, PtraceAttach|PtraceRealCreds) || o.dead || o.tracing.tracer != nil {
		return nil, unix.EPERM
	}
	o.linkTracer(t, seize, uint32(options))
	sh := o.proc.lockSig()
	if !seize {
		_ = o.proc.sendLocked(kernelInfo(unix.SIGSTOP), o, true)
	}
	// A task that is stopped already stops again, now for the tracer.
	if o.sig.jobctl&jobctlStopped != 0 && o.setJobctlLocked(jobctlTrapStop) {
		o.sig.jobctl &^= jobctlStopped
		o.signalWake()
	}
	sh.mu.Unlock()
	return o, nil
}

// ptraceStopLocked stops t for its tracer until that lets it go on, and returns what the tracer said
// to go on with. sh, locked, is unlocked meanwhile, and is the process's current one afterwards.
func (t *Task) ptraceStopLocked(sh **SigHand, code uint32, why int32, message uint64, info *SigInfo) uint32 {
	tr := &t.tracing
	if tr.tracer == nil || t.Fatal() {
		return code
	}
	tr.stopped = true
	tr.code, tr.message, tr.info = code, message, info
	tr.left, tr.calls = make(chan struct{}), make(chan func())
	last := false
	if why == cldStopped && t.sig.jobctl&jobctlStopPending != 0 {
		last = t.participateInStopLocked()
	}
	t.clearJobctlLocked(jobctlTrapStop)
	if info != nil && info.Code>>8 == unix.PTRACE_EVENT_STOP {
		t.clearJobctlLocked(jobctlTrapNotify)
	}
	(*sh).mu.Unlock()

	t.k.tasks.RLock()
	traced := tr.tracer != nil
	if traced {
		t.notifyStopLocked(true, why)
	}
	if last && (!traced || tr.tracer.proc != t.proc.parent) {
		t.notifyStopLocked(false, why)
	}
	t.k.tasks.RUnlock()
	if last {
		t.proc.stoppedOutside()
	}

	t.sleepBegin(true)
	t.state.Store(taskHalted)
	for {
		*sh = t.proc.lockSig()
		if !tr.stopped || t.Fatal() {
			tr.stopped = false
			break
		}
		(*sh).mu.Unlock()
		select {
		case <-t.wake:
		case f := <-tr.calls:
			f()
		}
	}
	close(tr.left)
	(*sh).mu.Unlock()
	// Let the tracer finish what it does, then take back what is ours.
	tr.access.Lock()
	//lint:ignore SA2001 a barrier
	tr.access.Unlock()
	t.sleepEnd()
	*sh = t.proc.lockSig()
	code = tr.code
	tr.code, tr.message, tr.info = 0, 0, nil
	t.sig.jobctl &^= jobctlListening
	t.recalcLocked()
	return code
}

// ptraceStopInfoLocked is ptraceStopLocked with the siginfo that stops of the kernel's own have.
func (t *Task) ptraceStopInfoLocked(sh **SigHand, code uint32, why int32, message uint64) uint32 {
	info := &SigInfo{Signo: int32(unix.SIGTRAP), Code: int32(code)}
	info.SetPID(t.PID().In(t.PIDNS()))
	info.SetUID(munged(t.Cred().UserNS.MapUIDFromKernel(t.Cred().UID)))
	return t.ptraceStopLocked(sh, code, why, message, info)
}

// ptraceNotify stops t with code, if it is traced.
func (t *Task) ptraceNotify(code uint32, message uint64) uint32 {
	sh := t.proc.lockSig()
	if t.tracing.tracer == nil {
		sh.mu.Unlock()
		return 0
	}
	r := t.ptraceStopInfoLocked(&sh, code, cldTrapped, message)
	sh.mu.Unlock()
	return r
}

// ptraceEvent stops t for PTRACE_EVENT_* if its tracer asked for them.
func (t *Task) ptraceEvent(event int, message uint64) {
	if t.ptraceEventEnabled(event) {
		t.ptraceNotify(uint32(event)<<8|uint32(unix.SIGTRAP), message)
	}
}

func (t *Task) ptraceEventEnabled(event int) bool {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	return t.tracing.tracer != nil && t.tracing.options&ptraceOption(event) != 0
}

// ptraceEventPID is ptraceEvent with a thread id, as the tracer sees it.
func (t *Task) ptraceEventPID(event int, pid *PID) {
	t.k.tasks.RLock()
	var nr int32
	if tr := t.tracing.tracer; tr != nil {
		nr = pid.In(tr.PIDNS())
	}
	t.k.tasks.RUnlock()
	t.ptraceEvent(event, uint64(nr))
}

// ptraceCloneEvent is the event that a clone with these flags reports, 0 for none.
func (t *Task) ptraceCloneEvent(flags uint64, exitSignal int32) int {
	if flags&unix.CLONE_UNTRACED != 0 {
		return 0
	}
	event := unix.PTRACE_EVENT_FORK
	switch {
	case flags&unix.CLONE_VFORK != 0:
		event = unix.PTRACE_EVENT_VFORK
	case exitSignal != int32(unix.SIGCHLD):
		event = unix.PTRACE_EVENT_CLONE
	}
	if !t.ptraceEventEnabled(event) {
		return 0
	}
	return event
}

// ptraceClone lets the tracer of t trace its new child too, which begins stopped: when an event is to be
// reported, or CLONE_PTRACE says so. Kernel.tasks is held for writing; child does not run yet.
func (t *Task) ptraceClone(child *Task, event int, flags uint64) {
	if t.tracing.tracer == nil || event == 0 && flags&unix.CLONE_PTRACE == 0 {
		return
	}
	child.linkTracer(t.tracing.tracer, t.tracing.seized, t.tracing.options)
	if t.tracing.seized {
		child.sig.jobctl |= jobctlTrapStop
	} else {
		child.sig.pending.set.add(int32(unix.SIGSTOP))
	}
	child.work.Or(workSignal)
}

// ptraceExecStop is the stop at the end of execve; oldTID is the thread's former id for its tracer.
func (t *Task) ptraceExecStop(oldTID int32) {
	sh := t.proc.lockSig()
	traced, seized := t.tracing.tracer != nil, t.tracing.seized
	sh.mu.Unlock()
	if traced {
		traceSlowly(t.mm)
	}
	switch {
	case !traced:
	case t.ptraceEventEnabled(unix.PTRACE_EVENT_EXEC):
		t.ptraceEvent(unix.PTRACE_EVENT_EXEC, uint64(oldTID))
	case !seized:
		info := &SigInfo{Signo: int32(unix.SIGTRAP), Code: SiUser}
		info.SetPID(t.PID().In(t.PIDNS()))
		_ = t.sendSignal(info)
	}
}

// ptraceExit is the stop before a task exits.
func (t *Task) ptraceExit() {
	if !t.ptraceEventEnabled(unix.PTRACE_EVENT_EXIT) || t.k.shutdown.Load() {
		return
	}
	// Being killed does not keep the task from telling so.
	killed := t.Fatal()
	t.work.And(^workKill)
	t.ptraceEvent(unix.PTRACE_EVENT_EXIT, uint64(t.exitWith))
	if killed {
		t.work.Or(workKill)
	}
}

// exitTracer lets all tracees of t go, which exits. Kernel.tasks is held for writing.
func (t *Task) exitTracer() {
	for len(t.tracing.tracees) > 0 {
		o := t.tracing.tracees[0]
		kill := o.tracing.options&unix.PTRACE_O_EXITKILL != 0
		o.ptraceUnlink()
		if kill && !o.dead {
			_ = o.sendSignal(kernelInfo(unix.SIGKILL))
		}
		t.k.untracedLocked(o, t.proc)
	}
}

// untracedLocked releases or gives to its parent a dead task that only its tracer knew of.
func (k *Kernel) untracedLocked(o *Task, tracer *Process) {
	if !o.dead || o.released {
		return
	}
	p := o.proc
	switch {
	case o != p.leader:
		k.releaseTask(o)
	case p.zombie && p.parent != nil && p.parent != tracer:
		if k.notifyExit(o, p.parent, p.exitSignal) {
			k.releaseTask(o)
		}
	}
}

// ptraceSignalLocked is the stop before a signal is delivered, where the tracer may change or drop
// it. It returns the signal that is left.
func (t *Task) ptraceSignalLocked(sh **SigHand, w *signalWord, shared bool) int32 {
	t.sig.jobctl |= jobctlStopDequeued
	sig := w.sig
	tracer := t.tracing.tracer
	sig = int32(t.ptraceStopLocked(sh, uint32(sig), cldTrapped, 0, &w.info))
	if sig <= 0 || sig > NumSignals {
		return 0
	}
	if sig != w.info.Signo {
		w.info = SigInfo{Signo: sig, Code: SiUser}
		w.info.SetPID(tracer.PID().In(t.PIDNS()))
		w.info.SetUID(munged(t.Cred().UserNS.MapUIDFromKernel(tracer.Cred().UID)))
	}
	if t.sig.blocked.Has(sig) || t.Fatal() {
		to := t
		if shared {
			to = nil
		}
		_ = t.proc.sendLocked(&w.info, to, true)
		return 0
	}
	return sig
}

// syscallEnter is called before a call that a tracer or a filter wants to see. true: do not run
// the call, Rax is set.
func (t *Task) syscallEnter() (skip bool) {
	w := t.work.Load()
	if w&workTrace != 0 && (t.tracing.sysTrace || t.tracing.sysEmu) {
		emu := t.tracing.sysEmu
		t.ptraceSyscall(eventmsgSyscallEntry)
		if emu || t.Fatal() {
			return true
		}
	}
	if w&workSeccomp != 0 && t.seccompEnter() {
		return true
	}
	// A number of -1 leaves what the tracer has put into Rax.
	return t.Regs.Orig_rax == arch.NoSyscall
}

// syscallExit is called after a call, when t is traced.
func (t *Task) syscallExit() {
	switch {
	case t.tracing.sysEmu:
	case t.tracing.step:
		info := SigInfo{Signo: int32(unix.SIGTRAP), Code: trapTrace}
		info.SetAddr(t.Regs.Rip)
		t.forceSignal(&info)
	case t.tracing.sysTrace:
		t.ptraceSyscall(eventmsgSyscallExit)
	}
}

// ptraceSyscall is a stop at a system call's entry or exit.
func (t *Task) ptraceSyscall(message uint64) {
	sh := t.proc.lockSig()
	if t.tracing.tracer == nil {
		sh.mu.Unlock()
		return
	}
	code := uint32(unix.SIGTRAP)
	if t.tracing.options&unix.PTRACE_O_TRACESYSGOOD != 0 {
		code |= 0x80
	}
	sig := t.ptraceStopInfoLocked(&sh, code, cldTrapped, message)
	sh.mu.Unlock()
	if sig > 0 && sig <= NumSignals {
		_ = t.sendSignal(&SigInfo{Signo: int32(sig), Code: SiKernel})
	}
}

// resume lets a stopped tracee go on with a signal. Its tracing.access is held.
func (o *Task) resume(sig uint32, mode resumeMode) error {
	if sig > NumSignals {
		return unix.EIO
	}
	sh := o.proc.lockSig()
	defer sh.mu.Unlock()
	tr := &o.tracing
	if !tr.stopped {
		return unix.ESRCH
	}
	tr.sysTrace, tr.sysEmu, tr.step = mode&resumeSyscall != 0, mode&resumeEmu != 0, mode&resumeStep != 0
	o.traceWork()
	tr.code = sig
	tr.stopped = false
	o.kick()
	return nil
}

type resumeMode uint8

const (
	resumeSyscall resumeMode = 1 << iota
	resumeEmu
	resumeStep
)

// onTracee calls f with the tracee tid of t, in a stop, its goroutine's things being the caller's.
// Without stop the tracee need not be stopped (PTRACE_KILL, PTRACE_INTERRUPT).
func (t *Task) onTracee(tid int32, stop bool, f func(o *Task) error) error {
	k := t.k
	var o *Task
	for tries := 0; ; tries++ {
		k.tasks.RLock()
		o = t.PIDNS().findTask(tid)
		mine := o != nil && o.tracing.tracer == t
		k.tasks.RUnlock()
		if !mine {
			return unix.ESRCH
		}
		if !stop {
			return f(o)
		}
		o.tracing.access.Lock()
		sh := o.proc.lockSig()
		ok := o.tracing.tracer == t && o.tracing.stopped && o.sig.jobctl&jobctlListening == 0
		attaching := o.sig.jobctl&jobctlTrapStop != 0 && tries < 1000
		sh.mu.Unlock()
		if ok {
			break
		}
		o.tracing.access.Unlock()
		if !attaching {
			return unix.ESRCH
		}
		// It was in a group stop when it was attached to and is about to stop again.
		time.Sleep(10 * time.Microsecond)
	}
	defer o.tracing.access.Unlock()
	return f(o)
}

// onGoroutine runs f on the goroutine of o, which is in a stop.
func (o *Task) onGoroutine(f func() error) error {
	sh := o.proc.lockSig()
	left, calls := o.tracing.left, o.tracing.calls
	sh.mu.Unlock()
	if calls == nil {
		return unix.ESRCH
	}
	done := make(chan error, 1)
	select {
	case calls <- func() { done <- f() }:
		return <-done
	case <-left:
		return unix.ESRCH
	}
}
