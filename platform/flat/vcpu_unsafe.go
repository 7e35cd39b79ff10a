package flat

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
)

// vcpu is the control block of a host thread, outside the Go heap. switch_amd64.s knows the offsets.
type vcpu struct {
	inGuest uint64  // first byte: the selector of Syscall User Dispatch
	leave   uintptr // sites.LeaveSlot
	self    uintptr
	goFS    uintptr // FS base of the sentry, or 0 if it needs none (tls_unsafe.go)
	goSP    uintptr
	goBP    uintptr
	st      uintptr // *arch.State
	fp      uintptr // vector registers saved by hand
	image   uintptr // an XSAVE image
	fpImage uint64  // the state is in image
	full    uint64  // all registers and flags are to be restored, RCX and R11 too
	rip     uint64
	event   uint64
	pending uint64 // signals that came while they could not be handled
	tid     uint64
	sig     uint64
	code    int64
	addr    uint64
	errCode uint64
	trapno  uint64
	arch    uint64 // of a SIGSYS, in the upper half
	avx512  uint64
	slow    uint64 // XINUSE bits that are not saved by hand
	cap     uint64 // size of image
	xmask   uint64
	init    uintptr // an XSAVE image of the initial state
	fs      uint64  // what FS base is, if the sentry needs none, or noFS
	fsgs    fsgsWay
	answers uintptr // [256]answer
	rcx     uint64  // RCX at the beginning of answer
	gs      uint64  // GS base when a signal stopped the guest: self, unless the guest changed it
	left    uint64  // what to add to eventSyscall when the guest is left
	inLeaf  uint64  // first byte: a leaf call is being made
	leafSP  uint64  // the guest's SP meanwhile
}

const (
	eventRetry = iota
	eventSyscall
	eventSignal
	eventLeft // after a leaf call, for what was put off
)

// Flags that the short way into the guest restores, and what the others must be for it.
const (
	arithmetic = 0x8d5 // OF SF ZF AF PF CF
	ordinary   = 0x202 // IF, and the bit that is always set
)

// interruptSignal makes a thread leave the guest. Go uses it for nothing.
const interruptSignal = 63

// noFS is an FS base that no guest has.
const noFS = ^uint64(0)

// fpSize is the size of the area for what is saved by hand.
const fpSize = 2112 + 64

func current() *vcpu
func ownBlock() *vcpu
func takePending(v *vcpu) uint64
func setGS(v uintptr)
func fsBase() uintptr
func xgetbv(index uint32) uint64
func cpuid(leaf, sub uint32) (a, b, c, d uint32)
func packFP(fp, image uintptr, avx512, mask uint64)
func saveInit(image uintptr, mask uint64)
func enter(v *vcpu)
func exchange(p *uint32, v uint32)
func sentryText() (lo, hi uintptr)
func codeAddrs() (a addrs)

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// goHandlers are the handlers that Go has for each signal.
var goHandlers [65]uintptr

// addrs are where parts of the sentry's assembly and of the runtime's are. From lo to hi is what may make host calls while guest code runs.
type addrs struct {
	lo, hi                                      uintptr
	answer, answered, leave, sigentry, restorer uintptr // switch_amd64.s
	threadStart, adopt, skipIllegal             uintptr // tls_amd64.s
	mstart, clone, stackcheck                   uintptr // runtime
}

// sigaction is the kernel's struct.
type sigaction struct{ handler, flags, restorer, mask uintptr }

const (
	saSiginfo  = 4
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
)

// handledBy is the action that has one of our handlers run, on the signal stack, with more flags.
func handledBy(handler, flags, mask uintptr) sigaction {
	return sigaction{handler: handler, flags: flags | saSiginfo | saOnStack | saRestorer, restorer: codeAddrs().restorer, mask: mask}
}

// rtSigaction is rt_sigaction(2): of now and old either may be nil.
func rtSigaction(sig uintptr, now, old *sigaction) error {
	if _, _, e := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(now)), uintptr(unsafe.Pointer(old)), 8, 0, 0); e != 0 {
		return fmt.Errorf("rt_sigaction(%d): %w", sig, e)
	}
	return nil
}

// takeSignals puts sigentry before all handlers there are.
func takeSignals(way Interception) error {
	entry := codeAddrs().sigentry
	mask := ^uintptr(0)
	if way == Seccomp {
		mask &^= 1 << (unix.SIGSYS - 1) // what Go's handlers call may need the vDSO
	}
	for sig := uintptr(1); sig <= 64; sig++ {
		var old sigaction
		if rtSigaction(sig, nil, &old) != nil {
			continue
		}
		if old.handler == entry || old.handler <= 1 && sig != interruptSignal && sig != uintptr(unix.SIGSYS) {
			continue
		}
		goHandlers[sig] = old.handler
		now := handledBy(entry, old.flags, mask)
		if err := rtSigaction(sig, &now, nil); err != nil {
			return err
		}
	}
	return nil
}

// newVCPU makes the calling host thread one that can run guests.
func (p *Platform) newVCPU() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v, goFS := p.takeVCPU()
	*v = vcpu{leave: codeAddrs().answer, self: uintptr(unsafe.Pointer(v)), goFS: goFS, fs: noFS, fsgs: p.fsgs, tid: uint64(unix.Gettid()),
		avx512: p.fpu.avx512, slow: p.fpu.slow, cap: p.fpu.size, xmask: p.fpu.Features, init: uintptr(unsafe.Pointer(&p.fpu.Init[0]))}
	if p.fsgs == fsgsUnknown {
		if _, _, e := syscall.RawSyscall(unix.SYS_ARCH_PRCTL, archSetFS, nowhere, 0); e != 0 {
			return fmt.Errorf("arch_prctl(ARCH_SET_FS): %w", e)
		}
	}
	if p.way == Dispatch {
		if err := dispatch(v.self); err != nil {
			return fmt.Errorf("PR_SET_SYSCALL_USER_DISPATCH: %w", err)
		}
	}
	if err := p.noteVCPU(v); err != nil {
		return err
	}
	if goFS != 0 {
		setGS(v.self)
	}
	return nil
}

// takeVCPU is a block for the calling host thread, and what FS base has to be in the sentry.
func (p *Platform) takeVCPU() (*vcpu, uintptr) {
	if goTLSInGS {
		return ownBlock(), 0
	}
	// A block that was another thread's may still be where GS of threads points that it has made.
	n := atomic.AddUint64(&blocksTaken, 1) - 1
	if n >= maxBlocks {
		panic("flat: more threads than there can be")
	}
	at := blocks + uintptr(n)*blockSize + blockHead
	return (*vcpu)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), fsBase()
}

// dispatch turns Syscall User Dispatch on for the calling host thread. The byte at selector says when.
func dispatch(selector uintptr) error {
	const on = 1
	a := codeAddrs()
	if _, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, prSetSyscallUserDispatch, on, a.lo, a.hi-a.lo, selector, 0); e != 0 {
		return e
	}
	return nil
}

// neverSelected is a selector that allows all calls.
var neverSelected [8]byte

// dispatchWorks is what the host says to a thread that asks for Syscall User Dispatch.
func dispatchWorks() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := dispatch(uintptr(unsafe.Pointer(&neverSelected))); err != nil {
		return err
	}
	if _, _, e := syscall.RawSyscall6(unix.SYS_PRCTL, prSetSyscallUserDispatch, 0, 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

// vcpus finds the block of a host thread by its id: an open hash table, which signal handlers read. Entries are never taken out, but
// replaced by those of later threads with the same id, and when their block has had another owner since, who has noted another entry in slots: its
// index and 1.
var (
	vcpus [1 << 16]uintptr
	slots [maxBlocks]uint32 // with Platform.mu
)

// noteVCPU enters a block into vcpus.
func (p *Platform) noteVCPU(v *vcpu) error {
	slot := func(block uintptr) *uint32 { return &slots[(block-blocks)/blockSize] }
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range uint64(len(vcpus) / 2) {
		i := (v.tid + n) % uint64(len(vcpus))
		old := atomic.LoadUintptr(&vcpus[i])
		if old == 0 || *slot(old) != uint32(i+1) || (*vcpu)(*(*unsafe.Pointer)(unsafe.Pointer(&old))).tid == v.tid {
			*slot(v.self) = uint32(i + 1)
			atomic.StoreUintptr(&vcpus[i], v.self)
			return nil
		}
	}
	return fmt.Errorf("flat: too many host threads: %w", unix.EAGAIN)
}

// enter runs guest code on a vcpu until an event. False: the calling thread has no vcpu yet.
//
// From entersyscall to exitsyscall the goroutine stays on its thread, and the scheduler gives its place to others if that
// takes long. No stack may grow in between.
//
//go:nosplit
//go:norace
func (c *context) enter(st *arch.State) bool {
	entersyscall()
	v := current()
	if v == nil {
		exitsyscall()
		return false
	}
	v.st = uintptr(unsafe.Pointer(st))
	v.fp, v.image, v.fpImage = c.fpAt, c.imageAt, c.fpImage
	v.rip, v.answers = c.rip, *(*uintptr)(unsafe.Pointer(&c.answers))
	v.full = 1
	if st.Rcx == st.Rip && st.R11 == st.Eflags && st.Eflags&^arithmetic == ordinary {
		v.full = 0
	}
	v.event = eventRetry
	// Who interrupts sets the flag, or a bit of the watched word, and then looks for a thread: the exchange is the barrier between the two.
	// (Not with package atomic: for the race detector that is calls which may grow the stack.)
	exchange(&c.tid, uint32(v.tid))
	if c.interrupt == 0 && *(*uint32)(unsafe.Pointer(c.watch))&c.watchMask == 0 {
		enter(v)
	}
	c.tid = 0
	c.event = v.event
	if c.event != eventRetry {
		c.fpImage = v.fpImage
		if c.event == eventSignal {
			c.sig, c.code, c.addr, c.errCode, c.trapno, c.arch, c.rcx = v.sig, v.code, v.addr, v.errCode, v.trapno, v.arch, v.rcx
			c.gs, c.ownGS = v.gs, uintptr(v.gs) == v.self
		}
	}
	if v.pending != 0 {
		// What came for Go is sent once more, now that its handler can run.
		again := takePending(v) &^ (1 << interruptSignal)
		for sig := uintptr(1); again != 0; sig++ {
			again >>= 1
			if again&1 != 0 {
				syscall.RawSyscall(unix.SYS_TGKILL, ownPID, uintptr(v.tid), sig)
			}
		}
	}
	exitsyscall()
	return true
}

// ownPID is the sentry's.
var ownPID uintptr

// fpu is what the processor has of floating point and vector registers.
type fpu struct {
	arch.XState
	avx512, slow, size uint64
}

// aligned is n bytes at a multiple of 64. They are not moved.
func aligned(n uint64) []byte {
	b := make([]byte, n+63)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 63
	return b[skip:][:n:n]
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

// readCPU looks at the processor.
func readCPU() (c cpu) {
	const (
		osxsave = 1 << 27
		xgetbv1 = 1 << 2
	)
	if _, _, f, _ := cpuid(1, 0); f&osxsave == 0 {
		return c
	}
	c.xsave = true
	c.enabled = xgetbv(0)
	_, size, _, _ := cpuid(13, 0)
	c.size = uint64(size)
	a, _, _, _ := cpuid(13, 1)
	c.xgetbv1 = a&xgetbv1 != 0
	return c
}

// readFPU prepares for a processor that lacks nothing.
func readFPU(c cpu) (f fpu) {
	hand := uint64(xcrSSE | xcrAVX)
	if c.enabled&xcrAVX512 == xcrAVX512 {
		f.avx512 = 1
		hand |= xcrAVX512
	}
	// Protection keys are not a guest's; the tiles of AMX need a permission that nobody asks for.
	f.Features = c.enabled &^ (xcrPKRU | xcrAMX)
	f.slow = f.Features &^ hand
	f.size = c.size
	f.Init = aligned(f.size)
	*(*uint32)(unsafe.Pointer(&f.Init[arch.FXSaveMXCSR])) = 0x1f80
	saveInit(address(f.Init), f.Features)
	f.MXCSRMask = *(*uint32)(unsafe.Pointer(&f.Init[28]))
	if f.MXCSRMask == 0 {
		f.MXCSRMask = 0xffbf
	}
	clear(f.Init[512:576])
	return f
}

// sentryAddrs is some addresses of the sentry's own memory: in the Go heap, and where the host puts what asks for no address.
func sentryAddrs() []uint64 {
	all := []uint64{uint64(address(make([]byte, 1<<20)))}
	if b, err := unix.Mmap(-1, 0, pageSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err == nil {
		all = append(all, uint64(address(b)))
		_ = unix.Munmap(b)
	}
	return all
}

// hostMap, hostUnmap and hostProtect change mappings of the process.
func hostMap(addr, length uint64, prot, flags, fd uintptr, off uint64) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_MMAP, uintptr(addr), uintptr(length), prot, flags, fd, uintptr(off))
	return e
}

func hostUnmap(addr, length uint64) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_MUNMAP, uintptr(addr), uintptr(length), 0)
	return e
}

func hostProtect(addr, length uint64, prot uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_MPROTECT, uintptr(addr), uintptr(length), prot)
	return e
}

//go:nosplit
//go:norace
func schedulerOnly() {
	entersyscall()
	exitsyscall()
}
