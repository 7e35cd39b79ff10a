package ptrace

import "golang.org/x/sys/unix"

// Syscall is a host call that the platform makes after New.
type Syscall struct {
	Nr   uintptr
	Args []Cond
	Why  string
}

// Cond is a condition on an argument of 32 bits: arg&Mask == Value, or with Not the opposite.
type Cond struct {
	Arg         int
	Mask, Value uint32
	Not         bool
}

// HostSyscalls are the host calls that the platform makes after New, besides those of the Go runtime. Several
// entries for one call are alternatives.
func HostSyscalls() []Syscall {
	const why = "platform ptrace"
	const all = 0xffffffff
	process := func(arg int) []Cond { // not a group, not everybody
		return []Cond{{Arg: arg, Mask: 1 << 31}, {Arg: arg, Mask: all, Not: true}}
	}
	list := []Syscall{
		{unix.SYS_WAIT4, append(process(0), Cond{Arg: 2, Mask: all, Value: unix.WALL}), why},
		{unix.SYS_TGKILL, append(process(0), Cond{Arg: 2, Mask: all, Value: uint32(interruptSignal)}), why},
		{unix.SYS_KILL, append(process(0), Cond{Arg: 1, Mask: all, Value: uint32(unix.SIGKILL)}), why},
		{unix.SYS_SCHED_SETAFFINITY, process(0), why},
		{unix.SYS_SCHED_SETATTR, process(0), why},
	}
	for _, request := range []uint32{
		unix.PTRACE_SEIZE, unix.PTRACE_INTERRUPT, unix.PTRACE_DETACH,
		unix.PTRACE_CONT, ptraceSysemu, ptraceSysemuSinglestep,
		unix.PTRACE_GETREGS, unix.PTRACE_SETREGS, unix.PTRACE_GETREGSET, unix.PTRACE_SETREGSET,
		unix.PTRACE_GETSIGINFO, unix.PTRACE_PEEKTEXT, unix.PTRACE_POKEUSR,
	} {
		list = append(list, Syscall{unix.SYS_PTRACE, append(process(1), Cond{Arg: 0, Mask: all, Value: request}), why})
	}
	return list
}
