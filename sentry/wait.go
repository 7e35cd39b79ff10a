package sentry

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

// WaitStatus is how a process ended or stopped, as wait4(2) stores it: exit
// code << 8, or the number of a signal with 0x80 if a core was dumped.
type WaitStatus uint32

// Exited tells whether the process ended by exit; ExitCode is its code then.
func (s WaitStatus) Exited() bool  { return s&0x7f == 0 }
func (s WaitStatus) ExitCode() int { return int(s>>8) & 0xff }

// Signaled tells whether a signal ended the process.
func (s WaitStatus) Signaled() bool      { return s&0x7f != 0 && s&0xff != 0x7f }
func (s WaitStatus) Signal() unix.Signal { return unix.Signal(s & 0x7f) }
func (s WaitStatus) CoreDump() bool      { return s&0x80 != 0 }

// childCode is si_code and si_status of a SIGCHLD for an exit with status s.
func (s WaitStatus) childCode() (code, value int32) {
	switch {
	case s.Exited():
		return cldExited, int32(s.ExitCode())
	case s.CoreDump():
		return cldDumped, int32(s & 0x7f)
	}
	return cldKilled, int32(s & 0x7f)
}

// What waitid(2) waits for.
const (
	WaitAll = iota
	WaitPID
	WaitPGID
)

// WaitOptions are what wait4 and waitid say.
type WaitOptions struct {
	Which int
	ID    *PID // of WaitPID and WaitPGID; nil matches nothing
	// Flags are WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, WNOHANG, __WALL, __WCLONE, __WNOTHREAD.
	Flags uint32
}

// Flags of wait that package unix does not name so.
const (
	WNoThread  = 0x20000000
	WAllKinds  = 0x40000000
	WCloneOnly = 0x80000000
)

// WaitResult is one child's change of state.
type WaitResult struct {
	PID    int32  // in the caller's pid namespace
	UID    uint32 // in the caller's user namespace
	Code   int32  // CLD_*
	Value  int32  // si_status
	Status WaitStatus
	Usage  Usage
}

// Wait waits for a child or tracee to change its state. Without one that it may
// wait for it returns ECHILD; nil and no error with WNOHANG and nothing to tell.
func (t *Task) Wait(o *WaitOptions) (*WaitResult, error) {
	w := waitq.GetWaiter()
	q := &t.proc.childWait
	q.EventRegister(&w.Entry, waitq.In)
	defer func() {
		q.EventUnregister(&w.Entry)
		w.Put()
	}()
	for {
		res, err := t.waitOnce(o)
		if res != nil || err != nil {
			return res, err
		}
		if o.Flags&unix.WNOHANG != 0 {
			return nil, nil
		}
		if err := t.BlockBell(&w.Bell, -1); err != nil {
			// The child's signal comes just before it tells who waits.
			if res, e := t.waitOnce(o); res != nil || e != nil {
				return res, e
			}
			return nil, err
		}
	}
}

// waitOnce looks at all children once.
func (t *Task) waitOnce(o *WaitOptions) (*WaitResult, error) {
	k, p := t.k, t.proc
	k.tasks.Lock()
	defer k.unlockTasks()
	found := false
	for _, c := range p.children {
		if o.Flags&WNoThread != 0 && c.parentTask != t {
			continue
		}
		if c.leader == nil {
			continue
		}
		if res := t.consider(o, c.leader, false, &found); res != nil {
			return res, nil
		}
	}
	for _, th := range p.threads {
		if o.Flags&WNoThread != 0 && th != t {
			continue
		}
		for _, x := range th.tracing.tracees {
			if res := t.consider(o, x, true, &found); res != nil {
				return res, nil
			}
		}
	}
	if !found {
		return nil, unix.ECHILD
	}
	return nil, nil
}

// consider looks at one child or tracee (Linux: wait_consider_task). Kernel.tasks is held.
func (t *Task) consider(o *WaitOptions, x *Task, traced bool, found *bool) *WaitResult {
	c := x.proc
	if x.released {
		return nil
	}
	switch o.Which {
	case WaitPID:
		// A thread can be waited for by its own id only by a tracer, and children by
		// their thread group's.
		if o.ID == nil || x.pid.Load() != o.ID {
			return nil
		}
	case WaitPGID:
		if o.ID == nil || c.pgrp != o.ID {
			return nil
		}
	}
	if !traced && o.Flags&WAllKinds == 0 {
		if (c.exitSignal != int32(unix.SIGCHLD)) != (o.Flags&WCloneOnly != 0) {
			return nil
		}
	}
	tracer := x.tracer()
	if !traced && tracer != nil && tracer.proc == t.proc {
		// Traced by its parent: seen as a tracee.
		*found = true
		return nil
	}
	if x.dead {
		ready := x != c.leader || c.zombie
		if ready && (traced || tracer == nil) {
			*found = true
			if o.Flags&unix.WEXITED == 0 {
				return nil
			}
			return t.reap(o, x, traced)
		}
		if traced || tracer == nil || x == c.leader {
			*found = true
		}
		if x == c.leader && c.zombie {
			return nil
		}
	}
	*found = true
	if traced || o.Flags&unix.WUNTRACED != 0 {
		if status, ok := x.waitStopped(traced, o.Flags&unix.WNOWAIT == 0); ok {
			res := t.waitResult(x)
			res.Status = WaitStatus(status<<8 | 0x7f)
			res.Code, res.Value = cldStopped, int32(status)
			if traced {
				res.Code = cldTrapped
			}
			return res
		}
	}
	if o.Flags&unix.WCONTINUED != 0 && c.waitContinued(o.Flags&unix.WNOWAIT == 0) {
		res := t.waitResult(x)
		res.Status = 0xffff
		res.Code, res.Value = cldContinued, int32(unix.SIGCONT)
		return res
	}
	return nil
}

func (t *Task) waitResult(x *Task) *WaitResult {
	return &WaitResult{
		PID:   x.pid.Load().In(t.PIDNS()),
		UID:   t.Cred().UserNS.ShowUID(x.Cred().UID),
		Usage: x.proc.usageLocked(x),
	}
}

// reap tells about a dead task and, unless WNOWAIT, releases it. Kernel.tasks is held.
func (t *Task) reap(o *WaitOptions, x *Task, traced bool) *WaitResult {
	k, c := t.k, x.proc
	res := t.waitResult(x)
	res.Status = x.exitStatus
	if x == c.leader {
		res.Status = c.exitStatusLocked()
	}
	res.Code, res.Value = res.Status.childCode()
	if o.Flags&unix.WNOWAIT != 0 {
		return res
	}
	if traced && x == c.leader && c.parent != nil && c.parent != t.proc {
		// The tracer has seen it; now the parent may.
		x.ptraceUnlink()
		if k.notifyExit(x, c.parent, c.exitSignal) {
			k.releaseTask(x)
		}
		return res
	}
	if x == c.leader && c.parent == t.proc {
		u := c.usageLocked(x)
		c.acctMu.Lock()
		u.add(&c.childUsage)
		c.acctMu.Unlock()
		t.proc.acctMu.Lock()
		t.proc.childUsage.add(&u)
		t.proc.acctMu.Unlock()
	}
	k.releaseTask(x)
	return res
}

// WaitID finds what wait4's pid argument means.
func (t *Task) WaitID(pid int32) (which int, id *PID) {
	k := t.k
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	switch {
	case pid == -1:
		return WaitAll, nil
	case pid == 0:
		return WaitPGID, t.proc.pgrp
	case pid < 0:
		return WaitPGID, t.PIDNS().findPID(-pid)
	}
	return WaitPID, t.PIDNS().findPID(pid)
}

// FindPID is the PID with a number in the caller's pid namespace, or nil.
func (t *Task) FindPID(nr int32) *PID {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.PIDNS().findPID(nr)
}

// WaitReap waits for t's goroutine to have ended: for tests and for who started it.
func (p *Process) WaitReap(timeout time.Duration) bool {
	e, ch := waitq.NewChan()
	p.tgid.exit.EventRegister(e, waitq.In)
	defer p.tgid.exit.EventUnregister(e)
	deadline := time.After(timeout)
	for !p.Zombie() && p.alive() {
		select {
		case <-ch:
		case <-deadline:
			return false
		}
	}
	return true
}
