package sentry

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
)

// Delivery, in the task that gets the signal, on its way back to guest code. In each round of
// nextSignal the first of these that holds is done: tell the parent of a stop or a continue,
// end, stop with the process, stop for a tracer, take the next signal (those that
// the last instruction caused first, then the lowest). What has a handler gets a
// frame (sigframe.go); then the next signal is looked for, so that several handlers
// nest, the last taken running first. When none is left, a call that was
// interrupted is restarted, or not, as its error says.

// Job control flags of a task (taskSignals.jobctl). The low bits are the signal that stops it.
const (
	jobctlSignalMask   uint32 = 0xff
	jobctlStopDequeued uint32 = 1 << 16 // a stop signal was taken and nothing has cancelled it since
	jobctlStopPending  uint32 = 1 << 17 // the task is to take part in a group stop
	jobctlStopConsume  uint32 = 1 << 18 // and counts in stopCount
	jobctlTrapStop     uint32 = 1 << 19 // trap for the tracer's sake
	jobctlTrapNotify   uint32 = 1 << 20 // trap for a seizing tracer: the state changed
	jobctlListening    uint32 = 1 << 22 // PTRACE_LISTEN
	jobctlStopped      uint32 = 1 << 26 // it is stopped

	jobctlTrapMask = jobctlTrapStop | jobctlTrapNotify
	jobctlPending  = jobctlStopPending | jobctlTrapMask
)

// setJobctlLocked sets pending flags, unless the task is ending.
func (t *Task) setJobctlLocked(mask uint32) bool {
	if t.sig.exiting || t.work.Load()&workKill != 0 {
		return false
	}
	if mask&jobctlSignalMask != 0 {
		t.sig.jobctl &^= jobctlSignalMask
	}
	t.sig.jobctl |= mask
	return true
}

func (t *Task) clearJobctlLocked(mask uint32) {
	if mask&jobctlStopPending != 0 {
		mask |= jobctlStopConsume | jobctlStopDequeued
	}
	t.sig.jobctl &^= mask
}

// participateInStopLocked counts t as stopped, and tells whether it was the last.
func (t *Task) participateInStopLocked() bool {
	p := t.proc
	consume := t.sig.jobctl&jobctlStopConsume != 0
	t.clearJobctlLocked(jobctlStopPending)
	if !consume {
		return false
	}
	if p.stopCount > 0 {
		p.stopCount--
	}
	if p.stopCount == 0 && !p.stopped {
		p.stopped, p.continued = true, false
		return true
	}
	return false
}

// signalWord is a signal taken from the queues together with what to do.
type signalWord struct {
	sig  int32
	info SigInfo
	act  SigAction
}

// handleSignals does what signals, job control and tracers ask of t before it may run guest
// code. When the task is to end it calls exitGroup; the run loop looks.
func (t *Task) handleSignals() {
	var w signalWord
	for t.nextSignal(&w) {
		t.invokeHandler(&w)
		if t.work.Load()&(workSignal|workKill) == 0 {
			return
		}
	}
	if t.stopRun {
		return
	}
	// No handler: restart the call, quietly.
	if t.Regs.Orig_rax != arch.NoSyscall {
		switch restartError(t.Regs.Rax) {
		case vfs.ErrRestartSys, vfs.ErrRestartNoIntr, vfs.ErrRestartNoHand:
			t.Regs.Rax = t.Regs.Orig_rax
			t.Regs.Rip -= 2
			t.Regs.Orig_rax = arch.NoSyscall
		case vfs.ErrRestartBlock:
			t.Regs.Rax = unix.SYS_RESTART_SYSCALL
			t.Regs.Rip -= 2
			t.Regs.Orig_rax = arch.NoSyscall
		}
	}
	t.RestoreMask()
}

// restartError is the error that a call's return value asks for a restart with, or nil.
func restartError(rax uint64) error {
	switch int64(rax) {
	case -512:
		return vfs.ErrRestartSys
	case -513:
		return vfs.ErrRestartNoIntr
	case -514:
		return vfs.ErrRestartNoHand
	case -516:
		return vfs.ErrRestartBlock
	}
	return nil
}

// invokeHandler prepares t to run the handler of w when it goes to guest code.
func (t *Task) invokeHandler(w *signalWord) {
	if t.Regs.Orig_rax != arch.NoSyscall {
		switch restartError(t.Regs.Rax) {
		case vfs.ErrRestartBlock, vfs.ErrRestartNoHand:
			t.Regs.Rax = errnoReturn(unix.EINTR)
		case vfs.ErrRestartSys:
			if w.act.Flags&SaRestart == 0 {
				t.Regs.Rax = errnoReturn(unix.EINTR)
				break
			}
			fallthrough
		case vfs.ErrRestartNoIntr:
			t.Regs.Rax = t.Regs.Orig_rax
			t.Regs.Rip -= 2
		}
	}
	stepping := t.tracing.step
	t.rseqSignal()
	err := t.pushSignalFrame(w)
	if err != nil {
		t.forceSegv(w.sig)
		return
	}
	t.Regs.Orig_rax = arch.NoSyscall
	sh := t.proc.lockSig()
	mask := t.sig.blocked | w.act.Mask
	if w.act.Flags&SaNoDefer == 0 {
		mask.add(w.sig)
	}
	t.sig.hasSaved = false
	t.setBlockedLocked(mask &^ sigsOnlyKernel)
	sh.mu.Unlock()
	if t.sig.altstack.Flags&SsAutoDisarm != 0 {
		t.sig.altstack = AltStack{Flags: SsDisable}
	}
	if stepping {
		t.ptraceNotify(uint32(unix.SIGTRAP), 0)
	}
}

func errnoReturn(e unix.Errno) uint64 { return uint64(-int64(e)) }

// nextSignal waits out stops and takes the next signal that has a handler into w. It returns
// false when there is none, or t is ending.
func (t *Task) nextSignal(w *signalWord) bool {
	p := t.proc
	for {
		sh := p.lockSig()
		if why := p.cldPending; why != 0 {
			p.cldPending = 0
			sh.mu.Unlock()
			t.tellParent(why)
			continue
		}
		for {
			if p.groupExit || p.execTask != nil && p.execTask != t || t.work.Load()&workKill != 0 {
				sh.mu.Unlock()
				t.exitGroup(WaitStatus(unix.SIGKILL))
				return false
			}
			if t.sig.jobctl&jobctlStopPending != 0 && t.stopLocked(0, sh) {
				break // unlocked
			}
			if t.sig.jobctl&jobctlTrapMask != 0 {
				t.jobctlTrapLocked(&sh)
				sh.mu.Unlock()
				break
			}
			sig := t.dequeueLocked(w)
			if sig == 0 {
				t.recalcLocked()
				sh.mu.Unlock()
				return false
			}
			if sig == int32(unix.SIGKILL) {
				p.startGroupExitLocked(WaitStatus(sig))
				continue
			}
			if t.tracing.tracer != nil && !t.sig.forced.Has(sig) {
				shared := w.act.Flags != 0
				if sig = t.ptraceSignalLocked(&sh, w, shared); sig == 0 {
					continue
				}
				w.sig = sig
			}
			if f := t.k.cfg.OnSignal; f != nil {
				sh.mu.Unlock()
				f(t, &w.info)
				sh = p.lockSig()
			}
			t.sig.forced.del(sig)
			a := sh.action(sig)
			if a.Handler == SigIgn {
				continue
			}
			if a.Handler != SigDfl {
				w.act = *a
				if a.Flags&SaResetHand != 0 {
					a.Handler = SigDfl
				}
				t.recalcLocked()
				sh.mu.Unlock()
				return true
			}
			if sigsIgnored.Has(sig) || p.protectedLocked() && !sigsOnlyKernel.Has(sig) {
				continue
			}
			if sigsStop.Has(sig) {
				if sig != int32(unix.SIGSTOP) {
					sh.mu.Unlock()
					if t.orphanedPgrp() {
						sh = p.lockSig()
						continue
					}
					sh = p.lockSig()
				}
				if t.stopLocked(uint32(sig), sh) {
					break // unlocked
				}
				continue
			}
			sh.mu.Unlock()
			t.exitGroup(WaitStatus(sig))
			return false
		}
	}
}

// protectedLocked tells whether default actions of signals do not end the process.
func (p *Process) protectedLocked() bool { return p.isInit() && !p.initKillable }

// orphanedPgrp tells whether nobody is there to continue the process group of t.
func (t *Task) orphanedPgrp() bool {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.proc.pgrp != nil && t.k.isOrphaned(t.proc.pgrp, nil)
}

// dequeueLocked takes the next signal that is not blocked into w: those that the last instruction
// caused first, then the lowest, t's own before the process's. w.act.Flags tells
// (not 0) that it came from the process's queue.
func (t *Task) dequeueLocked(w *signalWord) int32 {
	q, mask := &t.sig.pending, ^t.sig.blocked
	w.act.Flags = 0
	// A fault has si_code > 0; the same signal sent by somebody has to wait its turn.
	if q.set&mask&sigsSynchronous != 0 {
		for e := q.head; e != nil; e = e.next {
			if e.info.Code > SiUser && sigsSynchronous.Has(e.info.Signo) && mask.Has(e.info.Signo) {
				sig := e.info.Signo
				w.info = e.info
				q.drop(e)
				w.sig = sig
				return sig
			}
		}
	}
	sig := t.dequeueMaskLocked(mask, &w.info, &w.act.Flags)
	w.sig = sig
	return sig
}

// dequeueMaskLocked takes the next signal of mask. shared becomes 1 if it was the process's.
func (t *Task) dequeueMaskLocked(mask SigSet, info *SigInfo, shared *uint64) int32 {
	q := &t.sig.pending
	sig := (q.set & mask).lowest()
	if sig == 0 {
		q = &t.proc.shared
		if sig = (q.set & mask).lowest(); sig == 0 {
			return 0
		}
		if shared != nil {
			*shared = 1
		}
		if sig == int32(unix.SIGALRM) {
			t.proc.timers.alarmTakenLocked()
		}
	}
	timer := q.take(sig, info)
	if sigsStop.Has(sig) {
		t.sig.jobctl |= jobctlStopDequeued
	}
	if timer != nil {
		timer.takenLocked(info)
	}
	return sig
}

// stopLocked is do_signal_stop: with sig, a stop signal just taken, it begins a group stop;
// and t takes part in one that is pending. It returns true, with SigHand.mu
// unlocked, when t has stopped and been continued.
func (t *Task) stopLocked(sig uint32, sh *SigHand) bool {
	p := t.proc
	if t.sig.jobctl&jobctlStopPending == 0 {
		if t.sig.jobctl&jobctlStopDequeued == 0 || p.groupExit || p.execTask != nil {
			return false
		}
		if !p.stopped {
			p.stopCode = sig
		}
		p.stopCount = 0
		const stop = jobctlStopPending | jobctlStopConsume
		if t.setJobctlLocked(sig | stop) {
			p.stopCount++
		}
		for _, o := range p.threads {
			if o == t || o.sig.jobctl&jobctlStopped != 0 || !o.setJobctlLocked(sig|stop) {
				continue
			}
			p.stopCount++
			if o.tracing.seized {
				o.trapNotifyLocked()
			} else {
				o.signalWake()
			}
		}
	}
	if t.tracing.tracer != nil {
		// The tracer decides: trap.
		t.setJobctlLocked(jobctlTrapStop)
		return false
	}
	last := t.participateInStopLocked()
	t.sig.jobctl |= jobctlStopped
	sh.mu.Unlock()
	if last {
		t.k.tasks.RLock()
		t.notifyStopLocked(false, cldStopped)
		t.k.tasks.RUnlock()
		p.stoppedOutside()
	}
	for {
		sh = p.lockSig()
		if t.sig.jobctl&jobctlStopped == 0 || t.Fatal() || p.groupExit {
			t.sig.jobctl &^= jobctlStopped
			sh.mu.Unlock()
			return true
		}
		sh.mu.Unlock()
		t.sleepStopped()
	}
}

// sleepStopped waits until something is said to t.
func (t *Task) sleepStopped() {
	t.sleepBegin(true)
	t.state.Store(taskHalted)
	<-t.wake
	t.sleepEnd()
}

// jobctlTrapLocked is do_jobctl_trap: t stops for its tracer because its process stops, or
// because PTRACE_INTERRUPT or PTRACE_SEIZE asked for it.
func (t *Task) jobctlTrapLocked(sh **SigHand) {
	p := t.proc
	sig := t.sig.jobctl & jobctlSignalMask
	if t.tracing.seized {
		if p.stopCount == 0 && !p.stopped {
			sig = uint32(unix.SIGTRAP)
		}
		t.ptraceStopInfoLocked(sh, sig|unix.PTRACE_EVENT_STOP<<8, cldStopped, 0)
	} else {
		t.ptraceStopLocked(sh, sig, cldStopped, 0, nil)
	}
}

// trapNotifyLocked makes a seized task trap to show that the group stop began or ended.
func (t *Task) trapNotifyLocked() {
	t.setJobctlLocked(jobctlTrapNotify)
	if t.sig.jobctl&jobctlListening != 0 {
		t.tracing.stopped = false
	}
	t.signalWake()
}

// tellParent reports a stop or continue of the process that happened outside of it (SIGCONT).
func (t *Task) tellParent(why int32) {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	t.notifyStopLocked(false, why)
	if l := t.proc.leader; l != nil && l.tracing.tracer != nil && l.tracing.tracer.proc != t.proc.parent {
		l.notifyStopLocked(true, why)
	}
}

// stoppedOutside tells who started the sandbox that its first process has stopped. No lock is held.
func (p *Process) stoppedOutside() {
	if f := p.k.cfg.OnInitStop; f != nil && p.k.Init() == p {
		f()
	}
}

// notifyStopLocked is do_notify_parent_cldstop: SIGCHLD and a wake-up for the parent, or for the
// tracer of t. Kernel.tasks is held at least for reading.
func (t *Task) notifyStopLocked(forTracer bool, why int32) {
	p := t.proc
	parent := p.parent
	pid := p.tgid
	if forTracer {
		if t.tracing.tracer == nil {
			return
		}
		parent = t.tracing.tracer.proc
		pid = t.PID()
	}
	if parent == nil {
		return
	}
	info := SigInfo{Signo: int32(unix.SIGCHLD), Code: why}
	info.SetPID(pid.In(parent.tgid.ns()))
	if ns := parent.userNS(nil); ns != nil {
		info.SetUID(munged(ns.MapUIDFromKernel(t.Cred().UID)))
	}
	utime, stime := t.cpuTicks(forTracer)
	info.SetUTime(utime)
	info.SetSTime(stime)
	sh := p.lockSig()
	switch why {
	case cldContinued:
		info.SetStatus(int32(unix.SIGCONT))
	case cldStopped:
		info.SetStatus(int32(p.stopCode & 0x7f))
		if forTracer {
			info.SetStatus(int32(t.tracing.code & 0x7f))
		}
	case cldTrapped:
		info.SetStatus(int32(t.tracing.code & 0x7f))
	}
	sh.mu.Unlock()
	sh = parent.lockSig()
	if a := sh.action(int32(unix.SIGCHLD)); a.Handler != SigIgn && a.Flags&SaNoCldStop == 0 {
		_ = parent.sendLocked(&info, nil, true)
	}
	sh.mu.Unlock()
	parent.wakeWaiters()
}

// waitStopped is whether t has a stop to tell to wait4(2): as a tracee, any stop; as a child
// (the leader of its process), a stop of the whole process. status is what
// wait4 gives, without the 0x7f. With consume it is told only once.
func (t *Task) waitStopped(ptraced, consume bool) (code uint32, ok bool) {
	p := t.proc
	sh := p.lockSig()
	defer sh.mu.Unlock()
	if ptraced {
		if !t.tracing.stopped || t.sig.jobctl&jobctlListening != 0 || t.tracing.code == 0 {
			return 0, false
		}
		code = t.tracing.code
		if consume {
			t.tracing.code = 0
		}
		return code, true
	}
	if !p.stopped || p.stopCode == 0 {
		return 0, false
	}
	code = p.stopCode
	if consume {
		p.stopCode = 0
	}
	return code, true
}

// waitContinued is whether the process has been continued and nobody was told.
func (p *Process) waitContinued(consume bool) bool {
	sh := p.lockSig()
	defer sh.mu.Unlock()
	if !p.continued {
		return false
	}
	if consume {
		p.continued = false
	}
	return true
}

// Stopped tells whether the task is in a group stop, and whether it is in a ptrace stop
// (states T and t of /proc/PID/stat).
func (t *Task) Stopped() (stopped, traced bool) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	return t.sig.jobctl&jobctlStopped != 0, t.tracing.stopped
}

// forceSignal sends t a signal that it cannot help getting, because it is about what t just did: when
// it is blocked or ignored, its action becomes the default one.
func (t *Task) forceSignal(info *SigInfo) { t.forceSignalTo(info, false) }

// forceFatal ends the process by sig as if it had no handler.
func (t *Task) forceFatal(sig unix.Signal) { t.forceSignalTo(kernelInfo(sig), true) }

func (t *Task) forceSignalTo(info *SigInfo, exit bool) {
	p := t.proc
	sh := p.lockSig()
	a := sh.action(info.Signo)
	blocked := t.sig.blocked.Has(info.Signo)
	if blocked || exit || a.Handler == SigIgn {
		a.Handler = SigDfl
		if exit {
			t.sig.forced.add(info.Signo)
		}
		if blocked {
			t.sig.blocked.del(info.Signo)
		}
	}
	if a.Handler == SigDfl && (t.tracing.tracer == nil || exit) {
		p.initKillable = true
	}
	_ = p.sendLocked(info, t, true)
	t.setWork(workSignal)
	sh.mu.Unlock()
}

// forceSegv ends what could not be delivered: a frame for sig that could not be written.
func (t *Task) forceSegv(sig int32) {
	if sig == int32(unix.SIGSEGV) {
		t.forceFatal(unix.SIGSEGV)
	} else {
		t.forceSignal(kernelInfo(unix.SIGSEGV))
	}
}

// Trap numbers of the processor, as a signal frame tells them.
const (
	TrapDivide     = 0
	TrapDebug      = 1
	TrapBreakpoint = 3
	TrapOverflow   = 4
	TrapInvalidOp  = 6
	TrapProtection = 13
	TrapPage       = 14
	TrapFP         = 16
	TrapAlignment  = 17
	TrapSIMD       = 19
)

// faultSignal forces the signal of a processor exception or of an access that failed. trapno and
// errcode are what a frame shows; addr is si_addr, and cr2 for a page fault.
func (t *Task) faultSignal(sig int, code int32, addr, trapno, errcode uint64) {
	t.sig.trapNo, t.sig.errorCode = trapno, errcode
	if trapno == TrapPage {
		t.sig.faultAddr = addr
	}
	info := SigInfo{Signo: int32(sig), Code: code}
	if code != SiKernel {
		info.SetAddr(addr)
	}
	t.forceSignal(&info)
}

// Sigtimedwait takes a signal of set, waiting up to timeout nanoseconds for one (forever if negative).
func (t *Task) Sigtimedwait(set SigSet, info *SigInfo, timeout int64) (int32, error) {
	set &^= sigsOnlyKernel
	p := t.proc
	sh := p.lockSig()
	sig := t.dequeueMaskLocked(set, info, nil)
	if sig != 0 || timeout == 0 {
		t.recalcLocked()
		sh.mu.Unlock()
		if sig == 0 {
			return 0, unix.EAGAIN
		}
		return sig, nil
	}
	// Let the signals of set wake us; what interrupts otherwise still does.
	old := t.sig.blocked
	t.sig.realBlocked = old
	t.sig.blocked &^= set
	t.recalcLocked()
	sh.mu.Unlock()

	err := t.Block(nil, time.Duration(timeout))

	sh = p.lockSig()
	t.setBlockedLocked(old)
	t.sig.realBlocked = 0
	sig = t.dequeueMaskLocked(set, info, nil)
	t.recalcLocked()
	sh.mu.Unlock()
	if sig != 0 {
		return sig, nil
	}
	if err == unix.ETIMEDOUT {
		return 0, unix.EAGAIN
	}
	return 0, unix.EINTR
}

// Pause waits for a signal: pause(2), and sigsuspend(2) after SetTemporaryMask.
func (t *Task) Pause() error {
	_ = t.Block(nil, -1)
	return vfs.ErrRestartNoHand
}

// Sigsuspend is rt_sigsuspend(2).
func (t *Task) Sigsuspend(mask SigSet) error {
	t.SetTemporaryMask(mask)
	return t.Pause()
}
