package sentry

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry/bpf"
)

// seccomp(2): filters that a task may put on its own system calls, never to be taken off. The filters of a
// task are a list that grows at its head; clone and execve keep it.

// Actions of a filter, most severe first.
const (
	seccompKillProcess = 0x80000000
	seccompKillThread  = 0x00000000
	seccompTrap        = 0x00030000
	seccompErrno       = 0x00050000
	seccompUserNotif   = 0x7fc00000
	seccompTrace       = 0x7ff00000
	seccompLog         = 0x7ffc0000
	seccompAllow       = 0x7fff0000
	seccompActionMask  = 0xffff0000

	seccompModeStrict = 1
	seccompModeFilter = 2

	seccompFlagTSync       = 1
	seccompFlagLog         = 2
	seccompFlagSpecAllow   = 4
	seccompFlagNewListener = 8
	seccompFlagTSyncESRCH  = 16
	seccompFlagWaitKill    = 32
	seccompFlags           = 63

	// maxFilterCost is how many instructions all filters of a task may have, each filter counting four more.
	maxFilterCost = 1 << 15
)

// seccompFilter is an installed filter. Immutable but for its listener.
type seccompFilter struct {
	prev     *seccompFilter
	prog     *bpf.Program
	cost     int
	listener *seccompListener
	waitKill bool
}

// seccompState is a task's mode and filters: replaced as a whole, by the task itself or, for
// SECCOMP_FILTER_FLAG_TSYNC, by another thread.
type seccompState struct {
	mode   int
	filter *seccompFilter
}

// SeccompMode is the mode that PR_GET_SECCOMP and /proc/PID/status tell, and the number of filters.
func (t *Task) SeccompMode() (mode, filters int) {
	s := t.seccomp.Load()
	if s == nil {
		return 0, 0
	}
	for f := s.filter; f != nil; f = f.prev {
		filters++
	}
	return s.mode, filters
}

func (t *Task) setSeccomp(s *seccompState) {
	t.seccomp.Store(s)
	t.work.Or(workSeccomp)
	t.noAnswers()
}

// cloneSeccomp gives the new task c the filters of its parent.
func (t *Task) cloneSeccomp(c *Task) {
	if s := t.seccomp.Load(); s != nil {
		c.setSeccomp(s)
	}
}

// SeccompStrict is SECCOMP_SET_MODE_STRICT.
func (t *Task) SeccompStrict() error {
	if s := t.seccomp.Load(); s != nil && s.mode != seccompModeStrict {
		return unix.EINVAL
	}
	t.setSeccomp(&seccompState{mode: seccompModeStrict})
	return nil
}

func validSeccompFlags(flags uint32) bool {
	has := func(f uint32) bool { return flags&f != 0 }
	return flags&^seccompFlags == 0 &&
		!(has(seccompFlagTSync) && has(seccompFlagNewListener) && !has(seccompFlagTSyncESRCH)) &&
		!(has(seccompFlagWaitKill) && !has(seccompFlagNewListener))
}

// SeccompFilter is SECCOMP_SET_MODE_FILTER: code is the filter. The result is the descriptor of a listener, if
// one was asked for, or the thread that SECCOMP_FILTER_FLAG_TSYNC could not be done for.
func (t *Task) SeccompFilter(flags uint32, code []bpf.Instr) (uintptr, error) {
	if !validSeccompFlags(flags) {
		return 0, unix.EINVAL
	}
	if len(code) == 0 || len(code) > bpf.MaxInstrs {
		return 0, unix.EINVAL
	}
	if !t.NoNewPrivs() && !t.Cred().Has(unix.CAP_SYS_ADMIN) {
		return 0, unix.EACCES
	}
	prog, err := bpf.Compile(code)
	if err != nil {
		return 0, err
	}
	var prev *seccompFilter
	if s := t.seccomp.Load(); s != nil {
		if s.mode == seccompModeStrict {
			return 0, unix.EINVAL
		}
		prev = s.filter
	}
	f := &seccompFilter{prev: prev, prog: prog, cost: prog.Len() + 4}
	if prev != nil {
		f.cost += prev.cost
	}
	if f.cost > maxFilterCost {
		return 0, unix.ENOMEM
	}
	var fd uintptr
	var install func()
	if flags&seccompFlagNewListener != 0 {
		for p := prev; p != nil; p = p.prev {
			if p.listener != nil {
				return 0, unix.EBUSY
			}
		}
		f.waitKill = flags&seccompFlagWaitKill != 0
		if fd, install, err = t.newSeccompListener(f); err != nil {
			return 0, err
		}
	}
	next := &seccompState{mode: seccompModeFilter, filter: f}
	if flags&seccompFlagTSync != 0 {
		if bad := t.seccompSync(prev, next); bad != nil {
			if install != nil {
				t.dropSeccompListener(f, fd)
			}
			if flags&seccompFlagTSyncESRCH != 0 {
				return 0, unix.ESRCH
			}
			return uintptr(bad.PID().In(t.PIDNS())), nil
		}
	} else {
		t.setSeccomp(next)
	}
	if install != nil {
		install()
	}
	return fd, nil
}

// seccompSync gives all threads the filters next, if all have none or an ancestor of t's. It returns
// a thread that has others.
func (t *Task) seccompSync(prev *seccompFilter, next *seccompState) *Task {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	for _, o := range t.proc.threads {
		if s := o.seccomp.Load(); o != t && s != nil && !o.sig.exiting {
			if s.mode == seccompModeStrict || !s.filter.ancestorOf(prev) {
				return o
			}
		}
	}
	for _, o := range t.proc.threads {
		if t.NoNewPrivs() {
			o.SetNoNewPrivs()
		}
		o.setSeccomp(next)
	}
	return nil
}

func (f *seccompFilter) ancestorOf(c *seccompFilter) bool {
	if f == nil {
		return true
	}
	for ; c != nil; c = c.prev {
		if c == f {
			return true
		}
	}
	return false
}

// SeccompActionAvail is SECCOMP_GET_ACTION_AVAIL.
func SeccompActionAvail(action uint32) bool {
	switch action {
	case seccompKillProcess, seccompKillThread, seccompTrap, seccompErrno, seccompUserNotif, seccompTrace, seccompLog, seccompAllow:
		return true
	}
	return false
}

// run runs all filters and returns the most severe result and who gave it.
func (f *seccompFilter) run(d *bpf.Data) (ret uint32, match *seccompFilter) {
	ret = seccompAllow
	for ; f != nil; f = f.prev {
		// As signed numbers killing the process comes first.
		if r := f.prog.Run(d); match == nil || int32(r&seccompActionMask) < int32(ret&seccompActionMask) {
			ret, match = r, f
		}
	}
	return ret, match
}

// seccompEnter runs the filters on the call that the registers describe. true: it is not to be run.
func (t *Task) seccompEnter() (skip bool) {
	return t.seccompFilterCall(false)
}

func (t *Task) seccompFilterCall(again bool) (skip bool) {
	s := t.seccomp.Load()
	if s == nil {
		return false
	}
	nr := t.Regs.Orig_rax
	if s.mode == seccompModeStrict {
		switch nr {
		case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EXIT, unix.SYS_RT_SIGRETURN:
			return false
		}
		t.stopRun, t.exitWith = true, WaitStatus(unix.SIGKILL)
		return true
	}
	args := t.Regs.Args()
	d := bpf.NewData(int32(nr), unix.AUDIT_ARCH_X86_64, t.Regs.Rip, &args)
	ret, f := s.filter.run(&d)
	data := ret & 0xffff
	switch ret & seccompActionMask {
	case seccompAllow:
		return false
	case seccompLog:
		t.k.Log.Info("seccomp", "pid", t.TGID(), "comm", t.Name(), "syscall", int64(nr))
		return false
	case seccompErrno:
		t.Regs.Rax = errnoReturn(unix.Errno(min(data, 4095)))
		return true
	case seccompTrap:
		t.seccompSignal(nr, data, false)
		return true
	case seccompTrace:
		if again {
			return false
		}
		if !t.ptraceEventEnabled(unix.PTRACE_EVENT_SECCOMP) {
			t.Regs.Rax = errnoReturn(unix.ENOSYS)
			return true
		}
		t.ptraceEvent(unix.PTRACE_EVENT_SECCOMP, uint64(data))
		if t.Fatal() || t.Regs.Orig_rax == arch.NoSyscall {
			return true
		}
		return t.seccompFilterCall(true)
	case seccompUserNotif:
		return t.seccompNotify(f, &d)
	case seccompKillProcess:
		t.seccompKill(nr, data, true)
		return true
	}
	t.seccompKill(nr, data, false)
	return true
}

// seccompSignal forces the SIGSYS of a filter.
func (t *Task) seccompSignal(nr uint64, data uint32, fatal bool) {
	t.Regs.Rax = nr
	info := SigInfo{Signo: int32(unix.SIGSYS), Errno: int32(data), Code: sysSeccomp}
	info.SetCallAddr(t.Regs.Rip)
	info.SetSyscall(int32(nr))
	info.SetArch(unix.AUDIT_ARCH_X86_64)
	t.forceSignalTo(&info, fatal)
}

// seccompKill ends the process, or the thread when there are others.
func (t *Task) seccompKill(nr uint64, data uint32, process bool) {
	sh := t.proc.lockSig()
	alone := len(t.proc.threads) == 1
	sh.mu.Unlock()
	t.k.Log.Info("seccomp killed", "pid", t.TGID(), "comm", t.Name(), "syscall", int64(nr))
	if process || alone {
		t.seccompSignal(nr, data, true)
		return
	}
	t.stopRun, t.exitWith = true, WaitStatus(unix.SIGSYS)
}

// SeccompFilterFrom is SeccompFilter with the filter read from a struct sock_fprog in the guest.
func (t *Task) SeccompFilterFrom(flags uint32, addr usermem.Addr) (uintptr, error) {
	if !validSeccompFlags(flags) {
		return 0, unix.EINVAL
	}
	var prog struct {
		Len uint16
		_   [6]byte
		Ptr uint64
	}
	if err := usermem.CopyObjectIn(t.mm, addr, &prog); err != nil {
		return 0, err
	}
	if prog.Len == 0 || prog.Len > bpf.MaxInstrs {
		return 0, unix.EINVAL
	}
	code, err := usermem.CopySliceIn[bpf.Instr](t.mm, usermem.Addr(prog.Ptr), int(prog.Len))
	if err != nil {
		return 0, err
	}
	return t.SeccompFilter(flags, code)
}
