package sentry

import (
	"math"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// Sending: who may, whether the signal is ignored, which thread is to take it, and what
// sending alone does (SIGCONT continues and SIGKILL ends at once).

// kernelSignals is the kernel's part of signals and time. Kernel embeds it.
type kernelSignals struct {
	// sigQueued is how many signals are queued for a user (RLIMIT_SIGPENDING), by nprocKey.
	sigQueued sync.Map // of *atomic.Int64
	futexes   futexTable
	seccompID atomic.Uint64
}

func (k *Kernel) initSignals() {
	k.futexes.init()
}

// stopSignals is called when no task is left.
func (k *Kernel) stopSignals() {}

// chargeSignal counts one more queued signal of a user, nil if that is more than limit.
func (k *Kernel) chargeSignal(c *cred.Cred, limit uint64, override bool) *atomic.Int64 {
	key := nprocKey{c.UserNS, c.UID}
	v, ok := k.sigQueued.Load(key)
	if !ok {
		v, _ = k.sigQueued.LoadOrStore(key, new(atomic.Int64))
	}
	n := v.(*atomic.Int64)
	if uint64(n.Add(1)) > limit && !override {
		n.Add(-1)
		return nil
	}
	return n
}

// QueuedSignals is how many signals are queued for the task's user, and the limit (SigQ of /proc/PID/status).
func (t *Task) QueuedSignals() (n int64, limit uint64) {
	c := t.Cred()
	if v, ok := t.k.sigQueued.Load(nprocKey{c.UserNS, c.UID}); ok {
		n = v.(*atomic.Int64).Load()
	}
	return n, t.Limit(unix.RLIMIT_SIGPENDING)
}

// sendSignal sends the thread a signal of the kernel's.
func (t *Task) sendSignal(info *SigInfo) error {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	return t.proc.sendLocked(info, t, true)
}

// sendSignal sends the process a signal of the kernel's.
func (p *Process) sendSignal(info *SigInfo) error {
	sh := p.lockSig()
	defer sh.mu.Unlock()
	return p.sendLocked(info, nil, true)
}

// SendSignal sends the thread group a signal from outside the sandbox, or of the
// kernel's own: no permission is needed and the init of a namespace is not protected
// from SIGKILL and SIGSTOP.
func (p *Process) SendSignal(info *SigInfo) error { return p.sendSignal(info) }

// SendSignal sends one thread a signal of the kernel's.
func (t *Task) SendSignal(info *SigInfo) error { return t.sendSignal(info) }

// KernelInfo is what a signal of the kernel's own says about itself.
func KernelInfo(sig unix.Signal) *SigInfo { return kernelInfo(sig) }

// signalPgrp sends the members of a process group a signal of the kernel's. Kernel.tasks is
// held at least for reading.
func (k *Kernel) signalPgrp(pgrp *PID, info *SigInfo) error {
	if pgrp == nil || len(pgrp.pgrp) == 0 {
		return unix.ESRCH
	}
	for _, p := range pgrp.pgrp {
		i := *info
		_ = p.sendSignal(&i)
	}
	return nil
}

// SignalPgrp is signalPgrp for callers that do not hold Kernel.tasks (terminals).
func (k *Kernel) SignalPgrp(pgrp *PID, sig unix.Signal) error {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return k.signalPgrp(pgrp, kernelInfo(sig))
}

// forceFrom tells whether a signal from a task to p overrides the protection of an init process: it
// does when p cannot see the sender.
func (t *Task) forceFrom(p *Process) bool { return t.proc.tgid.In(p.tgid.ns()) == 0 }

// sendFrom sends a signal on behalf of task t to p, or only its thread to. With a nil info
// it says who t is. Permission has been checked.
func (t *Task) sendFrom(p *Process, to *Task, sig int32, code int32, info *SigInfo) error {
	var i SigInfo
	if info != nil {
		i = *info
	} else {
		i = SigInfo{Signo: sig, Code: code}
		i.SetPID(t.proc.tgid.In(t.PIDNS()))
		i.SetUID(t.Cred().UserNS.MapUIDFromKernel(t.Cred().UID))
	}
	force := t.forceFrom(p)
	if i.hasSender() && p != t.proc {
		if info == nil {
			i.SetPID(t.proc.tgid.In(p.tgid.ns()))
		} else if force {
			i.SetPID(0)
		}
		if ns := p.userNS(to); ns != nil {
			c := t.Cred()
			if uid := c.UserNS.MapUIDToKernel(i.UID()); uid != cred.Invalid {
				i.SetUID(munged(ns.MapUIDFromKernel(uid)))
			}
		}
	}
	sh := p.lockSig()
	defer sh.mu.Unlock()
	return p.sendLocked(&i, to, force)
}

// munged is an id as a guest sees it that is not mapped for it: the overflow id.
func munged(id uint32) uint32 {
	if id == cred.Invalid {
		return 65534
	}
	return id
}

// someTask is a thread that stands for p: to, if that is not nil.
func (p *Process) someTask(to *Task) *Task {
	if to != nil {
		return to
	}
	if p.leader != nil {
		return p.leader
	}
	for _, t := range p.threads {
		return t
	}
	return nil
}

func (p *Process) userNS(to *Task) *cred.UserNamespace {
	if t := p.someTask(to); t != nil {
		return t.Cred().UserNS
	}
	return nil
}

// ignoredLocked tells whether sig would be thrown away for t (Linux: sig_ignored).
func (p *Process) ignoredLocked(sig int32, t *Task, force bool) bool {
	if t == nil {
		return true
	}
	// Blocked signals are never ignored: the action may be another by the time they are not.
	if t.sig.blocked.Has(sig) || t.sig.realBlocked.Has(sig) {
		return false
	}
	// A tracer sees every signal.
	if t.tracing.tracer != nil && sig != int32(unix.SIGKILL) {
		return false
	}
	a := p.sighand.Load().action(sig)
	if p.protectedLocked() && a.Handler == SigDfl && !(force && sigsOnlyKernel.Has(sig)) {
		return true
	}
	return a.ignores(sig)
}

// prepareLocked does what sending alone does, and tells whether the signal is to be queued.
func (p *Process) prepareLocked(sig int32, t *Task, force bool) bool {
	if p.groupExit {
		return false // it is dying
	}
	bit := SigSet(1) << (sig - 1)
	switch {
	case sigsStop&bit != 0:
		p.flushAllLocked(1 << (unix.SIGCONT - 1))
	case sig == int32(unix.SIGCONT):
		p.flushAllLocked(sigsStop)
		for _, o := range p.threads {
			o.clearJobctlLocked(jobctlStopPending)
			if o.tracing.seized {
				o.trapNotifyLocked()
			} else {
				o.sig.jobctl &^= jobctlStopped
			}
			o.kick()
		}
		// The parent hears of it from a thread of the process, which does it before anything else.
		why := int32(0)
		if p.stopped {
			why = cldContinued
		} else if p.stopCount > 0 {
			why = cldStopped
		}
		if why != 0 {
			p.cldPending = why
			p.stopped, p.continued = false, true
			p.stopCount, p.stopCode = 0, 0
			for _, o := range p.threads {
				if !o.sig.exiting {
					o.signalWake()
					break
				}
			}
		}
	}
	return !p.ignoredLocked(sig, t, force)
}

func (p *Process) flushAllLocked(mask SigSet) {
	p.shared.flush(mask)
	for _, t := range p.threads {
		t.sig.pending.flush(mask)
	}
}

// sendLocked queues a signal for the process, or for its thread to alone, and sees to it that somebody
// takes it. force: the sender is the kernel or in a namespace above. SigHand.mu is held.
func (p *Process) sendLocked(info *SigInfo, to *Task, force bool) error {
	return p.sendPreferLocked(info, to, p.someTask(to), force)
}

// sendPreferLocked is sendLocked with the thread that should take the signal if it can.
func (p *Process) sendPreferLocked(info *SigInfo, to, rep *Task, force bool) error {
	sig := info.Signo
	if rep == nil || to != nil && to.sig.exiting {
		return nil
	}
	if !p.prepareLocked(sig, rep, force) {
		return nil
	}
	q := &p.shared
	if to != nil {
		q = &to.sig.pending
	}
	if sig < sigRTMin && q.set.Has(sig) {
		return nil
	}
	if sig != int32(unix.SIGKILL) {
		override := sig < sigRTMin && info.Code >= 0
		if n := p.k.chargeSignal(rep.Cred(), rep.Limit(unix.RLIMIT_SIGPENDING), override); n != nil {
			q.push(&sigEntry{info: *info, charged: n})
		} else if sig >= sigRTMin && info.Code != SiUser {
			return unix.EAGAIN
		}
	}
	p.queuedLocked(q, sig, to, rep)
	return nil
}

// queuedLocked makes a queued signal known.
func (p *Process) queuedLocked(q *sigQueue, sig int32, to, rep *Task) {
	atomic.OrUint64((*uint64)(&q.set), 1<<(sig-1)) // a barrier, for LeafSigprocmask
	p.signalfds.Notify(waitq.Readable)
	p.completeLocked(sig, to, rep)
}

// wantsLocked tells whether t can take sig now.
func (t *Task) wantsLocked(sig int32) bool {
	if t.sig.exiting || t.sig.blocked.Has(sig) {
		return false
	}
	if sig == int32(unix.SIGKILL) {
		return true
	}
	if t.sig.jobctl&jobctlStopped != 0 || t.tracing.stopped {
		return false
	}
	return t.work.Load()&workSignal == 0
}

// completeLocked finds the thread that is to take sig, and when that ends the process, ends it.
func (p *Process) completeLocked(sig int32, to, rep *Task) {
	var t *Task
	if rep.wantsLocked(sig) {
		t = rep
	} else if to != nil || len(p.threads) <= 1 {
		return // it is told already, or when it unblocks the signal
	} else {
		n := len(p.threads)
		for i := range n {
			if o := p.threads[(p.currTarget+i)%n]; o.wantsLocked(sig) {
				t, p.currTarget = o, (p.currTarget+i)%n
				break
			}
		}
		if t == nil {
			return // all have signals to look at; the first to be done takes this one
		}
	}
	a := p.sighand.Load().action(sig)
	fatal := a.Handler == SigDfl && !(sigsIgnored | sigsStop).Has(sig)
	if fatal && !p.isInitFor(sig) && !t.sig.realBlocked.Has(sig) &&
		(sig == int32(unix.SIGKILL) || t.tracing.tracer == nil && p.k.cfg.OnSignal == nil) && !sigsCore.Has(sig) {
		p.startGroupExitLocked(WaitStatus(sig))
		return
	}
	t.signalWake()
}

// isInitFor tells whether p is protected from default actions. SIGKILL that got this far was forced.
func (p *Process) isInitFor(sig int32) bool { return sig != int32(unix.SIGKILL) && p.protectedLocked() }

// signalWake makes t look at its signals.
func (t *Task) signalWake() { t.setWork(workSignal) }

// mayKill is kill_ok_by_cred and the rest of check_kill_permission: whether t may send sig to
// the process of o. Kernel.tasks is held at least for reading.
func (t *Task) mayKill(p *Process, o *Task, sig int32) error {
	if p == t.proc {
		return nil
	}
	if o = p.someTask(o); o == nil {
		return unix.ESRCH
	}
	c, oc := t.Cred(), o.Cred()
	if c.EUID == oc.SUID || c.EUID == oc.UID || c.UID == oc.SUID || c.UID == oc.UID ||
		c.HasIn(oc.UserNS, unix.CAP_KILL) {
		return nil
	}
	if sig == int32(unix.SIGCONT) && p.session == t.proc.session {
		return nil
	}
	return unix.EPERM
}

// kill1 sends sig to one process. Kernel.tasks is held at least for reading.
func (t *Task) kill1(p *Process, sig int32) error {
	if !validSignal(sig) {
		return unix.EINVAL
	}
	if err := t.mayKill(p, nil, sig); err != nil {
		return err
	}
	if sig == 0 {
		return nil
	}
	return t.sendFrom(p, nil, sig, SiUser, nil)
}

// lookup is the process that a number in t's pid namespace names, which may be that of any of its
// threads. Kernel.tasks is held at least for reading.
func (t *Task) lookup(nr int32) *Process {
	pid := t.PIDNS().findPID(nr)
	switch {
	case pid == nil:
		return nil
	case pid.proc != nil:
		return pid.proc
	case pid.task != nil:
		return pid.task.proc
	}
	return nil
}

func validSignal(sig int32) bool { return sig >= 0 && sig <= NumSignals }

// Kill is kill(2).
func (t *Task) Kill(nr, sig int32) error {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	if nr > 0 {
		p := t.lookup(nr)
		if p == nil {
			return unix.ESRCH
		}
		return t.kill1(p, sig)
	}
	if nr == math.MinInt32 {
		return unix.ESRCH
	}
	if nr == -1 {
		ns := t.PIDNS()
		found, result := false, error(nil)
		for _, pid := range ns.pids {
			p := pid.proc
			if p == nil || p == t.proc || pid.In(ns) <= 1 {
				continue
			}
			found = true
			if err := t.kill1(p, sig); err != nil && err != unix.EPERM {
				result = err
			}
		}
		if !found {
			return unix.ESRCH
		}
		return result
	}
	pgrp := t.proc.pgrp
	if nr < 0 {
		pgrp = t.PIDNS().findPID(-nr)
	}
	if pgrp == nil {
		return unix.ESRCH
	}
	return t.killPgrp(pgrp, sig)
}

// killPgrp succeeds if one member could be signalled.
func (t *Task) killPgrp(pgrp *PID, sig int32) error {
	err, sent := error(unix.ESRCH), false
	for _, p := range pgrp.pgrp {
		if e := t.kill1(p, sig); e == nil {
			sent = true
		} else {
			err = e
		}
	}
	if sent {
		return nil
	}
	return err
}

// Tgkill is tgkill(2), and with tgid 0 tkill(2).
func (t *Task) Tgkill(tgid, tid, sig int32) error {
	return t.sendThread(tgid, tid, sig, nil)
}

// Tgsigqueueinfo is rt_tgsigqueueinfo(2).
func (t *Task) Tgsigqueueinfo(tgid, tid, sig int32, info *SigInfo) error {
	if (info.Code >= 0 || info.Code == SiTkill) && t.proc.tgid.In(t.PIDNS()) != tgid {
		return unix.EPERM
	}
	info.Signo = sig
	return t.sendThread(tgid, tid, sig, info)
}

func (t *Task) sendThread(tgid, tid, sig int32, info *SigInfo) error {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	ns := t.PIDNS()
	o := ns.findTask(tid)
	if o == nil || tgid > 0 && o.proc.tgid.In(ns) != tgid {
		return unix.ESRCH
	}
	return t.signalTask(o, sig, info)
}

// signalTask sends one thread a signal, if t may. Kernel.tasks is held at least for reading.
func (t *Task) signalTask(o *Task, sig int32, info *SigInfo) error {
	if !validSignal(sig) {
		return unix.EINVAL
	}
	if info == nil || info.Code <= 0 {
		if err := t.mayKill(o.proc, o, sig); err != nil {
			return err
		}
	}
	if sig == 0 {
		return nil
	}
	return t.sendFrom(o.proc, o, sig, SiTkill, info)
}

// Sigqueueinfo is rt_sigqueueinfo(2).
func (t *Task) Sigqueueinfo(tgid, sig int32, info *SigInfo) error {
	if (info.Code >= 0 || info.Code == SiTkill) && t.proc.tgid.In(t.PIDNS()) != tgid {
		return unix.EPERM
	}
	info.Signo = sig
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	p := t.lookup(tgid)
	if p == nil {
		return unix.ESRCH
	}
	return t.queueTo(p, sig, info)
}

func (t *Task) queueTo(p *Process, sig int32, info *SigInfo) error {
	if !validSignal(sig) {
		return unix.EINVAL
	}
	if info.Code <= 0 {
		if err := t.mayKill(p, nil, sig); err != nil {
			return err
		}
	}
	if sig == 0 {
		return nil
	}
	return t.sendFrom(p, nil, sig, SiUser, info)
}

// Flags of pidfd_send_signal(2).
const (
	PidfdSignalThread       = 1
	PidfdSignalThreadGroup  = 2
	PidfdSignalProcessGroup = 4
)

// PidfdSendSignal is pidfd_send_signal(2) on an identity; thread says that the pidfd is
// one of a thread, which is then what it means without flags.
func (t *Task) PidfdSendSignal(pid *PID, thread bool, sig int32, info *SigInfo, flags uint32) error {
	switch flags {
	case 0, PidfdSignalThread, PidfdSignalThreadGroup, PidfdSignalProcessGroup:
	default:
		return unix.EINVAL
	}
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	if pid.In(t.PIDNS()) == 0 && !pid.freed {
		return unix.EINVAL
	}
	if info != nil {
		if info.Signo != sig {
			return unix.EINVAL
		}
		// Only a process itself may pretend to be the kernel.
		if (info.Code >= 0 || info.Code == SiTkill) && pid != t.proc.tgid && pid != t.PID() {
			return unix.EPERM
		}
	}
	if flags == PidfdSignalThread || flags == 0 && thread {
		if pid.task == nil {
			return unix.ESRCH
		}
		return t.signalTask(pid.task, sig, info)
	}
	if flags == PidfdSignalProcessGroup {
		if len(pid.pgrp) == 0 {
			return unix.ESRCH
		}
		return t.killPgrp(pid, sig)
	}
	p := pid.proc
	if p == nil && pid.task != nil {
		p = pid.task.proc
	}
	if p == nil {
		return unix.ESRCH
	}
	if info == nil {
		return t.kill1(p, sig)
	}
	return t.queueTo(p, sig, info)
}
