package sentry

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/tty"
	"gosv.dev/vfs/waitq"
)

// Process is a thread group (Linux: signal_struct).
type Process struct {
	k *Kernel
	// tgid is the thread group's identity. Immutable: an exec by another thread than
	// the leader moves the thread to the identity, not the identity to the thread.
	tgid *PID

	// Protected by Kernel.tasks for writing; Kernel.tasks or sighand.mu is enough for reading
	// the thread list and leader, since a change holds both.
	leader  *Task
	threads []*Task // those not yet released, in order of creation

	// Protected by Kernel.tasks.
	parent     *Process // nil for the first process, and after it was reaped
	parentTask *Task    // the thread of parent that made it (PR_SET_PDEATHSIG, __WNOTHREAD)
	children   []*Process
	pgrp       *PID // also sighand.mu
	session    *PID // also sighand.mu
	exitSignal int32
	zombie     bool // all threads are dead and the parent may wait for it
	reaped     bool // released, or about to be by the one who set it
	didExec    bool // setpgid by the parent is no longer allowed
	subreaper  bool // PR_SET_CHILD_SUBREAPER
	commanded  bool // who started it is outside, in the same session: a shell, say. Immutable
	zapping    bool // an init of a namespace that waits for all others there to die
	// execParentID changes at exec: a parent that gained privileges gets SIGCHLD
	// whatever signal its child was made to send.
	execID, parentExecID uint64

	// childWait is notified when a child (or tracee) of any thread changes its state.
	childWait waitq.Queue

	// Protected by sighand.mu. groupExit and groupExitCode are in processSignals.
	execTask *Task         // the thread whose exec kills the others; nil mostly
	execWake chan struct{} // made ready when a thread is released while execTask is set

	// tty is the controlling terminal, or nil.
	tty atomic.Pointer[tty.TTY]

	// live is how many threads have not begun to exit.
	live atomic.Int32

	// processSignals is the signal half: the handlers and the lock over everything about
	// signals (sighand), shared pending signals, job control, timers.
	processSignals

	// limitMu protects limits.
	limitMu sync.Mutex
	limits  Limits

	// acctMu protects the usage of threads that have died and of reaped children.
	acctMu      sync.Mutex
	deadUsage   Usage     // of threads that have exited
	childUsage  Usage     // of children waited for, with theirs
	startMono   time.Time // for /proc/PID/stat
	oomScoreAdj atomic.Int32
	oomScoreMin atomic.Int32 // lowest that needs no privilege
	dumpable    atomic.Int32 // PR_SET_DUMPABLE
	ioAccount
	coreFilter atomic.Uint32 // see procinfo.go
}

// Kernel is the sandbox the process belongs to.
func (p *Process) Kernel() *Kernel { return p.k }

// PID is the thread group's identity.
func (p *Process) PID() *PID { return p.tgid }

// Parent is the parent process; nil for the first process of the sandbox.
func (p *Process) Parent() *Process {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.parent
}

// Leader is the thread group leader, alive or not; nil after it was reaped.
func (p *Process) Leader() *Task {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.leader
}

// Threads are the threads that have not been released.
func (p *Process) Threads() []*Task {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return append([]*Task(nil), p.threads...)
}

// Children are the children in order of birth.
func (p *Process) Children() []*Process {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return append([]*Process(nil), p.children...)
}

// Zombie tells whether all threads are dead and the parent has not waited yet.
func (p *Process) Zombie() bool {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.zombie
}

// PGID and SID are the identities of process group and session.
func (p *Process) PGID() *PID {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.pgrp
}

// SID is the identity of the session.
func (p *Process) SID() *PID {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.session
}

// SessionOf is the session that p is in.
func (p *Process) SessionOf() *Session {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	if p.session == nil {
		return nil
	}
	return p.session.sess
}

// StartTime is when the process was made, since the sandbox booted.
func (p *Process) StartTime() time.Duration { return p.startMono.Sub(p.k.boot) }

// ExitSignal is the signal that the parent gets.
func (p *Process) ExitSignal() int32 {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	return p.exitSignal
}

// OOMScoreAdj is /proc/PID/oom_score_adj.
func (p *Process) OOMScoreAdj() int32 { return p.oomScoreAdj.Load() }

// SetOOMScoreAdj is a write to /proc/PID/oom_score_adj by t: lowering it below what
// somebody with the right last set takes CAP_SYS_RESOURCE.
func (p *Process) SetOOMScoreAdj(t *Task, v int32) error {
	if v < -1000 || v > 1000 {
		return unix.EINVAL
	}
	priv := t.Cred().HasInitial(unix.CAP_SYS_RESOURCE)
	if v < p.oomScoreMin.Load() && !priv {
		return unix.EACCES
	}
	p.oomScoreAdj.Store(v)
	if priv {
		p.oomScoreMin.Store(v)
	}
	return nil
}

// isInit tells whether p is the init of a pid namespace (SIGNAL_UNKILLABLE).
func (p *Process) isInit() bool {
	n := p.tgid.nums[len(p.tgid.nums)-1]
	return n.nr == 1
}

// alive tells whether a thread has not begun to exit.
func (p *Process) alive() bool { return p.live.Load() > 0 }

// firstAlive is a thread that has not begun to exit, the leader if it can be.
// Kernel.tasks or sighand.mu is held.
func (p *Process) firstAlive() *Task {
	if p.leader != nil && !p.leader.exiting.Load() {
		return p.leader
	}
	for _, t := range p.threads {
		if !t.exiting.Load() {
			return t
		}
	}
	return nil
}
