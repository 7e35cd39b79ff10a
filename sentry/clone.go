package sentry

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// CloneArgs are the arguments of clone, clone3, fork and vfork.
type CloneArgs struct {
	Flags      uint64
	PidFD      uint64 // where the pidfd is stored
	ChildTID   uint64
	ParentTID  uint64
	ExitSignal int32
	Stack      uint64 // the new stack pointer, 0: as the caller's
	TLS        uint64
	SetTID     []int32
	// Clone3: the flags that share bits with the exit signal are allowed.
	Clone3 bool
}

// checkClone refuses combinations of flags that make no sense.
func (t *Task) checkClone(a *CloneArgs) error {
	f := a.Flags
	has := func(bits uint64) bool { return f&bits != 0 }
	all := func(bits uint64) bool { return f&bits == bits }
	switch {
	case all(unix.CLONE_NEWNS | unix.CLONE_FS),
		all(unix.CLONE_NEWUSER | unix.CLONE_FS),
		has(unix.CLONE_THREAD) && !has(unix.CLONE_SIGHAND),
		has(unix.CLONE_SIGHAND) && !has(unix.CLONE_VM),
		has(unix.CLONE_PARENT) && t.proc.isInit(),
		has(unix.CLONE_THREAD) && has(unix.CLONE_NEWUSER|unix.CLONE_NEWPID),
		has(unix.CLONE_THREAD) && t.ns.PID != t.PIDNS(),
		all(unix.CLONE_SIGHAND | unix.CLONE_CLEAR_SIGHAND),
		has(unix.CLONE_NEWTIME) && has(unix.CLONE_THREAD|unix.CLONE_VM) && !has(unix.CLONE_VFORK):
		return unix.EINVAL
	case has(unix.CLONE_PIDFD) && !a.Clone3 && has(unix.CLONE_DETACHED),
		all(unix.CLONE_PIDFD|unix.CLONE_PARENT_SETTID) && a.PidFD == a.ParentTID && (!a.Clone3 || a.PidFD != 0):
		return unix.EINVAL
	case !validSignal(a.ExitSignal):
		return unix.EINVAL
	case len(a.SetTID) > 0 && len(a.SetTID) > t.ns.PID.level+1:
		return unix.EINVAL
	}
	return nil
}

// Clone makes a task as clone(2) and its relatives do, and returns its id.
func (t *Task) Clone(a *CloneArgs) (int32, error) {
	if err := t.checkClone(a); err != nil {
		return 0, err
	}
	if t.work.Load()&workSignal != 0 {
		return 0, vfs.ErrRestartNoIntr
	}
	k, f := t.k, a.Flags
	if k.count.Add(1) > k.maxTasks || k.shutdown.Load() {
		k.count.Add(-1)
		return 0, unix.EAGAIN
	}
	event := t.ptraceCloneEvent(f, a.ExitSignal)
	c, err := t.newChild(a, event)
	if err != nil {
		k.count.Add(-1)
		return 0, err
	}
	nr := c.pid.Load().In(t.PIDNS())
	if nr == 0 {
		// setns into a namespace that is not below: cannot happen, ids are visible to ancestors.
		nr = c.pid.Load().Root()
	}
	var done *waitq.Bell
	if f&unix.CLONE_VFORK != 0 {
		done = waitq.NewBell()
		c.vforkDone = done
	}
	childPID := c.pid.Load()
	c.start()
	if event != 0 {
		t.ptraceEventPID(event, childPID)
	}
	if done != nil {
		_ = t.block(nil, done, -1, workKill)
		t.ptraceEventPID(unix.PTRACE_EVENT_VFORK_DONE, childPID)
	}
	return nr, nil
}

// newChild makes everything of the new task, but does not start it. It undoes what it did
// on an error.
func (t *Task) newChild(a *CloneArgs, event int) (_ *Task, err error) {
	k, f := t.k, a.Flags
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()

	nc := t.Cred()
	if f&unix.CLONE_NEWUSER != 0 {
		if t.chrooted() {
			return nil, unix.EPERM
		}
		ns, x, err := nc.NewUserNS()
		if err != nil {
			return nil, err
		}
		ns.ID = k.newInum(unix.CLONE_NEWUSER)
		nc = x
	}
	k.getUserNS(nc.UserNS)
	undo = append(undo, func() { k.putUserNS(nc.UserNS) })
	if t.overNProc() {
		return nil, unix.EAGAIN
	}
	t.nprocExceeded = false
	if f&nsFlags != 0 && !nc.Has(unix.CAP_SYS_ADMIN) {
		return nil, unix.EPERM
	}
	if f&unix.CLONE_NEWIPC != 0 && f&unix.CLONE_SYSVSEM != 0 {
		return nil, unix.EINVAL
	}
	if len(a.SetTID) > 0 {
		if err := t.maySetTID(a.SetTID); err != nil {
			return nil, err
		}
	}
	key := nprocKey{nc.UserNS, nc.UID}
	k.chargeProc(key, 1)
	undo = append(undo, func() { k.chargeProc(key, -1) })

	c := &Task{
		k: k, wake: make(chan struct{}, 1), done: make(chan struct{}),
		Regs: t.Regs,
	}
	c.cred.Store(nc)
	c.name = t.name
	c.syscallNo.Store(arch.NoSyscall)
	c.Regs.Rax = 0
	c.Regs.Orig_rax = arch.NoSyscall
	if a.Stack != 0 {
		c.Regs.Rsp = a.Stack
	}
	if f&unix.CLONE_SETTLS != 0 {
		if a.TLS >= arch.MaxAddr {
			return nil, unix.EPERM
		}
		c.Regs.Fs_base = a.TLS
	}
	if f&unix.CLONE_CHILD_SETTID != 0 {
		c.setChildTID = a.ChildTID
	}
	if f&unix.CLONE_CHILD_CLEARTID != 0 {
		c.clearChildTID = a.ChildTID
	}
	c.startTime = k.mono()
	c.taskSched.inherit(t, f)
	t.inheritMisc(c)

	// Files and paths.
	if f&unix.CLONE_FILES != 0 {
		c.files = t.files
		c.files.IncRef()
	} else if c.files, err = t.cloneFiles(); err != nil {
		return nil, err
	}
	undo = append(undo, func() { c.files.DecRef(t) })
	if f&unix.CLONE_FS != 0 {
		c.fs = t.fs
		c.fs.IncRef()
	} else {
		c.fs = t.fs.Clone()
	}
	undo = append(undo, func() { c.fs.DecRef() })

	// Namespaces.
	if f&nsFlags != 0 {
		if c.ns, err = t.newNamespaces(t.ns, f, nc, c.fs); err != nil {
			return nil, err
		}
	} else {
		c.ns = t.ns
		c.ns.IncRef()
	}
	undo = append(undo, func() { c.ns.DecRef() })
	if f&unix.CLONE_VM == 0 && c.ns.Time != c.ns.TimeFor {
		n := c.ns.clone()
		n.Time.DecRef()
		n.Time = n.TimeFor
		n.Time.IncRef()
		n.Time.freeze()
		c.ns.DecRef()
		c.ns = n
	}

	// Memory.
	if f&unix.CLONE_VM != 0 {
		c.mm = shareMM(t.mm)
	} else if c.mm, err = forkMM(t.mm); err != nil {
		return nil, err
	}
	undo = append(undo, func() { putMM(c.mm) })
	c.setContext(k.Platform.NewContext())
	undo = append(undo, func() { c.ctx.Release() })
	fp, err := t.ctx.FP()
	if err != nil {
		return nil, err
	}
	c.startFP = append([]byte(nil), fp...)

	// The process.
	var p *Process
	if f&unix.CLONE_THREAD != 0 {
		p = t.proc
	} else {
		p = t.newProcess(a, c)
		undo = append(undo, func() { p.sighand.Load().refs.Add(-1) })
	}
	c.proc = p
	c.initTaskSignals(t, f)
	t.cloneRseq(c, f)
	t.cloneSeccomp(c)
	if f&unix.CLONE_VM == 0 {
		c.mm.SetLimits(func(r int) uint64 { return p.Limit(r).Cur })
		c.mm.SetCapable(c.mmCapable())
	}

	// Identity. From here on the task is visible, but for the lock.
	if err = t.attach(c, a, event); err != nil {
		return nil, err
	}
	k.forks.Add(1)
	return c, nil
}

// maySetTID checks the right to choose ids: CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the user
// namespaces of all pid namespaces concerned.
func (t *Task) maySetTID(ids []int32) error {
	ns := t.ns.PID
	c := t.Cred()
	for _, id := range ids {
		if id < 1 || id >= ns.Max() {
			return unix.EINVAL
		}
		if !c.HasIn(ns.user, unix.CAP_SYS_ADMIN) && !c.HasIn(ns.user, unix.CAP_CHECKPOINT_RESTORE) {
			return unix.EPERM
		}
		ns = ns.parent
	}
	return nil
}

// newProcess makes the thread group of a child that is no thread.
func (t *Task) newProcess(a *CloneArgs, c *Task) *Process {
	p := &Process{k: t.k, startMono: time.Now(), exitSignal: a.ExitSignal}
	p.limits = t.proc.Limits()
	p.tty.Store(t.proc.tty.Load())
	p.oomScoreAdj.Store(t.proc.oomScoreAdj.Load())
	p.oomScoreMin.Store(t.proc.oomScoreMin.Load())
	p.dumpable.Store(t.proc.dumpable.Load())
	p.coreFilter.Store(t.proc.coreFilter.Load())
	p.initSignals(t.forkSigHand(a.Flags))
	return p
}

// attach gives the task its ids, tells them to the parent's memory, and puts it in the process tree.
func (t *Task) attach(c *Task, a *CloneArgs, event int) error {
	k, f, p := t.k, a.Flags, c.proc
	thread := f&unix.CLONE_THREAD != 0

	k.tasks.Lock()
	pid, err := k.allocPID(c.ns.PID, a.SetTID)
	k.tasks.Unlock()
	if err != nil {
		return err
	}
	fail := func(err error) error {
		k.tasks.Lock()
		k.freeNumbers(pid)
		k.tasks.Unlock()
		return err
	}
	c.pid.Store(pid)
	pidfd := int32(-1)
	if f&unix.CLONE_PIDFD != 0 {
		flags := uint32(0)
		if thread {
			flags = PidfdThread
		}
		if pidfd, err = t.installPidfd(pid, flags); err != nil {
			return fail(err)
		}
		if err := copyOut(t, a.PidFD, pidfd); err != nil {
			_ = t.files.Close(t, pidfd)
			return fail(err)
		}
	}
	if f&unix.CLONE_PARENT_SETTID != 0 {
		_ = copyOut(t, a.ParentTID, pid.In(t.PIDNS()))
	}

	k.tasks.Lock()
	defer k.unlockTasks()
	sh := t.proc.lockSig()
	dying := t.work.Load()&workKill != 0 || t.proc.groupExit || k.shutdown.Load()
	if dying || pid.ns().closed {
		sh.mu.Unlock()
		k.freeNumbers(pid)
		if pidfd >= 0 {
			k.later = append(k.later, func() { _ = t.files.Close(t, pidfd) })
		}
		if dying {
			return vfs.ErrRestartNoIntr
		}
		return unix.ENOMEM
	}
	pid.task = c
	if thread {
		p.threads = append(p.threads, c)
		p.live.Add(1)
		c.joinGroupStopLocked(t)
		sh.mu.Unlock()
		t.ptraceClone(c, event, f)
		return nil
	}
	sh.mu.Unlock()

	p.tgid = pid
	p.leader = c
	p.threads = []*Task{c}
	p.live.Store(1)
	pid.proc = p
	parent, parentTask := t.proc, t
	if f&unix.CLONE_PARENT != 0 {
		parent, parentTask = t.proc.parent, t.proc.parentTask
		p.exitSignal = t.proc.exitSignal
		p.parentExecID = t.proc.parentExecID
	} else {
		p.parentExecID = t.proc.execID
	}
	p.execID = t.proc.execID
	p.parent, p.parentTask = parent, parentTask
	if parent != nil {
		parent.children = append(parent.children, p)
	}
	ns := pid.ns()
	if pid.In(ns) == 1 {
		ns.reaper = p
	}
	k.setSession(p, t.proc.session)
	k.setPgrp(p, t.proc.pgrp)
	t.ptraceClone(c, event, f)
	return nil
}

// joinGroupStopLocked makes a new thread take part in a group stop that is under way or in force.
func (c *Task) joinGroupStopLocked(t *Task) {
	p := t.proc
	flags := t.sig.jobctl&jobctlSignalMask | jobctlStopPending
	switch {
	case p.stopCount > 0:
		p.stopCount++
		flags |= jobctlStopConsume
	case !p.stopped:
		return
	}
	c.sig.jobctl |= flags
	c.work.Or(workSignal)
}

// mmCapable tells memory management whether the task may go over limits (CAP_IPC_LOCK).
func (t *Task) mmCapable() func() bool {
	return func() bool { return t.Cred().HasInitial(unix.CAP_IPC_LOCK) }
}

// Fork is fork(2).
func (t *Task) Fork() (int32, error) {
	return t.Clone(&CloneArgs{ExitSignal: int32(unix.SIGCHLD)})
}

// VFork is vfork(2).
func (t *Task) VFork() (int32, error) {
	return t.Clone(&CloneArgs{Flags: unix.CLONE_VFORK | unix.CLONE_VM, ExitSignal: int32(unix.SIGCHLD)})
}
