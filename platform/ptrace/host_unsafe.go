package ptrace

// Raw host calls. What makes them safe: every pointer given to the kernel is to memory that
// the caller keeps alive over the call, and forkTemplate's child runs nothing that could
// grow a stack, allocate or take a lock.

import (
	"math"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/vfork"
)

// ptrace requests that x/sys does not name.
const (
	ptraceSysemu           = 31
	ptraceSysemuSinglestep = 32
	ntPrFPReg              = 2
	ntX86XState            = 0x202
)

func ptrace(req int, tid int32, addr, data uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), addr, data, 0, 0)
	return e
}

func getRegs(tid int32, r *unix.PtraceRegs) syscall.Errno {
	return ptrace(unix.PTRACE_GETREGS, tid, 0, uintptr(unsafe.Pointer(r)))
}

func setRegs(tid int32, r *unix.PtraceRegs) syscall.Errno {
	return ptrace(unix.PTRACE_SETREGS, tid, 0, uintptr(unsafe.Pointer(r)))
}

// siginfo is the part of siginfo_t that a fault fills.
type siginfo struct {
	Signo, Errno, Code, _ int32
	Addr                  uint64
	_                     [104]byte
}

func getSiginfo(tid int32, si *siginfo) syscall.Errno {
	return ptrace(unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(si)))
}

// getXState reads the floating point state into b and returns how much there is.
func getXState(tid int32, b []byte) (int, syscall.Errno) {
	iov := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	e := ptrace(unix.PTRACE_GETREGSET, tid, ntX86XState, uintptr(unsafe.Pointer(&iov)))
	return int(iov.Len), e
}

func setXState(tid int32, b []byte) syscall.Errno {
	iov := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	return ptrace(unix.PTRACE_SETREGSET, tid, ntX86XState, uintptr(unsafe.Pointer(&iov)))
}

// setFPRegs writes the x87 and SSE state alone, as FXSAVE has it.
func setFPRegs(tid int32, b []byte) syscall.Errno {
	iov := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	return ptrace(unix.PTRACE_SETREGSET, tid, ntPrFPReg, uintptr(unsafe.Pointer(&iov)))
}

// rseqOf is where a stopped thread has registered struct rseq, or 0. Before Linux 5.13 it is not to be had.
func rseqOf(tid int32) (addr, size, sig uint64) {
	const getRseqConfiguration = 0x420f
	var c struct {
		addr                  uint64
		size, sig, flags, pad uint32
	}
	if ptrace(getRseqConfiguration, tid, unsafe.Sizeof(c), uintptr(unsafe.Pointer(&c))) != 0 {
		return 0, 0, 0
	}
	return c.addr, uint64(c.size), uint64(c.sig)
}

// peek reads eight bytes of a stopped thread's memory.
func peek(tid int32, addr uint64) (v uint64, e syscall.Errno) {
	e = ptrace(unix.PTRACE_PEEKTEXT, tid, uintptr(addr), uintptr(unsafe.Pointer(&v)))
	return v, e
}

// wait waits for a change of a traced thread; the Go scheduler knows that it blocks.
func wait(tid int32, status *unix.WaitStatus) syscall.Errno {
	for {
		_, _, e := syscall.Syscall6(unix.SYS_WAIT4, uintptr(tid), uintptr(unsafe.Pointer(status)), unix.WALL, 0, 0, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// setAffinity binds a host thread to one processor.
func setAffinity(tid int32, cpu int) syscall.Errno {
	var set [16]uint64
	set[cpu/64] = 1 << (cpu % 64)
	_, _, e := syscall.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	return e
}

// setAffinityAll lets a host thread run on any of the processors.
func setAffinityAll(tid int32, cpus []int) syscall.Errno {
	var set [16]uint64
	for _, cpu := range cpus {
		set[cpu/64] |= 1 << (cpu % 64)
	}
	_, _, e := syscall.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	return e
}

// schedAttr is struct sched_attr.
type schedAttr struct {
	size, policy              uint32
	flags                     uint64
	nice                      int32
	priority                  uint32
	runtime, deadline, period uint64
	utilMin, utilMax          uint32
}

// setSlice asks the host to let a thread run for that long at a time, and changes nothing else of it. nice is
// what it has. Hosts before Linux 6.12 have slices of one length.
func setSlice(tid int32, slice time.Duration, nice int32) syscall.Errno {
	a := schedAttr{flags: unix.SCHED_FLAG_KEEP_POLICY, nice: nice, runtime: uint64(slice)}
	a.size = uint32(unsafe.Sizeof(a))
	_, _, e := syscall.RawSyscall(unix.SYS_SCHED_SETATTR, uintptr(tid), uintptr(unsafe.Pointer(&a)), 0)
	return e
}

// noChildStops makes stops of traced threads send no SIGCHLD to the sentry, which would interrupt
// one of its threads at every guest system call. The handler stays what it was.
func noChildStops() error {
	var sa struct {
		handler, flags, restorer, mask uintptr
	}
	if _, _, e := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, uintptr(unsafe.Pointer(&sa)), 8, 0, 0); e != 0 {
		return e
	}
	const saNoCldStop = 1
	sa.flags |= saNoCldStop
	if _, _, e := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0); e != 0 {
		return e
	}
	return nil
}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// forkTemplate forks the sentry. The child has the two descriptors and the stub page, is traced by the
// calling thread and stops itself with SIGSTOP; everything else is done to it from outside.
//
//go:norace
//go:nocheckptr
func forkTemplate(memFD, ctlFD uintptr) (int32, syscall.Errno) {
	const high = 2 // not the numbers that they get below
	code := &stubCode
	beforeFork()
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || pid != 0 {
		afterFork()
		return int32(pid), e
	}
	afterForkInChild()
	a, _, e := syscall.RawSyscall(unix.SYS_FCNTL, memFD, unix.F_DUPFD, high)
	if e != 0 {
		exitChild(1)
	}
	b, _, e := syscall.RawSyscall(unix.SYS_FCNTL, ctlFD, unix.F_DUPFD, high)
	if e != 0 {
		exitChild(2)
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, a, stubMemFD, 0); e != 0 {
		exitChild(3)
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, b, stubCtlFD, 0); e != 0 {
		exitChild(4)
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 2, ^uintptr(0)>>32, 0); e != 0 {
		for fd := uintptr(2); fd < 8192; fd++ { // before Linux 5.9
			syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
	}
	page, _, e := syscall.RawSyscall6(unix.SYS_MMAP, stubBase, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uintptr(0), 0)
	if e != 0 {
		exitChild(5)
	}
	to := *(**[len(stubCode)]byte)(unsafe.Pointer(&page))
	*to = *code
	if _, _, e = syscall.RawSyscall(unix.SYS_MPROTECT, page, 4096, unix.PROT_READ|unix.PROT_EXEC); e != 0 {
		exitChild(6)
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0); e != 0 {
		exitChild(exitUntraceable)
	}
	self, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	syscall.RawSyscall(unix.SYS_KILL, self, uintptr(unix.SIGSTOP), 0)
	exitChild(8)
	return 0, 0
}

// noStrings and noPath are an argument vector and a path that are empty; variables of the package do not move.
var (
	noStrings [1]uintptr
	noPath    [1]byte
)

// vforkTemplate makes a process that executes the program of a memfd, with the two descriptors. It is traced by the calling thread and has stopped when it
// has been waited for.
func vforkTemplate(memFD, ctlFD, image uintptr) (int32, error) {
	none, empty := uintptr(unsafe.Pointer(&noStrings)), uintptr(unsafe.Pointer(&noPath))
	var calls []vfork.Call
	for i, fd := range [...]uintptr{stubMemFD: memFD, stubCtlFD: ctlFD, stubImageFD: image} {
		high, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, stubImageFD+1) // not a number that another one gets
		if err != nil {
			return 0, err
		}
		defer unix.Close(high)
		calls = append(calls, vfork.Call{Nr: unix.SYS_DUP3, Args: [6]uintptr{uintptr(high), uintptr(i)}})
	}
	pid, err := vfork.Start(0, append(calls,
		vfork.Call{Nr: unix.SYS_CLOSE_RANGE, Args: [6]uintptr{stubImageFD + 1, math.MaxUint32}},
		vfork.Call{Nr: unix.SYS_PTRACE, Args: [6]uintptr{unix.PTRACE_TRACEME}},
		vfork.Call{Nr: unix.SYS_EXECVEAT, Args: [6]uintptr{stubImageFD, empty, none, none, unix.AT_EMPTY_PATH}}))
	return int32(pid), err
}

// exitUntraceable is the status of a child that must not be traced.
const exitUntraceable = 7

//go:norace
//go:nosplit
func exitChild(code uintptr) {
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// ctlMemory maps the pages of operations.
func ctlMemory(fd int, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
}

// opsOf is one page of operations as words.
func opsOf(page []byte) *[maxOps * opSize / 8]uint64 {
	return (*[maxOps * opSize / 8]uint64)(unsafe.Pointer(&page[0]))
}

// filterBytes is a seccomp program as the kernel reads it: struct sock_fprog for the address at, followed by
// the instructions.
func filterBytes(prog []unix.SockFilter, at uint64) []byte {
	b := make([]byte, 16+len(prog)*8)
	*(*uint16)(unsafe.Pointer(&b[0])) = uint16(len(prog))
	*(*uint64)(unsafe.Pointer(&b[8])) = at + 16
	for i, f := range prog {
		*(*unix.SockFilter)(unsafe.Pointer(&b[16+8*i])) = f
	}
	return b
}
