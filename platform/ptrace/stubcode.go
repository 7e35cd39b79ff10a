package ptrace

import (
	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
)

// Where the stub's own pages are: above everything that guests are offered.
const (
	stubBase = 0x7fffffffb000
	opsBase  = stubBase + 0x1000
	stubEnd  = stubBase + 0x2000
	userEnd  = 0x7ffffffff000 // TASK_SIZE

	// vdsoEnd is where the host's vDSO ends in a stub; its data pages come before it.
	vdsoEnd = stubBase - 0x1000

	// guestEnd is the end of the guest's part, a little lower so that nothing is next to the stub.
	guestEnd = 0x7ffffffe0000
)

// Descriptors of a stub.
const (
	stubMemFD = 0 // the flat memory
	stubCtlFD = 1 // the pages of operations

	stubImageFD = 2 // its program, at first
)

// Entry points of the stub code, as offsets, and the value of RIP at the stop that ends them.
const (
	codeOne   = 0x00 // one call, from registers
	endOne    = 0x03
	codeBatch = 0x10 // R13 operations at R12, see endTold; R13 is 0 at the end if all succeeded, RAX the last result
	endTold   = 0x4e
	endBatch  = 0x4f
	codeClone = 0x50 // clone: the parent stops, the child parks
	endClone  = 0x57
	codePark  = 0x57 // sleep for ever
)

// opSize is the size of one operation: a call number and six arguments.
const opSize = 64

// maxOps is how many operations fit in the page.
const maxOps = 4096 / opSize

// stubCode is position-independent, needs no stack and no memory but the operations.
var stubCode = [...]byte{
	// codeOne:
	0x0f, 0x05, // syscall
	0xcc, // int3
	0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
	// codeBatch:
	0x49, 0x8b, 0x04, 0x24, //       mov (%r12), %rax
	0x49, 0x8b, 0x7c, 0x24, 0x08, // mov 8(%r12), %rdi
	0x49, 0x8b, 0x74, 0x24, 0x10, // mov 16(%r12), %rsi
	0x49, 0x8b, 0x54, 0x24, 0x18, // mov 24(%r12), %rdx
	0x4d, 0x8b, 0x54, 0x24, 0x20, // mov 32(%r12), %r10
	0x4d, 0x8b, 0x44, 0x24, 0x28, // mov 40(%r12), %r8
	0x4d, 0x8b, 0x4c, 0x24, 0x30, // mov 48(%r12), %r9
	0x0f, 0x05, //                   syscall
	0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, // cmp $-4095, %rax
	0x73, 0x12, //                   jae the int3: failed
	0x49, 0x83, 0xc4, 0x40, //       add $64, %r12
	0x49, 0xff, 0xcd, //             dec %r13
	0x75, 0xcb, //                   jnz codeBatch
	// All done. The filter stops this call, which costs the tracer less than a signal, and tells it all that it needs to know.
	// The call is not made; if it were, it would fail, for its length is 0.
	0x31, 0xf6, //                   xor %esi, %esi
	0xb8, 0x0b, 0x00, 0x00, 0x00, // mov $SYS_munmap, %eax
	0x0f, 0x05, //                   syscall, up to endTold
	0xcc, //                         int3
	0xcc,
	// codeClone:
	0x0f, 0x05, // syscall
	0x85, 0xc0, // test %eax, %eax
	0x74, 0x01, // jz codePark
	0xcc, //       int3
	// codePark:
	0xb8, 0x22, 0x00, 0x00, 0x00, // mov $SYS_pause, %eax
	0x0f, 0x05, //                   syscall
	0xeb, 0xf7, //                   jmp codePark
}

// Flags of the two kinds of clone that a stub does. The child is not traced by the
// parent's tracer but taken by its own.
const (
	cloneThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM | unix.CLONE_UNTRACED
	cloneProcess = unix.CLONE_PARENT | unix.CLONE_UNTRACED | uint64(unix.SIGCHLD)
)

// stubFilter is the seccomp program of the stubs.
func stubFilter() []unix.SockFilter {
	const (
		ld    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		ret   = unix.BPF_RET | unix.BPF_K
		jeq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		ipLo  = 8
		ipHi  = 12
		arg0  = 16
		kill  = unix.SECCOMP_RET_KILL_PROCESS
		allow = unix.SECCOMP_RET_ALLOW
		trace = unix.SECCOMP_RET_TRACE
		trap  = unix.SECCOMP_RET_TRAP
	)
	p := []unix.SockFilter{
		{Code: ld, K: 4}, // arch
		{Code: jeq, K: unix.AUDIT_ARCH_X86_64, Jt: 1},
		{Code: ret, K: kill},
		{Code: ld, K: ipHi},
		{Code: jeq, K: stubBase >> 32, Jt: 6},
		// A call of the vsyscall page, where the host emulates that, is no system call to PTRACE_SYSEMU.
		{Code: jeq, K: arch.VsyscallPage >> 32, Jf: 3},
		{Code: ld, K: ipLo},
		{Code: and, K: 0xfffff000},
		{Code: jeq, K: arch.VsyscallPage & 0xffffffff, Jt: 1},
		{Code: ret, K: kill},
		{Code: ret, K: trap},
		{Code: ld, K: ipLo},
		{Code: and, K: 0xfffff000},
		{Code: jeq, K: stubBase & 0xffffffff, Jt: 1},
		{Code: ret, K: kill},
		{Code: ld, K: ipLo},
		{Code: jeq, K: (stubBase + endTold) & 0xffffffff, Jf: 1},
		{Code: ret, K: trace},
		{Code: ld, K: 0}, // number
	}
	for _, nr := range []uint32{unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_PAUSE, unix.SYS_EXIT, unix.SYS_RESTART_SYSCALL} {
		p = append(p, unix.SockFilter{Code: jeq, K: nr, Jf: 1}, unix.SockFilter{Code: ret, K: allow})
	}
	return append(p,
		unix.SockFilter{Code: jeq, K: unix.SYS_CLONE, Jt: 1},
		unix.SockFilter{Code: ret, K: kill},
		unix.SockFilter{Code: ld, K: arg0},
		unix.SockFilter{Code: jeq, K: uint32(cloneThread), Jt: 1},
		unix.SockFilter{Code: jeq, K: uint32(cloneProcess), Jf: 1},
		unix.SockFilter{Code: ret, K: allow},
		unix.SockFilter{Code: ret, K: kill})
}
