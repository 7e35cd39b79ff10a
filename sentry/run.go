package sentry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// Exception vectors and page fault error codes, as a signal frame has them.
const (
	trapPageFault = 14

	pfWrite = 1 << 1
	pfUser  = 1 << 2
	pfInstr = 1 << 4
)

// start makes the task's goroutine.
func (t *Task) start() {
	t.k.live.Add(1)
	t.k.beginRunning()
	if r, ok := t.ctx.(platform.Runner); ok {
		r.Run(t.mm.Platform(), t.run)
	} else {
		go t.run()
	}
}

// run is the task's goroutine: it runs guest code until the task has died.
func (t *Task) run() {
	reserveStack()
	defer t.k.live.Done()
	defer close(t.done)
	defer t.k.count.Add(-1)
	t.since.Store(t.k.acct())
	if t.startFP != nil {
		if err := t.ctx.SetFP(t.startFP); err != nil {
			t.k.Log.Warn("floating point state of a new thread", "tid", t.TID(), "err", err)
		}
		t.startFP = nil
	}
	if t.setChildTID != 0 {
		var tid = t.PID().In(t.PIDNS())
		_ = usermem.CopyObjectOut(t.mm, usermem.Addr(t.setChildTID), &tid)
	}
	for !t.stopRun {
		t.runGuarded()
	}
	t.exitGuarded()
	t.k.endRunning()
}

// reserveStack makes the goroutine's stack as large as most system calls need, at once: from the smallest it would grow step by step, and be copied
// at each.
//
//go:noinline
func reserveStack() {
	var room [8 << 10]byte
	keep(&room)
}

//go:noinline
func keep(*[8 << 10]byte) {}

// runGuarded runs the loop. A panic below it ends the guest's process instead of the sandbox.
func (t *Task) runGuarded() {
	defer func() {
		if r := recover(); r != nil {
			t.panicked(r)
			t.exitGroup(WaitStatus(unix.SIGSYS))
			t.stopRun = true
		}
	}()
	for !t.stopRun {
		t.runOnce()
	}
}

func (t *Task) exitGuarded() {
	defer func() {
		if r := recover(); r != nil {
			t.panicked(r)
		}
	}()
	t.exit()
}

func (t *Task) panicked(r any) {
	t.k.Log.Error("bug in the sentry: a system call panicked; the guest's process is killed",
		"panic", fmt.Sprint(r), "tid", t.TID(), "comm", t.Name(), "syscall", int64(t.syscallNo.Load()),
		"stack", string(debug.Stack()))
	// What it had locked stays locked. A sandbox that hangs is worse than one that is gone.
	done := t.done
	time.AfterFunc(stuckAfterBug, func() {
		select {
		case <-done:
		default:
			panic("sentry: a task whose system call panicked cannot exit")
		}
	})
}

// stuckAfterBug is how long a task may take to exit after a bug in the sentry.
const stuckAfterBug = 20 * time.Second

// runOnce does the work that is pending, runs guest code once and handles the event.
func (t *Task) runOnce() {
	if w := t.work.Load(); w&workPending != 0 {
		t.doWork(w)
		return
	}
	// Who sets work looks at inGuest afterwards: one of the two sees the other.
	if t.watched {
		storeOwn(&t.inGuest, 1) // Switch has the barrier, and looks at work behind it
	} else {
		t.inGuest.Store(1)
		if t.work.Load()&workPending != 0 {
			t.inGuest.Store(0)
			return
		}
	}
	t.charge(&t.sysTime)
	ev, err := t.ctx.Switch(t.mm.Platform(), &t.Regs, t.tracing.step)
	storeOwn(&t.inGuest, 0)
	t.charge(&t.userTime)
	if t.staleMM != nil {
		t.dropStaleMM()
	}
	if err == nil && ev.Kind == platform.Syscall {
		t.doSyscall()
		return
	}
	t.otherEvent(ev, err)
}

// otherEvent is for what is no system call. The event is handed over by value, so that it stays in registers where it is one.
//
//go:noinline
func (t *Task) otherEvent(ev platform.Event, err error) {
	if err != nil {
		t.platformFailed(err)
		return
	}
	t.Regs.Orig_rax = arch.NoSyscall
	switch ev.Kind {
	case platform.Fault:
		t.doFault(&ev)
	case platform.Exception:
		t.faultSignal(ev.Signal, ev.Code, ev.Addr, exceptionVector(&ev), 0)
	}
}

// doWork handles what came from outside: death, signals, stops.
func (t *Task) doWork(w uint32) {
	if w&workLeaf != 0 {
		t.afterLeaf()
	}
	if w&workKill != 0 && t.dying() {
		return
	}
	if w&(workSignal|workKill) != 0 {
		t.handleSignals()
	}
	if !t.stopRun && t.work.Load()&workResume != 0 {
		t.handleResume()
	}
}

// dying ends the run loop if the process or, for another thread's exec, the task is to exit.
func (t *Task) dying() bool {
	p := t.proc
	sh := p.lockSig()
	defer sh.mu.Unlock()
	switch {
	case p.groupExit:
		t.exitWith = WaitStatus(p.groupExitCode)
	case p.execTask != nil && p.execTask != t:
		t.exitWith = WaitStatus(unix.SIGKILL)
	default:
		return false
	}
	t.stopRun = true
	return true
}

// doSyscall runs the system call that the guest asked for.
func (t *Task) doSyscall() {
	storeOwn64(&t.syscallNo, t.Regs.Orig_rax)
	skip := false
	if t.work.Load()&(workTrace|workSeccomp) != 0 {
		skip = t.syscallEnter()
		storeOwn64(&t.syscallNo, t.Regs.Orig_rax)
	}
	if !skip && !t.stopRun {
		nr := t.Regs.Orig_rax
		t.setArgs()
		ret, err := t.k.Syscalls.Call(t, nr, &t.args)
		t.countIO(nr, ret, err != nil)
		switch {
		case err == nil:
			t.Regs.Rax = uint64(ret)
		case err == ErrNoReturn:
		default:
			e := t.errno(err, nr)
			t.Regs.Rax = uint64(-int64(e))
			if e >= 512 {
				// The call is to be restarted, or not: signal handling decides.
				t.work.Or(workSignal)
			}
		}
	}
	if t.work.Load()&workTrace != 0 && !t.stopRun {
		t.syscallExit()
	}
	storeOwn64(&t.syscallNo, arch.NoSyscall)
}

// setArgs takes the arguments from the registers, one by one: a copy of the array would wait for stores that are under way.
func (t *Task) setArgs() {
	a, r := &t.args, &t.Regs
	a[0], a[1], a[2], a[3], a[4], a[5] = r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9
}

// errno is the number that the guest gets for err.
func (t *Task) errno(err error, nr uint64) unix.Errno {
	if e, ok := err.(unix.Errno); ok {
		return e
	}
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	var fe *mm.FaultError
	switch {
	case errors.Is(err, mm.ErrOOM):
		return unix.ENOMEM
	case errors.As(err, &fe):
		return unix.EFAULT
	}
	t.k.Log.Error("a system call failed with an error that guests have no number for",
		"syscall", nr, "tid", t.TID(), "comm", t.Name(), "err", err)
	return unix.EIO
}

// doFault makes the page that the guest missed present, or tells the guest.
func (t *Task) doFault(ev *platform.Event) {
	err := t.mm.HandleFault(usermem.Addr(ev.Addr), ev.Access)
	if err == nil {
		return
	}
	var fe *mm.FaultError
	switch {
	case errors.As(err, &fe):
		if ev.Access == platform.AccessExec && t.vsyscall(ev.Addr) {
			return
		}
		t.countFault(fe)
		code := uint64(pfUser)
		switch ev.Access {
		case platform.AccessWrite:
			code |= pfWrite
		case platform.AccessExec:
			code |= pfInstr
		}
		if fe.Code == mm.SegvAccErr && fe.Signal == int(unix.SIGSEGV) {
			code |= 1 // the page is there
		}
		if t.k.Log.Enabled(context.Background(), slog.LevelDebug) {
			t.k.Log.Debug("fault", "tid", t.TID(), "comm", t.Name(), "err", err, "access", ev.Access,
				"rip", fmt.Sprintf("%#x", t.Regs.Rip), "rsp", fmt.Sprintf("%#x", t.Regs.Rsp))
		}
		t.faultSignal(fe.Signal, fe.Code, uint64(fe.Addr), trapPageFault, code)
	case t.Fatal():
		// The OOM killer chose this process.
	case errors.Is(err, mm.ErrOOM):
		t.k.Log.Warn("out of memory: nothing else to kill", "pid", t.TGID(), "comm", t.Name())
		t.proc.kill()
	default:
		t.k.Log.Error("page fault", "pid", t.TGID(), "comm", t.Name(), "addr", fmt.Sprintf("%#x", ev.Addr), "err", err)
		t.faultSignal(int(unix.SIGBUS), mm.BusObjErr, ev.Addr, trapPageFault, pfUser)
	}
}

// platformFailed ends the process when its host process has died.
func (t *Task) platformFailed(err error) {
	if t.Fatal() {
		return
	}
	t.k.Log.Error("the platform cannot run the guest any more; its process is killed",
		"pid", t.TGID(), "comm", t.Name(), "err", err)
	t.proc.kill()
}

// exceptionVector is the processor's number of an exception, for signal frames.
func exceptionVector(ev *platform.Event) uint64 {
	switch unix.Signal(ev.Signal) {
	case unix.SIGFPE:
		if ev.Code == 1 { // FPE_INTDIV
			return 0
		}
		return 16
	case unix.SIGTRAP:
		if ev.Code == trapTrace {
			return 1
		}
		return 3
	case unix.SIGILL:
		return 6
	case unix.SIGBUS:
		return 17
	}
	return 13
}

// vsyscall does what a call into the vsyscall page asks for, as Linux does by emulation: three entry points at fixed addresses that
// very old programs call.
func (t *Task) vsyscall(addr uint64) bool {
	var nr uint64
	switch addr {
	case arch.VsyscallPage:
		nr = unix.SYS_GETTIMEOFDAY
	case arch.VsyscallPage + 0x400:
		nr = unix.SYS_TIME
	case arch.VsyscallPage + 0x800:
		nr = unix.SYS_GETCPU
	default:
		return false
	}
	var ret uint64
	if err := usermem.CopyObjectIn(t.mm, usermem.Addr(t.Regs.Rsp), &ret); err != nil {
		return false
	}
	args := t.Regs.Args()
	v, err := t.k.Syscalls.Call(t, nr, &args)
	if err != nil {
		v = uintptr(-int64(t.errno(err, nr)))
	}
	t.Regs.Rax = uint64(v)
	t.Regs.Rip = ret
	t.Regs.Rsp += 8
	return true
}

// mono is the time since the sandbox was booted, in nanoseconds.
func (k *Kernel) mono() int64 { return int64(time.Since(k.boot)) }

// exitGroup ends the task's process with status (Linux: do_group_exit), unless it is ending
// already. The run loop ends when its current step returns.
func (t *Task) exitGroup(status WaitStatus) {
	p := t.proc
	sh := p.lockSig()
	switch {
	case p.groupExit:
		status = WaitStatus(p.groupExitCode)
	case p.execTask != nil && p.execTask != t:
		status = 0
	default:
		if sig := int32(status & 0x7f); status.Signaled() && sigsCore.Has(sig) &&
			t.dumpable() && t.Limit(unix.RLIMIT_CORE) != 0 {
			status |= 0x80 // Linux would write a core file
		}
		p.startGroupExitLocked(status)
	}
	sh.mu.Unlock()
	t.stopRun, t.exitWith = true, status
}

// startGroupExitLocked makes all threads exit. sighand.mu is held.
func (p *Process) startGroupExitLocked(status WaitStatus) {
	p.groupExit, p.groupExitCode = true, uint32(status)
	p.stopCount, p.stopped = 0, false
	for _, o := range p.threads {
		o.sig.jobctl &^= jobctlPending
		o.setWork(workKill | workSignal)
	}
}

// kill ends the process from the kernel's side, as SIGKILL does.
func (p *Process) kill() {
	sh := p.lockSig()
	if !p.groupExit {
		p.startGroupExitLocked(WaitStatus(unix.SIGKILL))
	}
	sh.mu.Unlock()
}

// ExitGroup is exit_group(2).
func (t *Task) ExitGroup(code int32) error {
	t.exitGroup(WaitStatus(code&0xff) << 8)
	return ErrNoReturn
}

// ExitThread is exit(2).
func (t *Task) ExitThread(code int32) error {
	t.stopRun, t.exitWith = true, WaitStatus(code&0xff)<<8
	return ErrNoReturn
}
