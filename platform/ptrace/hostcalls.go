package ptrace

import (
	"golang.org/x/sys/unix"

	"gosv.dev/platform/hostcall"
)

// HostSyscalls are the host calls that the platform makes after New, besides those of the Go runtime. Several
// entries for one call are alternatives.
func HostSyscalls() []hostcall.Rule {
	const why = "platform ptrace"
	const all = 0xffffffff
	process := func(arg int) []hostcall.Cond { // not a group, not everybody
		return []hostcall.Cond{{Arg: arg, Mask: 1 << 31}, {Arg: arg, Mask: all, Not: true}}
	}
	list := []hostcall.Rule{
		{Nr: unix.SYS_WAIT4, Args: append(process(0), hostcall.Cond{Arg: 2, Mask: all, Value: unix.WALL}), Why: why},
		{Nr: unix.SYS_TGKILL, Args: append(process(0), hostcall.Cond{Arg: 2, Mask: all, Value: uint64(interruptSignal)}), Why: why},
		{Nr: unix.SYS_KILL, Args: append(process(0), hostcall.Cond{Arg: 1, Mask: all, Value: uint64(unix.SIGKILL)}), Why: why},
		{Nr: unix.SYS_SCHED_SETAFFINITY, Args: process(0), Why: why},
		{Nr: unix.SYS_SCHED_SETATTR, Args: process(0), Why: why},
	}
	for _, request := range []uint64{
		unix.PTRACE_SEIZE, unix.PTRACE_INTERRUPT, unix.PTRACE_DETACH,
		unix.PTRACE_CONT, ptraceSysemu, ptraceSysemuSinglestep,
		unix.PTRACE_GETREGS, unix.PTRACE_SETREGS, unix.PTRACE_GETREGSET, unix.PTRACE_SETREGSET,
		unix.PTRACE_GETSIGINFO, unix.PTRACE_PEEKTEXT, unix.PTRACE_POKEUSR,
	} {
		list = append(list, hostcall.Rule{Nr: unix.SYS_PTRACE, Args: append(process(1), hostcall.Cond{Arg: 0, Mask: all, Value: request}), Why: why})
	}
	return list
}
