package sentry

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
)

// Values of PR_SET_DUMPABLE.
const (
	dumpNot  = 0
	dumpUser = 1
	dumpRoot = 2
)

// taskMisc is what prctl(2), personality(2) and the like keep in a task.
type taskMisc struct {
	noNewPrivs    atomic.Bool
	personality   atomic.Uint32
	timerSlack    atomic.Int64
	defaultSlack  int64
	thp           bool      // PR_SET_THP_DISABLE
	tsc           int32     // PR_SET_TSC
	mce           int32     // PR_MCE_KILL
	ioFlusher     bool      // PR_SET_IO_FLUSHER
	speculation   [3]uint32 // PR_SET_SPECULATION_CTRL, by kind
	mdwe          uint32    // PR_SET_MDWE
	nprocExceeded bool      // a setuid took the user over RLIMIT_NPROC
	memMerge      bool      // PR_SET_MEMORY_MERGE
	coreCookie    uint64    // PR_SCHED_CORE
	mempolicy     mm.Policy // set_mempolicy(2)
}

// inheritMisc copies what a new task has from its parent.
func (t *Task) inheritMisc(c *Task) {
	c.noNewPrivs.Store(t.noNewPrivs.Load())
	c.personality.Store(t.personality.Load())
	slack := t.timerSlack.Load()
	c.timerSlack.Store(slack)
	c.defaultSlack = slack
	c.thp, c.tsc, c.mce, c.ioFlusher = t.thp, t.tsc, t.mce, t.ioFlusher
	c.speculation = t.speculation
	c.mdwe, c.memMerge, c.coreCookie = t.mdwe, t.memMerge, t.coreCookie
	c.mempolicy = t.mempolicy
}

func atomicLoad(p *int32) int32     { return atomic.LoadInt32(p) }
func atomicStore(p *int32, v int32) { atomic.StoreInt32(p, v) }

// NoNewPrivs tells whether execve gives no privileges (PR_SET_NO_NEW_PRIVS).
func (t *Task) NoNewPrivs() bool { return t.noNewPrivs.Load() }

// SetNoNewPrivs is PR_SET_NO_NEW_PRIVS.
func (t *Task) SetNoNewPrivs() { t.noNewPrivs.Store(true) }

// MemPolicy is the caller's own memory policy, SetMemPolicy sets it.
func (t *Task) MemPolicy() mm.Policy { return t.mempolicy }

// SetMemPolicy is set_mempolicy(2).
func (t *Task) SetMemPolicy(p mm.Policy) { t.mempolicy = p }

// Personality is personality(2)'s value.
func (t *Task) Personality() uint32 { return t.personality.Load() }

// SetPersonality sets it.
func (t *Task) SetPersonality(v uint32) { t.personality.Store(v) }

// TimerSlack is how much later than asked, in nanoseconds, timers of the task may expire.
func (t *Task) TimerSlack() int64 { return t.timerSlack.Load() }

// SetTimerSlack sets the slack of o; 0 makes it the default.
func (t *Task) SetTimerSlack(ns int64) {
	if ns <= 0 {
		ns = t.defaultSlack
	}
	t.timerSlack.Store(ns)
}

// DefaultTimerSlack is what PR_SET_TIMERSLACK 0 sets.
func (t *Task) DefaultTimerSlack() int64 { return t.defaultSlack }

// ParentDeathSignal is PR_GET_PDEATHSIG; SetParentDeathSignal sets it.
func (t *Task) ParentDeathSignal() int32 { return atomicLoad(&t.pdeath) }

// SetParentDeathSignal is PR_SET_PDEATHSIG.
func (t *Task) SetParentDeathSignal(sig int32) error {
	if !validSignal(sig) {
		return unix.EINVAL
	}
	atomicStore(&t.pdeath, sig)
	return nil
}

// dumpable and setDumpable are PR_GET_DUMPABLE and what sets it.
func (t *Task) dumpable() bool      { return t.proc.dumpable.Load() == dumpUser }
func (t *Task) setDumpable(v int32) { t.proc.dumpable.Store(v) }

// Dumpable is PR_GET_DUMPABLE.
func (t *Task) Dumpable() int32 { return t.proc.dumpable.Load() }

// SetDumpable is PR_SET_DUMPABLE.
func (t *Task) SetDumpable(v uint64) error {
	if v != dumpNot && v != dumpUser {
		return unix.EINVAL
	}
	t.setDumpable(int32(v))
	return nil
}

// ChildSubreaper and SetChildSubreaper are PR_*_CHILD_SUBREAPER.
func (t *Task) ChildSubreaper() bool {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.proc.subreaper
}

// SetChildSubreaper makes the process the one that orphans below it become children of.
func (t *Task) SetChildSubreaper(on bool) {
	t.k.tasks.Lock()
	t.proc.subreaper = on
	t.k.tasks.Unlock()
}

// Misc settings of prctl that have no effect here but are kept.

// THPDisabled is PR_GET_THP_DISABLE.
func (t *Task) THPDisabled() bool { return t.thp }

// SetTHPDisabled is PR_SET_THP_DISABLE.
func (t *Task) SetTHPDisabled(on bool) { t.thp = on }

// TSC is PR_GET_TSC.
func (t *Task) TSC() int32 { return t.tsc }

// MCEKill is PR_MCE_KILL_GET, SetMCEKill sets it.
func (t *Task) MCEKill() int32 { return t.mce }

// SetMCEKill is PR_MCE_KILL.
func (t *Task) SetMCEKill(v int32) { t.mce = v }

// IOFlusher is PR_GET_IO_FLUSHER, SetIOFlusher sets it.
func (t *Task) IOFlusher() bool { return t.ioFlusher }

// SetIOFlusher is PR_SET_IO_FLUSHER.
func (t *Task) SetIOFlusher(on bool) { t.ioFlusher = on }

// MDWE is PR_GET_MDWE.
func (t *Task) MDWE() uint32 { return t.mdwe }

// SetMDWE is PR_SET_MDWE: bits can be set, never cleared.
func (t *Task) SetMDWE(bits uint32) error {
	const refuseExecGain, noInherit = 1, 2
	if bits&^(refuseExecGain|noInherit) != 0 || bits&noInherit != 0 && bits&refuseExecGain == 0 {
		return unix.EINVAL
	}
	if t.mdwe != 0 && t.mdwe != bits {
		return unix.EPERM
	}
	t.mdwe = bits
	return nil
}

// MemoryMerge is PR_GET_MEMORY_MERGE, SetMemoryMerge sets it.
func (t *Task) MemoryMerge() bool { return t.memMerge }

// SetMemoryMerge is PR_SET_MEMORY_MERGE.
func (t *Task) SetMemoryMerge(on bool) { t.memMerge = on }

// SetTIDAddress is set_tid_address(2).
func (t *Task) SetTIDAddress(addr uint64) { t.clearChildTID = addr }

// TIDAddress is PR_GET_TID_ADDRESS.
func (t *Task) TIDAddress() uint64 { return t.clearChildTID }

// UTSNames is what uname(2) tells the task.
func (t *Task) UTSNames() (sysname, node, release, version, machine, domain string) {
	host, dom := t.ns.UTS.Names()
	release = t.k.cfg.Release
	if t.Personality()&uname26 != 0 {
		release = "2.6.72"
	}
	return "Linux", host, release, t.k.cfg.Version, "x86_64", dom
}

const uname26 = 0x0020000

// copyOut writes a plain value to the guest.
func copyOut[T any](t *Task, addr uint64, v T) error {
	return usermem.CopyObjectOut(t.mm, usermem.Addr(addr), &v)
}
