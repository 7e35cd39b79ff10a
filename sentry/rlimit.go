package sentry

import (
	"math"

	"golang.org/x/sys/unix"
)

// rlimNLimits is how many resource limits there are.
const rlimNLimits = 16

// Limits are the resource limits of a process, by RLIMIT_*.
type Limits [rlimNLimits]unix.Rlimit

// Numbers of the limits that package unix does not have.
const (
	rlimitRTTime   = 15
	rlimitSigPend  = 11
	rlimitMsgQueue = 12
	rlimitNice     = 13
	rlimitRTPrio   = 14
)

// DefaultLimits are Linux's for the first process, with room for threads limited as Linux
// does by the memory there is.
func DefaultLimits(maxTasks int) Limits {
	var l Limits
	for i := range l {
		l[i] = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	l[unix.RLIMIT_STACK].Cur = 8 << 20
	l[unix.RLIMIT_CORE].Cur = 0
	l[unix.RLIMIT_NPROC] = unix.Rlimit{Cur: uint64(maxTasks), Max: uint64(maxTasks)}
	l[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: 1024, Max: 1 << 20}
	l[unix.RLIMIT_MEMLOCK] = unix.Rlimit{Cur: 8 << 20, Max: 8 << 20}
	l[rlimitSigPend] = unix.Rlimit{Cur: uint64(maxTasks), Max: uint64(maxTasks)}
	l[rlimitMsgQueue] = unix.Rlimit{Cur: 819200, Max: 819200}
	l[rlimitNice] = unix.Rlimit{}
	l[rlimitRTPrio] = unix.Rlimit{}
	return l
}

// Limit is a resource limit of the process.
func (p *Process) Limit(resource int) unix.Rlimit {
	if resource < 0 || resource >= rlimNLimits {
		return unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	p.limitMu.Lock()
	defer p.limitMu.Unlock()
	return p.limits[resource]
}

// SetLimit changes a limit for t and returns the old one.
func (p *Process) SetLimit(t *Task, resource int, n *unix.Rlimit) (old unix.Rlimit, err error) {
	if resource < 0 || resource >= rlimNLimits {
		return old, unix.EINVAL
	}
	if n != nil {
		if n.Cur > n.Max {
			return old, unix.EINVAL
		}
		if resource == unix.RLIMIT_NOFILE && n.Max > uint64(p.k.VFS.NROpen.Load()) {
			return old, unix.EPERM
		}
	}
	p.limitMu.Lock()
	old = p.limits[resource]
	if n == nil {
		p.limitMu.Unlock()
		return old, nil
	}
	if n.Max > old.Max && !t.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
		p.limitMu.Unlock()
		return old, unix.EPERM
	}
	p.limits[resource] = *n
	p.k.noteDataLimit(&p.limits)
	p.limitMu.Unlock()
	if resource == unix.RLIMIT_CPU {
		p.cpuLimitChanged()
	}
	return old, nil
}

// noteDataLimit notes that there is a process with a limit of its data, which a leaf call of brk(2) does not look at.
func (k *Kernel) noteDataLimit(l *Limits) {
	if l[unix.RLIMIT_DATA].Cur != unix.RLIM_INFINITY {
		k.limited.Store(true)
	}
}

// Limits is a copy of all limits, for fork and /proc/PID/limits.
func (p *Process) Limits() Limits {
	p.limitMu.Lock()
	defer p.limitMu.Unlock()
	return p.limits
}

// PrLimit is prlimit64(2) on another thread group: the caller must be the target's user in all
// ways, or have CAP_SYS_RESOURCE over it.
func (t *Task) PrLimit(target *Task, resource int, n *unix.Rlimit) (unix.Rlimit, error) {
	if target.proc != t.proc {
		c, o := t.Cred(), target.Cred()
		same := c.UID == o.EUID && c.UID == o.SUID && c.UID == o.UID &&
			c.GID == o.EGID && c.GID == o.SGID && c.GID == o.GID
		if !same && !c.HasIn(o.UserNS, unix.CAP_SYS_RESOURCE) {
			return unix.Rlimit{}, unix.EPERM
		}
	}
	return target.proc.SetLimit(t, resource, n)
}

// chargeProc counts a task for a user (RLIMIT_NPROC), n may be negative.
func (k *Kernel) chargeProc(key nprocKey, n int64) int64 {
	k.uidMu.Lock()
	defer k.uidMu.Unlock()
	k.nproc[key] += n
	v := k.nproc[key]
	if v == 0 {
		delete(k.nproc, key)
	}
	return v
}

func (k *Kernel) procCount(key nprocKey) int64 {
	k.uidMu.Lock()
	defer k.uidMu.Unlock()
	return k.nproc[key]
}

// overNProc tells whether t's user has more tasks than RLIMIT_NPROC allows; root and those who
// may ignore limits never have.
func (t *Task) overNProc() bool {
	c := t.Cred()
	limit := t.Limit(unix.RLIMIT_NPROC)
	if limit == math.MaxUint64 || c.UID == 0 {
		return false
	}
	if t.k.procCount(nprocKey{c.UserNS, c.UID}) < int64(min(limit, math.MaxInt64)) {
		return false
	}
	return !c.HasInitial(unix.CAP_SYS_RESOURCE) && !c.HasInitial(unix.CAP_SYS_ADMIN)
}
