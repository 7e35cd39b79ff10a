package sentry

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Exit: a task gives up what it has in the order that Linux does, becomes a zombie, and
// is released when nobody wants to know of it any more.
//
//	thread, not the leader   released at once, unless it is traced
//	leader, others alive     stays (dead, not zombie) until the last thread is released
//	leader, the last         zombie: the parent is told and waits for it, or it is
//	                         released at once if the parent does not care

// exit is the end of the task's goroutine.
func (t *Task) exit() {
	k, p := t.k, t.proc
	t.ptraceExit()
	t.exitSignals()

	sh := p.lockSig()
	t.exiting.Store(true)
	last := p.live.Add(-1) == 0
	if last && !p.groupExit {
		p.groupExit, p.groupExitCode = true, uint32(t.exitWith)
	}
	sh.mu.Unlock()

	if last {
		p.exitTimers()
	}
	t.futexExit()
	for _, f := range k.cfg.AtExit {
		f(t, last)
	}
	p.noteRSS(t.mm)
	t.ctx.Release() // it must not outlive the address space
	t.dropMM()

	t.mu.Lock()
	files, fs := t.files, t.fs
	t.files, t.fs = nil, nil
	t.mu.Unlock()
	if files != nil {
		files.DecRef(t)
	}
	if fs != nil {
		fs.DecRef()
	}
	if last {
		p.leaveTerminal()
	}
	t.mu.Lock()
	ns := t.ns
	t.mu.Unlock()

	// A namespace's init takes all others with it.
	if last && t.isReaper() {
		k.tasks.Lock()
		t.exitTracer() // corpses that it traces would wait for it, and it for them
		k.unlockTasks()
		k.zapNamespace(p)
	}
	t.exitNotify(last)

	t.mu.Lock()
	t.ns = nil
	t.mu.Unlock()
	if ns != nil {
		ns.DecRef()
	}
	// A corpse may lie for long: it keeps nothing large.
	t.io = usermem.IO{}
	t.startFP, t.sig.frame = nil, nil
	c := t.Cred()
	k.chargeProc(nprocKey{c.UserNS, c.UID}, -1)
	k.putUserNS(c.UserNS)
	if last && p == k.initProc {
		k.initExited(p)
	}
}

// dropMM gives up the task's memory, and lets a vfork parent go on.
func (t *Task) dropMM() {
	t.mu.Lock()
	as := t.mm
	t.mm = nil
	t.mu.Unlock()
	t.finishVfork()
	t.dropStaleMM()
	if as != nil {
		putMM(as)
	}
}

// dropStaleMM gives up the memory of before the last exec, which the context may have been in
// until it first ran in the new.
func (t *Task) dropStaleMM() {
	if as := t.staleMM; as != nil {
		t.staleMM = nil
		putMM(as)
	}
}

// finishVfork wakes the parent that waits in vfork.
func (t *Task) finishVfork() {
	if t.vforkDone != nil {
		t.vforkDone.Ring()
		t.vforkDone = nil
	}
}

// isReaper tells whether t's process is the init of its pid namespace.
func (t *Task) isReaper() bool {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.proc.tgid.ns().reaper == t.proc
}

// zapNamespace kills everything in the namespaces that p is init of, and waits until it
// is gone (Linux: zap_pid_ns_processes).
func (k *Kernel) zapNamespace(p *Process) {
	ns := p.tgid.ns()
	k.tasks.Lock()
	p.zapping = true
	k.tasks.Unlock()
	k.killAll(ns, p)
	for {
		k.tasks.Lock()
		// Children that were zombies before are nobody's any more.
		for _, c := range append([]*Process(nil), p.children...) {
			if c.zombie && c.leader != nil && c.leader.tracer() == nil {
				k.releaseProcess(c)
			}
		}
		busy := false
		for _, pid := range ns.pids {
			if pid.task != nil && pid.task.proc != p {
				busy = true
				break
			}
		}
		var wake chan struct{}
		if busy {
			wake = make(chan struct{})
			ns.drain = wake
		}
		k.unlockTasks()
		if !busy {
			return
		}
		<-wake
	}
}

// unlockTasks unlocks Kernel.tasks and then does what could not be done under it.
func (k *Kernel) unlockTasks() {
	later := k.later
	k.later = nil
	k.tasks.Unlock()
	for _, f := range later {
		f()
	}
}

// exitNotify makes the task a corpse and tells whoever wants to know.
func (t *Task) exitNotify(last bool) {
	k, p := t.k, t.proc
	k.tasks.Lock()
	t.exitTracer()
	k.forgetChildren(t)
	if last {
		k.killOrphanedPgrp(p, nil)
	}
	t.dead = true
	t.exitStatus = t.exitWith
	t.finishAccounting()

	release := false
	switch tracer := t.tracer(); {
	case tracer != nil:
		sig := int32(unix.SIGCHLD)
		if t == p.leader && len(p.threads) == 1 && p.parent == tracer.proc {
			sig = p.exitSignal
		}
		if t == p.leader && len(p.threads) == 1 {
			p.zombie = true
		}
		release = k.notifyExit(t, tracer.proc, sig)
	case t == p.leader:
		if len(p.threads) == 1 {
			release = k.becomeZombie(p)
		}
	default:
		release = true
	}
	if release {
		k.releaseTask(t)
	}
	p.wakeExec()
	k.unlockTasks()
}

// wakeExec tells a thread that waits in exec for the others to go.
func (p *Process) wakeExec() {
	if p.execWake != nil {
		select {
		case p.execWake <- struct{}{}:
		default:
		}
	}
}

// becomeZombie is called when all threads of p are dead and only the leader is left. It
// tells whether p may be released at once. Kernel.tasks is held.
func (k *Kernel) becomeZombie(p *Process) (release bool) {
	p.zombie = true
	if p.parent == nil {
		return true
	}
	return k.notifyExit(p.leader, p.parent, p.exitSignal)
}

// notifyExit tells parent (or a tracer) that t has died, and whether it does not care
// to wait for it (Linux: do_notify_parent). Kernel.tasks is held.
func (k *Kernel) notifyExit(t *Task, parent *Process, sig int32) (release bool) {
	p := t.proc
	traced := t.tracer() != nil
	if !traced && sig != int32(unix.SIGCHLD) && p.parentExecID != parent.execID {
		sig = int32(unix.SIGCHLD)
	}
	if t == p.leader && p.zombie {
		p.tgid.exit.Notify(pidfdReadable)
	}
	info := &SigInfo{Signo: sig}
	status := t.exitStatus
	if t == p.leader {
		status = p.exitStatusLocked()
	}
	var value int32
	info.Code, value = status.childCode()
	info.SetPID(t.pid.Load().In(parent.tgid.ns()))
	info.SetUID(parent.userNS(nil).ShowUID(t.Cred().UID))
	info.SetStatus(value)
	u := p.usageLocked(t)
	info.SetUTime(clockTicks(u.User))
	info.SetSTime(clockTicks(u.System))

	if parent.zapping {
		release = true
		sig = 0
	}
	if !traced && sig == int32(unix.SIGCHLD) {
		sh := parent.lockSig()
		a := sh.action(sig)
		if a.Handler == SigIgn {
			release, sig = true, 0
		} else if a.Flags&SaNoCldWait != 0 {
			release = true
		}
		sh.mu.Unlock()
	}
	if sig > 0 && sig <= NumSignals {
		_ = parent.sendSignal(info)
	}
	parent.wakeWaiters()
	return release
}

// wakeWaiters wakes threads of p that wait for a child or tracee.
func (p *Process) wakeWaiters() { p.childWait.Notify(waitq.In) }

// exitStatusLocked is the status that a wait for p gives. Kernel.tasks is held, p is a zombie.
func (p *Process) exitStatusLocked() WaitStatus {
	sh := p.lockSig()
	defer sh.mu.Unlock()
	if p.groupExit {
		return WaitStatus(p.groupExitCode)
	}
	return p.leader.exitStatus
}

// releaseTask takes a dead task out of all tables. Kernel.tasks is held.
func (k *Kernel) releaseTask(t *Task) {
	if t.released {
		return
	}
	p := t.proc
	t.ptraceUnlink()
	t.released = true
	isLeader := t == p.leader

	p.acctMu.Lock()
	p.deadUsage.add(&t.finalUsage)
	p.acctMu.Unlock()

	last := len(p.threads) == 1
	t.releaseSignals(last)
	sh := p.lockSig()
	p.threads = remove(p.threads, t)
	if isLeader {
		p.leader = nil
	}
	sh.mu.Unlock()

	pid := t.pid.Load()
	if pid.task == t {
		pid.task = nil
	}
	if isLeader {
		k.detachProcess(p)
	}
	k.freeTID(pid)
	if f := k.onRelease; f != nil {
		k.later = append(k.later, func() { f(p.tgid, pid) })
	}
	p.wakeExec()

	// The last other thread has gone: the leader, dead before, can be waited for now.
	if !isLeader && len(p.threads) == 1 && p.leader != nil && p.leader.dead && !p.zombie {
		lead := p.leader
		if tr := lead.tracer(); tr != nil {
			p.zombie = true
			if k.notifyExit(lead, tr.proc, int32(unix.SIGCHLD)) {
				k.releaseTask(lead)
			}
		} else if k.becomeZombie(p) {
			k.releaseTask(lead)
		}
	}
}

// freeTID frees a task's number and tells who waits for a namespace to become empty.
func (k *Kernel) freeTID(pid *PID) {
	k.maybeFree(pid)
	for _, n := range pid.nums {
		if n.ns.drain != nil {
			close(n.ns.drain)
			n.ns.drain = nil
		}
	}
}

// releaseProcess releases a zombie. Kernel.tasks is held.
func (k *Kernel) releaseProcess(p *Process) {
	if p.leader != nil {
		k.releaseTask(p.leader)
	}
}

// detachProcess takes a process that is being released out of the tree.
func (k *Kernel) detachProcess(p *Process) {
	p.reaped = true
	p.tgid.exitInfo.Store(&pidExitInfo{status: WaitStatus(p.groupExitCode)})
	if p.parent != nil {
		p.parent.children = remove(p.parent.children, p)
	}
	p.tgid.proc = nil
	p.tgid.exit.Notify(pidfdReadable | pidfdHup)
	k.setPgrp(p, nil)
	k.setSession(p, nil)
	k.maybeFree(p.tgid)
	if ns := p.tgid.ns(); ns.reaper == p {
		ns.reaper = nil
	}
}

// forgetChildren gives the children of t, which dies, to another thread of its process, to the
// nearest subreaper or to init. Kernel.tasks is held.
func (k *Kernel) forgetChildren(t *Task) {
	p := t.proc
	if len(p.children) == 0 {
		return
	}
	reaper := p.firstAlive()
	var newParent *Process
	if reaper == nil {
		newParent = k.findReaper(p)
		if newParent != nil {
			reaper = newParent.firstAlive()
		}
	}
	for _, c := range append([]*Process(nil), p.children...) {
		if c.parentTask != t {
			continue
		}
		c.parentTask = reaper
		for _, x := range c.threads {
			if sig := atomicLoad(&x.pdeath); sig != 0 {
				_ = c.sendSignal(&SigInfo{Signo: sig, Code: SiUser})
			}
		}
		if newParent == nil && reaper != nil {
			continue
		}
		p.children = remove(p.children, c)
		c.parent = newParent
		c.noAnswers()
		if newParent != nil {
			newParent.children = append(newParent.children, c)
		}
		if c.exitSignal >= 0 {
			c.exitSignal = int32(unix.SIGCHLD)
		}
		if c.zombie {
			if c.leader != nil && c.leader.tracer() == nil {
				if newParent == nil || k.notifyExit(c.leader, newParent, c.exitSignal) {
					k.releaseProcess(c)
					continue
				}
			}
		}
		k.killOrphanedPgrp(c, p)
	}
}

// findReaper is who gets the children of p, whose threads are all dying.
func (k *Kernel) findReaper(p *Process) *Process {
	ns := p.tgid.ns()
	init := ns.reaper
	if init == p {
		// Its namespace is empty but for zombies: the parent namespace's affair.
		return nil
	}
	for a := p.parent; a != nil && a != init && a.tgid.ns().level >= ns.level; a = a.parent {
		if a.tgid.ns() == ns && a.subreaper && a.alive() {
			return a
		}
	}
	return init
}

// killOrphanedPgrp sends SIGHUP and SIGCONT to p's process group if the death of p (parent is nil)
// or of its former parent leaves stopped members without anybody to continue them.
// Kernel.tasks is held.
func (k *Kernel) killOrphanedPgrp(p, parent *Process) {
	ignored := (*Process)(nil)
	if parent == nil {
		parent, ignored = p.parent, p
	}
	pgrp := p.pgrp
	if pgrp == nil || parent == nil || parent.pgrp == pgrp || parent.session != p.session {
		return
	}
	if !k.isOrphaned(pgrp, ignored) || !hasStoppedJobs(pgrp) {
		return
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGCONT} {
		for _, m := range append([]*Process(nil), pgrp.pgrp...) {
			_ = m.sendSignal(kernelInfo(sig))
		}
	}
}

// isOrphaned tells whether no member of the group but ignored has a parent in the same
// session and another group. Kernel.tasks is held.
func (k *Kernel) isOrphaned(pgrp *PID, ignored *Process) bool {
	for _, m := range pgrp.pgrp {
		if m == ignored || m.zombie {
			continue
		}
		if m.parent == nil {
			if m.commanded {
				return false
			}
			continue
		}
		if m.parent.pgrp != pgrp && m.parent.session == m.session {
			return false
		}
	}
	return true
}

func hasStoppedJobs(pgrp *PID) bool {
	for _, m := range pgrp.pgrp {
		sh := m.lockSig()
		stopped := m.stopped
		sh.mu.Unlock()
		if stopped {
			return true
		}
	}
	return false
}

// initExited is called when the first process has gone.
func (k *Kernel) initExited(p *Process) {
	sh := p.lockSig()
	k.initState = WaitStatus(p.groupExitCode)
	sh.mu.Unlock()
	close(k.initDone)
}

var _ vfs.Context = (*Task)(nil)
