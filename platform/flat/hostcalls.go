package flat

import (
	"golang.org/x/sys/unix"

	"gosv.dev/platform/hostcall"
)

// HostSyscalls are the host calls that the platform makes after New, besides those of the Go runtime and of the platform
// below.
func (p *Platform) HostSyscalls() []hostcall.Rule {
	return HostSyscalls(p.memFD, p.text.fd, p.pages.fd, p.way)
}

// HostSyscalls are the host calls of a platform with these descriptors of the flat memory, of rewritten text and for windows (or NoWindows). Guest memory is
// mapped with the rights that guests ask for, from the flat memory only.
func HostSyscalls(memory, text, windows uintptr, way Interception) []hostcall.Rule {
	const all = 0xffffffff
	rules := []hostcall.Rule{
		{Nr: unix.SYS_SET_TID_ADDRESS, Why: "flat: which threads have ended"},
		{Nr: unix.SYS_MMAP, Args: []hostcall.Cond{{Arg: 3, Mask: all &^ unix.MAP_POPULATE, Value: unix.MAP_SHARED | unix.MAP_FIXED}, {Arg: 4, Mask: all, Value: uint64(memory)}}, Why: "flat: guest memory"},
		{Nr: unix.SYS_MMAP, Args: []hostcall.Cond{{Arg: 2, Mask: all, Value: unix.PROT_READ | unix.PROT_EXEC}, {Arg: 3, Mask: all &^ unix.MAP_POPULATE, Value: unix.MAP_SHARED | unix.MAP_FIXED}, {Arg: 4, Mask: all, Value: uint64(text)}}, Why: "flat: rewritten text"},
		{Nr: unix.SYS_MPROTECT, Why: "flat: guest memory"},
	}
	for _, code := range []uint64{archSetGS, archSetFS, archGetGS} {
		rules = append(rules, hostcall.Rule{Nr: unix.SYS_ARCH_PRCTL, Args: []hostcall.Cond{{Arg: 0, Mask: all, Value: code}}, Why: "flat: FS and GS, where no instruction writes them"})
	}
	if windows != NoWindows {
		for _, cmd := range []uint64{uffdioRegister, uffdioContinue} {
			rules = append(rules, hostcall.Rule{Nr: unix.SYS_IOCTL, Args: []hostcall.Cond{{Arg: 0, Mask: all, Value: uint64(windows)}, {Arg: 1, Mask: all, Value: cmd}}, Why: "flat: guest memory that comes and goes"})
		}
	}
	if way == Seccomp {
		return rules
	}
	// The vsyscall page where the host emulates it: that is stopped by the filter alone, which would end the sandbox.
	return append(rules,
		hostcall.Rule{Nr: unix.SYS_GETTIMEOFDAY, Why: "flat: the vsyscall page, which the host emulates"},
		hostcall.Rule{Nr: unix.SYS_TIME, Why: "flat: the vsyscall page, which the host emulates"},
		hostcall.Rule{Nr: unix.SYS_GETCPU, Why: "flat: the vsyscall page, which the host emulates"},
		hostcall.Rule{Nr: unix.SYS_PRCTL, Args: []hostcall.Cond{{Arg: 0, Mask: all, Value: prSetSyscallUserDispatch}}, Why: "flat: Syscall User Dispatch"})
}

const (
	prSetSyscallUserDispatch = 59

	archSetGS = 0x1001
	archSetFS = 0x1002
	archGetGS = 0x1004
)
