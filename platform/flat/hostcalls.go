package flat

import "golang.org/x/sys/unix"

// Syscall is a host call that the platform makes after New.
type Syscall struct {
	Nr   uintptr
	Args []Cond
	Why  string
}

// Cond is a condition on an argument: arg&Mask == Value.
type Cond struct {
	Arg         int
	Mask, Value uint64
}

// HostSyscalls are the host calls that the platform makes after New, besides those of the Go runtime and of the platform
// below. Guest memory is mapped with the rights that guests ask for, from the flat memory only.
func (p *Platform) HostSyscalls() []Syscall {
	const all = 0xffffffff
	return []Syscall{
		{unix.SYS_MMAP, []Cond{{3, all &^ unix.MAP_POPULATE, unix.MAP_SHARED | unix.MAP_FIXED}, {4, all, uint64(p.memFD)}}, "flat: guest memory"},
		{unix.SYS_MMAP, []Cond{{2, all, unix.PROT_READ | unix.PROT_EXEC}, {3, all, unix.MAP_SHARED | unix.MAP_FIXED}, {4, all, uint64(p.text.fd)}}, "flat: rewritten text"},
		{unix.SYS_MPROTECT, nil, "flat: rights of guest memory"},
		// Where the host emulates it: that is stopped by the filter alone, which would end the sandbox.
		{unix.SYS_GETTIMEOFDAY, nil, "flat: the vsyscall page"},
		{unix.SYS_TIME, nil, "flat: the vsyscall page"},
		{unix.SYS_GETCPU, nil, "flat: the vsyscall page"},
		{unix.SYS_PRCTL, []Cond{{0, all, prSetSyscallUserDispatch}}, "flat: Syscall User Dispatch"},
	}
}

const prSetSyscallUserDispatch = 59
