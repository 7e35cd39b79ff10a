package sentry

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
	"gosv.dev/vfs/tty"
)

// What package proc shows that nobody else asks for.

// LastPIDIn is the last pid given out in ns.
func (k *Kernel) LastPIDIn(ns *PIDNamespace) int32 {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return ns.last
}

// SetLastPID makes the next pid of ns the one after n (/proc/sys/kernel/ns_last_pid).
func (k *Kernel) SetLastPID(ns *PIDNamespace, n int32) error {
	if n < 0 || n >= ns.Max() {
		return unix.EINVAL
	}
	k.tasks.Lock()
	ns.last = n
	k.tasks.Unlock()
	return nil
}

// MaxTasks is how many threads the sandbox may have.
func (k *Kernel) MaxTasks() int64 { return k.maxTasks }

// CPUTimes is the processor time of all processes there ever were, and how many tasks wait in a way that
// cannot be interrupted.
func (k *Kernel) CPUTimes() (user, system time.Duration, blocked int) {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	for _, pid := range k.rootPIDNS.pids {
		p := pid.proc
		if p == nil {
			continue
		}
		u := p.usageLocked(nil)
		p.acctMu.Lock()
		u.add(&p.childUsage)
		p.acctMu.Unlock()
		user += u.User
		system += u.System
		for _, t := range p.threads {
			if t.state.Load() == taskUninterruptible && !t.dead {
				blocked++
			}
		}
	}
	return user, system, blocked
}

// GroupPID is the identity of a process group as terminals know it, or nil.
func GroupPID(g tty.Group) *PID {
	if g, ok := g.(group); ok {
		return g.pid
	}
	return nil
}

// Released tells whether t is in no table any more: it has been waited for.
func (t *Task) Released() bool {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.released
}

// CallOf is the system call that a sleeping task is in, with its arguments, stack pointer and
// instruction pointer (/proc/PID/syscall); false if the task runs.
// self says that the caller is t itself.
func (t *Task) CallOf(self bool) (nr int64, args [6]uint64, sp, pc uint64, ok bool) {
	if s := t.State(); !self && s != 'S' && s != 'D' && s != 'T' && s != 't' {
		return
	}
	// A task that sleeps does not touch its registers; if it has been woken meanwhile, what was
	// read is not used.
	r := t.Regs
	n := t.syscallNo.Load()
	if !self && t.state.Load() == taskRunning {
		return
	}
	nr = int64(n)
	if n == arch.NoSyscall {
		nr = -1
	}
	return nr, [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}, r.Rsp, r.Rip, true
}

// PosixTimerInfo is a timer of timer_create(2) as /proc/PID/timers shows it.
type PosixTimerInfo struct {
	ID, Clock, Signal, Notify int32
	Value                     uint64
	Target                    *PID // of the thread, or the process
	Thread                    bool
}

// PosixTimers are the process's timers in order of their ids.
func (p *Process) PosixTimers() []PosixTimerInfo {
	sh := p.lockSig()
	defer sh.mu.Unlock()
	var list []PosixTimerInfo
	for _, pt := range p.timers.posix {
		i := PosixTimerInfo{ID: pt.id, Clock: pt.clock, Notify: pt.notify, Target: p.tgid,
			Signal: pt.entry.info.Signo, Value: pt.entry.info.Value()}
		if pt.target != nil {
			i.Target, i.Thread = pt.target.PID(), true
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b PosixTimerInfo) int { return int(a.ID) - int(b.ID) })
	return list
}

// ioAccount counts what a task, or all threads of a process, have read and written (/proc/PID/io).
type ioAccount struct{ rchar, wchar, syscr, syscw atomic.Uint64 }

// IOCounts is how much was read and written, with how many calls.
type IOCounts struct{ ReadBytes, WrittenBytes, Reads, Writes uint64 }

func (a *ioAccount) counts() IOCounts {
	return IOCounts{a.rchar.Load(), a.wchar.Load(), a.syscr.Load(), a.syscw.Load()}
}

func (a *ioAccount) add(r, w, nr, nw uint64) {
	if nr != 0 {
		a.rchar.Add(r)
		a.syscr.Add(nr)
	}
	if nw != 0 {
		a.wchar.Add(w)
		a.syscw.Add(nw)
	}
}

// IOCounts is what the task has read and written.
func (t *Task) IOCounts() IOCounts { return t.ioAccount.counts() }

// IOCounts is what all threads there were have read and written.
func (p *Process) IOCounts() IOCounts {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	sum := p.ioAccount.counts()
	for _, t := range p.threads {
		c := t.ioAccount.counts()
		sum.ReadBytes += c.ReadBytes
		sum.WrittenBytes += c.WrittenBytes
		sum.Reads += c.Reads
		sum.Writes += c.Writes
	}
	return sum
}

// leaveIO gives what a task has counted to its process, when it dies.
func (t *Task) leaveIO() {
	a := &t.ioAccount
	t.proc.ioAccount.add(a.rchar.Swap(0), a.wchar.Swap(0), a.syscr.Swap(0), a.syscw.Swap(0))
}

// countIO counts a system call that has returned n, or failed.
func (t *Task) countIO(nr uint64, n uintptr, failed bool) {
	var read, write bool
	switch nr {
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_PREAD64, unix.SYS_PREADV, unix.SYS_PREADV2:
		read = true
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		write = true
	case unix.SYS_SENDFILE, unix.SYS_COPY_FILE_RANGE:
		read, write = true, true
	default:
		return
	}
	if failed {
		n = 0
	}
	if read {
		t.countRead(uint64(n))
	}
	if write {
		t.countWrite(uint64(n))
	}
}

// countRead and countWrite note a transfer in the task's account, which only its thread writes.
//
//go:nosplit
//go:norace
func (t *Task) countRead(n uint64) {
	a := &t.ioAccount
	storeOwn64(&a.rchar, a.rchar.Load()+n)
	storeOwn64(&a.syscr, a.syscr.Load()+1)
}

//go:nosplit
//go:norace
func (t *Task) countWrite(n uint64) {
	a := &t.ioAccount
	storeOwn64(&a.wchar, a.wchar.Load()+n)
	storeOwn64(&a.syscw, a.syscw.Load()+1)
}

// defaultCoreFilter is the coredump_filter that processes begin with.
const defaultCoreFilter = 0x33

// CoreFilter is /proc/PID/coredump_filter; children inherit it.
func (p *Process) CoreFilter() uint32 { return p.coreFilter.Load() ^ defaultCoreFilter }

// SetCoreFilter changes it.
func (p *Process) SetCoreFilter(v uint32) { p.coreFilter.Store(v&0x1ff ^ defaultCoreFilter) }
