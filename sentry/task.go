package sentry

import (
	"sync"
	"sync/atomic"

	"gosv.dev/mm"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// Work flags say what a task must look at before it runs guest code again
// (Linux: thread info flags).
const (
	workSignal  uint32 = 1 << iota // a signal may be deliverable, or a group stop, exec or exit is under way
	workResume                     // rseq, task work
	workTrace                      // stop at system call entry and exit for a tracer
	workSeccomp                    // filters are installed
	workKill                       // SIGKILL or group exit: nothing may block any more
)

// Task is one guest thread.
type Task struct {
	// Immutable.
	k       *Kernel
	proc    *Process
	pid     *PID
	ctx     platform.Context
	tracing taskTrace // guest ptrace(2) state; has its own rules, see ptrace.go

	// Regs are the guest's registers. Only the task's goroutine uses them, or a
	// tracer while the task is in a ptrace stop.
	Regs arch.State

	// work is a set of work flags; wake is made ready whenever a flag is set.
	work atomic.Uint32
	wake chan struct{} // capacity 1

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

	// Owned by the task's goroutine.
	clearChildTID uint64      // set_tid_address(2)
	robustList    uint64      // set_robust_list(2)
	rseq          rseqState   // rseq(2)
	restart       restartFunc // what restart_syscall(2) continues, or nil
	vforkDone     chan struct{}
	syscallNo     uint64 // the call being handled, arch.NoSyscall otherwise; atomically read by /proc/PID/syscall

	taskSched // priorities, affinity, accounting: sched.go
	taskMisc  // prctl(2) state, no_new_privs, seccomp filters, parent-death signal: prctl.go
}

// Kernel, Process ... accessors used by packages above.

// Kernel is the sandbox the task belongs to.
func (t *Task) Kernel() *Kernel { return t.k }

// Process is the task's thread group.
func (t *Task) Process() *Process { return t.proc }

// MM is the task's memory; valid as long as the caller is the task's own goroutine.
func (t *Task) MM() *mm.AddressSpace { return t.mm }

// Files is the task's descriptor table, under the same condition as MM.
func (t *Task) Files() *vfs.FDTable { return t.files }
