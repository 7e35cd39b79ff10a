package sentry

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/tty"
)

// Session is a session: process groups that share a controlling terminal.
type Session struct {
	k   *Kernel
	pid *PID
	// leader is the process that made it, nil once it has died. Protected by Kernel.tasks.
	leader *Process
	// oldFG is the foreground group of the terminal that hung up; it is told when the leader
	// exits. Protected by Kernel.tasks.
	oldFG tty.Group
}

// group is a process group as terminals see it; equal groups compare equal.
type group struct {
	k   *Kernel
	pid *PID
}

// setPgrp moves p to a process group, nil for none. Kernel.tasks is held.
func (k *Kernel) setPgrp(p *Process, pgrp *PID) {
	old := p.pgrp
	if old == pgrp {
		return
	}
	sh := p.lockSig()
	p.pgrp = pgrp
	sh.mu.Unlock()
	p.noAnswers()
	if pgrp != nil {
		pgrp.pgrp = append(pgrp.pgrp, p)
	}
	if old != nil {
		old.pgrp = remove(old.pgrp, p)
		if len(old.pgrp) == 0 {
			if term := p.tty.Load(); term != nil {
				k.later = append(k.later, func() { term.GroupGone(group{k, old}) })
			}
			k.maybeFree(old)
		}
	}
}

// setSession moves p to a session, nil for none. Kernel.tasks is held.
func (k *Kernel) setSession(p *Process, sid *PID) {
	old := p.session
	if old == sid {
		return
	}
	sh := p.lockSig()
	p.session = sid
	sh.mu.Unlock()
	if sid != nil {
		sid.session = append(sid.session, p)
	}
	if old != nil {
		old.session = remove(old.session, p)
		if old.sess != nil && old.sess.leader == p {
			old.sess.leader = nil
		}
		if len(old.session) == 0 {
			old.sess = nil
			k.maybeFree(old)
		}
	}
}

// SetSID is setsid(2).
func (t *Task) SetSID() (int32, error) {
	k, p := t.k, t.proc
	k.tasks.Lock()
	defer k.unlockTasks()
	if p.session != nil && p.session == p.tgid || len(p.tgid.pgrp) != 0 {
		return 0, unix.EPERM
	}
	k.newSession(p)
	return p.tgid.In(t.PIDNS()), nil
}

// newSession makes p the leader of a session and a group of its own. Kernel.tasks is held.
func (k *Kernel) newSession(p *Process) {
	p.tgid.sess = &Session{k: k, pid: p.tgid, leader: p}
	k.setSession(p, p.tgid)
	k.setPgrp(p, p.tgid)
	p.tty.Store(nil)
}

// SetPGID is setpgid(2).
func (t *Task) SetPGID(pid, pgid int32) error {
	if pid == 0 {
		pid = t.proc.tgid.In(t.PIDNS())
	}
	if pgid == 0 {
		pgid = pid
	}
	if pgid < 0 {
		return unix.EINVAL
	}
	k, ns := t.k, t.PIDNS()
	k.tasks.Lock()
	defer k.unlockTasks()
	target := ns.findTask(pid)
	if target == nil {
		return unix.ESRCH
	}
	p := target.proc
	if target != p.leader {
		return unix.EINVAL
	}
	if p.parent == t.proc && p != t.proc {
		if p.session != t.proc.session {
			return unix.EPERM
		}
		if p.didExec {
			return unix.EACCES
		}
	} else if p != t.proc {
		return unix.ESRCH
	}
	if p.session == p.tgid {
		return unix.EPERM // a session leader
	}
	pgrp := p.tgid
	if pgid != pid {
		pgrp = ns.findPID(pgid)
		if pgrp == nil || len(pgrp.pgrp) == 0 || pgrp.pgrp[0].session != t.proc.session {
			return unix.EPERM
		}
	}
	k.setPgrp(p, pgrp)
	return nil
}

// GetPGID is getpgid(2), GetSID getsid(2): of the task with that id, 0 the caller.
func (t *Task) GetPGID(pid int32) (int32, error) {
	return t.groupID(pid, func(p *Process) *PID { return p.pgrp })
}

func (t *Task) GetSID(pid int32) (int32, error) {
	return t.groupID(pid, func(p *Process) *PID { return p.session })
}

func (t *Task) groupID(pid int32, of func(*Process) *PID) (int32, error) {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	p := t.proc
	if pid != 0 {
		x := t.PIDNS().findTask(pid)
		if x == nil {
			return 0, unix.ESRCH
		}
		p = x.proc
	}
	return of(p).In(t.PIDNS()), nil
}

// leaveTerminal is called when the last thread of p exits: the terminal of a session that loses
// its leader is hung up.
func (p *Process) leaveTerminal() {
	p.k.tasks.Lock()
	var fg tty.Group
	leader := p.session != nil && p.session.sess != nil && p.session.sess.leader == p
	if leader {
		fg, p.session.sess.oldFG = p.session.sess.oldFG, nil
	}
	p.k.unlockTasks()
	if !leader {
		p.tty.Store(nil)
		return
	}
	if term := p.tty.Load(); term != nil {
		term.Disassociate(true)
	} else if fg != nil {
		fg.Signal(unix.SIGHUP)
		fg.Signal(unix.SIGCONT)
	}
	p.tty.Store(nil)
}

// JobControl implements tty.Caller.
func (t *Task) JobControl() tty.JobControl { return jobControl{t} }

// Terminal is the controlling terminal of the process, or nil.
func (p *Process) Terminal() *tty.TTY { return p.tty.Load() }

type jobControl struct{ t *Task }

func (j jobControl) Group() tty.Group {
	k := j.t.k
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return group{k, j.t.proc.pgrp}
}

func (j jobControl) Session() tty.Session {
	k := j.t.k
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return j.t.proc.ttySession()
}

func (j jobControl) Leader() bool {
	k := j.t.k
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	s := j.t.proc.session
	return s != nil && s.sess != nil && s.sess.leader == j.t.proc
}

func (j jobControl) Terminal() *tty.TTY { return j.t.proc.tty.Load() }
func (j jobControl) DropTerminal()      { j.t.proc.tty.Store(nil) }

func (j jobControl) FindGroup(pid int32) tty.Group {
	k := j.t.k
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	id := j.t.PIDNS().findPID(pid)
	if id == nil || len(id.pgrp) == 0 {
		return nil
	}
	return group{k, id}
}

func (j jobControl) Ignores(sig unix.Signal) bool {
	sh := j.t.proc.lockSig()
	defer sh.mu.Unlock()
	return j.t.sig.blocked.Has(int32(sig)) || sh.action(int32(sig)).Handler == SigIgn
}

// Signal implements tty.Group.
func (g group) Signal(sig unix.Signal) {
	g.k.tasks.RLock()
	defer g.k.tasks.RUnlock()
	for _, p := range g.pid.pgrp {
		_ = p.sendSignal(kernelInfo(sig))
	}
}

// Orphaned implements tty.Group.
func (g group) Orphaned() bool {
	g.k.tasks.RLock()
	defer g.k.tasks.RUnlock()
	return g.k.isOrphaned(g.pid, nil)
}

// ttySession is p's session as terminals see it, nil for one outside the sandbox. Kernel.tasks is held.
func (p *Process) ttySession() tty.Session {
	if p.session == nil || p.session.sess == nil {
		return nil
	}
	return p.session.sess
}

// Session implements tty.Group.
func (g group) Session() tty.Session {
	g.k.tasks.RLock()
	defer g.k.tasks.RUnlock()
	if len(g.pid.pgrp) == 0 {
		return nil
	}
	return g.pid.pgrp[0].ttySession()
}

// PID implements tty.Group.
func (g group) PID(ctx vfs.Context) int32 { return pidFor(ctx, g.pid) }

// PID implements tty.Session.
func (s *Session) PID(ctx vfs.Context) int32 { return pidFor(ctx, s.pid) }

// SetTerminal implements tty.Session.
func (s *Session) SetTerminal(term *tty.TTY) {
	s.k.tasks.RLock()
	defer s.k.tasks.RUnlock()
	for _, p := range s.pid.session {
		p.tty.Store(term)
	}
}

// HangUp implements tty.Session.
func (s *Session) HangUp(fg tty.Group) {
	s.k.tasks.Lock()
	defer s.k.unlockTasks()
	s.oldFG = fg
	for _, p := range s.pid.session {
		p.tty.Store(nil)
	}
	if s.leader != nil {
		_ = s.leader.sendSignal(kernelInfo(unix.SIGHUP))
		_ = s.leader.sendSignal(kernelInfo(unix.SIGCONT))
	}
}

func pidFor(ctx vfs.Context, p *PID) int32 {
	if t, ok := ctx.(*Task); ok {
		return p.In(t.PIDNS())
	}
	return p.Root()
}
