// Package arch holds what the rest of gosv knows about the x86-64 processor:
// the registers of a guest thread and the constants of its flags.
package arch

import "golang.org/x/sys/unix"

// State is the integer register state of one guest thread. The layout is
// struct user_regs_struct, so that a platform based on ptrace(2) can read and
// write it in one host call, and PTRACE_GETREGS of a guest on a guest is a copy.
//
// Orig_rax holds the system call number while a system call is being handled
// and -1 otherwise, as in Linux: that is what decides whether a signal may
// restart a call.
type State struct {
	unix.PtraceRegs
}

// NoSyscall is the value of Orig_rax outside a system call.
const NoSyscall = ^uint64(0)

// ENOSYS is what Rax holds at a system call that has not been handled: the error as the kernel returns it.
const ENOSYS = ^uint64(unix.ENOSYS) + 1

// VsyscallPage is where old programs call gettimeofday, time and getcpu.
const VsyscallPage = 0xffffffffff600000

// Flags of RFLAGS that the kernel cares about.
const (
	FlagTF = 1 << 8  // single step
	FlagDF = 1 << 10 // string direction
	FlagRF = 1 << 16 // resume

	// UserFlags are those that sigreturn and ptrace may change in a guest.
	UserFlags = 0xcd5 | FlagTF | FlagRF | 1<<18 // CF PF AF ZF SF DF OF TF RF AC
)

// Selectors of a 64-bit user thread.
const (
	UserCS = 0x33
	UserSS = 0x2b
)

// Guest addresses lie in [MinAddr, MaxAddr), Linux's range for a 64-bit process
// with four-level page tables (mmap_min_addr to TASK_SIZE).
const (
	PageSize  = 4096
	PageShift = 12
	MinAddr   = 0x10000
	MaxAddr   = 0x7ffffffff000
)

// Reset makes s the state of a thread at program start: all registers zero but
// the instruction and stack pointers, interrupts on.
func (s *State) Reset(ip, sp uint64) {
	*s = State{}
	s.Rip, s.Rsp = ip, sp
	s.Eflags = 0x202
	s.Cs, s.Ss = UserCS, UserSS
	s.Orig_rax = NoSyscall
}

// SyscallNo is the number of the system call that stopped the thread.
func (s *State) SyscallNo() uint64 { return s.Orig_rax }

// Args are the six system call arguments.
func (s *State) Args() [6]uint64 {
	return [6]uint64{s.Rdi, s.Rsi, s.Rdx, s.R10, s.R8, s.R9}
}

// SetReturn sets what the system call returns.
func (s *State) SetReturn(v uint64) { s.Rax = v }
