package sentry

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// Work flags say what a task must look at before it runs guest code again
// (Linux: thread info flags).
const (
	workSignal  uint32 = 1 << iota // a signal may be deliverable, or a group stop, exec or exit is under way
	workResume                     // rseq, task work
	workTrace                      // stop at system call entry and exit for a tracer
	workSeccomp                    // filters are installed
	workKill                       // SIGKILL or group exit: nothing may block any more
	workLeaf                       // a leaf call has left something to do
)

// workPending are the flags that keep a task from entering the guest; the others only matter at
// system calls.
const workPending = workSignal | workResume | workKill | workLeaf

// Task is one guest thread.
type Task struct {
	// Immutable.
	k       *Kernel
	proc    *Process
	ctx     platform.Context
	answers answers
	parker  platform.Parker  // ctx, if it can sleep by itself
	asleep  platform.Sleeper // ctx, if it wants to know
	sleeper waitq.Sleeper    // wakes parker
	tracing taskTrace        // guest ptrace(2) state; has its own rules, see ptrace.go

	// pid is the thread's identity. An exec by a thread that is not the leader
	// changes it, under Kernel.tasks.
	pid atomic.Pointer[PID]

	// Regs are the guest's registers. Only the task's goroutine uses them, or a
	// tracer while the task is in a ptrace stop.
	Regs arch.State

	// work is a set of work flags; wake is made ready whenever a flag is set.
	work    atomic.Uint32
	wake    chan struct{} // capacity 1
	inGuest atomic.Uint32 // not 0: Switch is running, or about to look at work
	watched bool          // ctx looks at work itself before guest code runs; immutable

	// seccomp is the task's filters; see seccomp.go.
	seccomp atomic.Pointer[seccompState]

	// cred is the task's credentials, replaced only by its own goroutine.
	cred atomic.Pointer[cred.Cred]

	// mu protects the fields below against other tasks; the task's own goroutine
	// reads them without it and writes them with it.
	mu    sync.Mutex
	mm    *mm.AddressSpace // nil after exit
	fs    *vfs.FSContext
	files *vfs.FDTable
	ns    *Namespaces
	name  [16]byte // comm, NUL-terminated

	// sig is the task's part of signals, protected by proc.sighand.mu.
	sig taskSignals

	// Protected by Kernel.tasks.
	released   bool // no longer in any table
	dead       bool // has exited; waits for its tracer or, as the leader, for the other threads
	exitStatus WaitStatus
	pdeath     int32 // PR_SET_PDEATHSIG; read and written atomically

	// exiting is set when the task begins to exit, under sighand.mu.
	exiting atomic.Bool
	// done is closed when the goroutine has let go of everything.
	done chan struct{}

	// Owned by the task's goroutine.
	clearChildTID uint64      // set_tid_address(2)
	robustList    uint64      // set_robust_list(2)
	futex         taskFutex   // see futex.go
	rseq          rseqState   // rseq(2)
	restart       restartFunc // what restart_syscall(2) continues, or nil
	vforkDone     *waitq.Bell
	syscallNo     atomic.Uint64 // the call being handled, arch.NoSyscall otherwise
	stopRun       bool          // leave the run loop and exit with exitWith
	exitWith      WaitStatus
	staleMM       *mm.AddressSpace // see dropStaleMM
	args          [6]uint64        // of the call being handled: here, so that calls allocate nothing
	io            usermem.IO       // see IO
	startFP       []byte           // floating point state that a new thread begins with
	setChildTID   uint64           // CLONE_CHILD_SETTID: where the new thread writes its id
	leafFD        int32            // of the counter whose waiters are to be told (workLeaf)

	ioAccount // see procinfo.go
	taskSched // priorities, affinity, accounting: sched.go
	taskMisc  // prctl(2) state, no_new_privs, parent-death signal: prctl.go
}

// Kernel, Process ... accessors used by packages above.

// Kernel is the sandbox the task belongs to.
func (t *Task) Kernel() *Kernel { return t.k }

// Process is the task's thread group.
func (t *Task) Process() *Process { return t.proc }

// PID is the task's identity.
func (t *Task) PID() *PID { return t.pid.Load() }

// MM is the task's memory; valid as long as the caller is the task's own goroutine.
func (t *Task) MM() *mm.AddressSpace { return t.mm }

// Files is the task's descriptor table, under the same condition as MM.
func (t *Task) Files() *vfs.FDTable { return t.files }

// Namespaces are the task's namespaces, under the same condition as MM.
func (t *Task) Namespaces() *Namespaces { return t.ns }

// GetMM is the memory of a task for another one, with a user more that the caller gives
// back by DecUsers; nil if the task has exited.
func (t *Task) GetMM() *mm.AddressSpace {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mm == nil || !t.mm.TryIncUsers() {
		return nil
	}
	return t.mm
}

// GetFiles is the descriptor table of a task for another one, with a reference that the
// caller gives back; nil if the task has exited.
func (t *Task) GetFiles() *vfs.FDTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.files != nil {
		t.files.IncRef()
	}
	return t.files
}

// GetFS is root and working directory of a task for another one, with a reference that
// the caller gives back; nil if the task has exited.
func (t *Task) GetFS() *vfs.FSContext {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fs != nil {
		t.fs.IncRef()
	}
	return t.fs
}

// GetNamespaces are the namespaces of a task for another one, with a reference that the
// caller gives back; nil if the task has exited.
func (t *Task) GetNamespaces() *Namespaces {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ns != nil {
		t.ns.IncRef()
	}
	return t.ns
}

// Name is the thread's name (comm).
func (t *Task) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return cString(t.name[:])
}

// SetName sets the name, cut to 15 bytes.
func (t *Task) SetName(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name = [16]byte{}
	copy(t.name[:15], name)
}

// ExitStatus is how the task ends, for Config.AtExit.
func (t *Task) ExitStatus() WaitStatus { return t.exitWith }

// IO is the memory side of the one transfer that a system call makes, kept so that it allocates nothing.
// Only the task's own goroutine may use it, and nothing may keep it.
func (t *Task) IO() *usermem.IO { return &t.io }

// SyscallNo is the number of the call that the task is in, arch.NoSyscall if in none.
func (t *Task) SyscallNo() uint64 { return t.syscallNo.Load() }

// Cred implements vfs.Context.
func (t *Task) Cred() *cred.Cred { return t.cred.Load() }

// Memory implements vfs.Context.
func (t *Task) Memory() usermem.Memory { return t.mm }

// TGID implements vfs.Context: the process id in the initial pid namespace.
func (t *Task) TGID() int32 { return t.proc.tgid.Root() }

// TID implements vfs.Context: the thread id in the initial pid namespace.
func (t *Task) TID() int32 { return t.pid.Load().Root() }

// PIDNS is the pid namespace that the task lives in.
func (t *Task) PIDNS() *PIDNamespace { return t.pid.Load().ns() }

// FS implements vfs.Context.
func (t *Task) FS() *vfs.FSContext { return t.fs }

// Signal implements vfs.Context: the task gets a signal for what it did, and it says so itself.
func (t *Task) Signal(sig unix.Signal) {
	info := SigInfo{Signo: int32(sig), Code: SiUser}
	info.SetPID(t.proc.tgid.In(t.PIDNS()))
	c := t.Cred()
	info.SetUID(munged(c.UserNS.MapUIDFromKernel(c.UID)))
	_ = t.sendSignal(&info)
}

// LocalPID is the caller's number for a process of the initial pid namespace, which may have ended
// if the caller lives there, too; 0 if it cannot see it.
func (t *Task) LocalPID(initial int32) int32 {
	ns := t.PIDNS()
	if ns == t.k.rootPIDNS {
		return initial
	}
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.k.rootPIDNS.findPID(initial).In(ns)
}

// InitialPID is the initial pid namespace's number for a process of the caller's, 0 if there is none.
func (t *Task) InitialPID(local int32) int32 {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	return t.PIDNS().findPID(local).Root()
}

// InstallFD gives the task a descriptor for f. The reference of f goes to the descriptor, or stays
// with the caller on an error.
func (t *Task) InstallFD(f *vfs.File, cloexec bool) (int32, error) {
	return t.files.NewFD(0, f, cloexec, t.Limit(unix.RLIMIT_NOFILE))
}

// OpenPIDFD makes a pidfd of a process of the initial pid namespace that the task can see.
func (t *Task) OpenPIDFD(tgid int32) (int32, error) {
	nr := t.LocalPID(tgid)
	if nr <= 0 {
		return 0, unix.ESRCH
	}
	return t.PidfdOpen(nr, 0)
}

// Limit implements vfs.Context.
func (t *Task) Limit(resource int) uint64 { return t.proc.Limit(resource).Cur }

// setWork sets work flags and makes the task look at them.
func (t *Task) setWork(flags uint32) {
	t.work.Or(flags)
	t.kick()
}

// kick makes the task look at its work flags soon: it wakes it when it sleeps, and
// interrupts it when it runs guest code.
func (t *Task) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
	if t.parker != nil {
		t.parker.Unpark()
	}
	if t.inGuest.Load() != 0 {
		t.ctx.Interrupt()
	}
}

// Block implements vfs.Context.
func (t *Task) Block(ch <-chan struct{}, timeout time.Duration) error {
	return t.block(ch, nil, timeout, workSignal|workKill)
}

// BlockBell implements waitq.BellBlocker: it is Block for a bell.
func (t *Task) BlockBell(b *waitq.Bell, timeout time.Duration) error {
	return t.block(b.C, b, timeout, workSignal|workKill)
}

// setContext gives a new task what it runs guest code with.
func (t *Task) setContext(c platform.Context) {
	t.ctx = c
	t.answers.by, _ = c.(platform.Answerer)
	t.asleep, _ = c.(platform.Sleeper)
	if w, ok := c.(platform.Watcher); ok {
		w.Watch(&t.work, workPending)
		t.watched = true
	}
	if p, ok := c.(platform.Parker); ok {
		t.parker, t.sleeper.Wake = p, p.Unpark
	}
}

// parks tells whether the task sleeps by its parker.
func (t *Task) parks() bool { return t.parker != nil && t.parker.Parks() }

// blockKillable is Block for waits that only death interrupts.
func (t *Task) blockKillable(ch <-chan struct{}, timeout time.Duration) error {
	return t.block(ch, nil, timeout, workKill)
}

// block waits for ch, or for b if it is not nil, and for the work flags in intr.
func (t *Task) block(ch <-chan struct{}, b *waitq.Bell, timeout time.Duration, intr uint32) error {
	if b != nil {
		ch = b.C
	}
	select {
	case <-ch:
		return nil
	default:
	}
	if t.work.Load()&intr != 0 {
		return vfs.ErrRestartSys
	}
	if timeout == 0 {
		return unix.ETIMEDOUT
	}
	if t.parks() && (b != nil || ch == nil) {
		return t.parkFor(b, timeout, intr)
	}
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		waitq.Expect(timeout)
		expired = timer.C
	}
	t.sleepBegin(intr&workSignal != 0)
	defer t.sleepEnd()
	for {
		select {
		case <-ch:
			return nil
		case <-t.wake:
			if t.work.Load()&intr != 0 {
				select {
				case <-ch:
					return nil // what was waited for counts more than a signal at the same time
				default:
				}
				return vfs.ErrRestartSys
			}
		case <-expired:
			return unix.ETIMEDOUT
		}
	}
}

// parkFor is block for a task whose goroutine is locked to a host thread, which sleeps and is woken
// by one host call each.
func (t *Task) parkFor(b *waitq.Bell, timeout time.Duration, intr uint32) error {
	t.sleepBegin(intr&workSignal != 0)
	defer t.sleepEnd()
	if b != nil {
		b.Attend(&t.sleeper)
		defer b.Attend(nil)
	}
	var deadline int64
	if timeout > 0 {
		deadline = t.k.mono() + int64(timeout)
	}
	for {
		if b != nil && b.Ready() {
			return nil
		}
		if t.work.Load()&intr != 0 {
			return vfs.ErrRestartSys
		}
		if timeout > 0 {
			if timeout = time.Duration(deadline - t.k.mono()); timeout <= 0 {
				return unix.ETIMEDOUT
			}
		}
		t.parker.Park(timeout)
	}
}

// Fatal tells whether the task is about to die, so that long work should be given up.
func (t *Task) Fatal() bool { return t.work.Load()&workKill != 0 }

// Interrupted tells whether a signal or death waits.
func (t *Task) Interrupted() bool { return t.work.Load()&(workSignal|workKill) != 0 }

// cString is the text before the first NUL.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
