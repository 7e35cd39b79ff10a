package ptrace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

const (
	userCS = arch.UserCS
	userSS = arch.UserSS

	// interruptSignal stops a running stub thread. Its default action is to be ignored, so that one
	// that comes late, to a thread that is no longer traced, does nothing.
	interruptSignal = unix.SIGURG

	syscallStop = unix.SIGTRAP | 0x80

	siKernel = 0x80
)

// context implements platform.Context with a stub thread.
type context struct {
	// faultRip and faultAddr are the last fault, see access.
	faultRip, faultAddr uint64

	p *Platform

	// Owned by the context's goroutine.
	as       *addressSpace   // where tid is, or nil
	w        *worker         // whose goroutine it is; its first held thread is tid
	own      bool            // w serves this context only
	regs     unix.PtraceRegs // scratch, so that nothing escapes to the heap
	whole    bool            // regs are those that the thread has
	ws       unix.WaitStatus
	si       siginfo
	fp       []byte // the floating point state to begin with, nil: initial; and scratch of FP
	fpBuf    []byte
	fpSet    []byte     // scratch of SetFP
	fpLegacy bool       // all but x87 and SSE state of the thread is initial: it was in fpBuf, and has not changed since
	sites    [64]uint64 // addresses after instructions known to be SYSCALL, by their low bits

	ran     time.Duration // cpuTime when it was woken last
	foreign int           // wake-ups from another processor in a row

	cpuTime atomic.Int64 // nanoseconds in guest code

	// interrupt: Interrupt was called and has not been reported. inGuest: a signal is needed to
	// make the thread stop.
	interrupt, inGuest atomic.Bool

	park parker

	// mu protects tid, which Interrupt uses, and cpu, which balancing changes.
	mu      sync.Mutex
	tid     int32 // the stub thread, 0: none
	pid     int32
	cpu     int           // index in balance.cpus
	running bool          // counted in balance.running
	entered time.Duration // when it began to run
	follows time.Duration // when it may follow its wakers again
	apart   time.Duration
}

func newContext(p *Platform) *context {
	return &context{p: p, cpu: p.balance.choose(), park: parker{all: p.sleepers}}
}

// Interrupt implements platform.Context.
func (c *context) Interrupt() {
	if c.interrupt.Swap(true) {
		return
	}
	if !c.inGuest.Load() {
		return
	}
	c.mu.Lock()
	if c.tid != 0 {
		unix.Tgkill(int(c.pid), int(c.tid), interruptSignal)
	}
	c.mu.Unlock()
}

// attach gets a thread in as, traced by the calling host thread.
func (c *context) attach(as *addressSpace) error {
	if c.w == nil {
		// A caller with a goroutine of its own.
		runtime.LockOSThread()
		c.w, c.own = &worker{p: c.p, tracer: int32(unix.Gettid()), cpu: -1}, true
	}
	c.detach()
	h, err := c.w.take(as)
	if err != nil {
		return fmt.Errorf("taking a stub thread: %w", err)
	}
	fp := c.fp
	if fp == nil {
		fp = c.p.x.Init
	}
	if e := setXState(h.tid, fp); e != 0 {
		return gone(h.tid, "PTRACE_SETREGSET", e)
	}
	c.as, c.sites, c.fp, c.whole, c.fpLegacy = as, [64]uint64{}, nil, false, false
	c.mu.Lock()
	c.tid, c.pid = h.tid, as.s.pid
	if c.w.cpu != c.cpu {
		c.w.cpu = c.cpu
		setAffinity(c.w.tracer, c.p.balance.cpus[c.cpu])
	}
	if h.cpu != c.cpu {
		h.cpu = c.cpu
		setAffinity(h.tid, c.p.balance.cpus[c.cpu])
	}
	c.mu.Unlock()
	c.p.balance.add(c)
	return nil
}

// detach leaves the thread to the worker, for this or another context.
func (c *context) detach() {
	if c.as == nil {
		return
	}
	c.p.balance.remove(c)
	c.mu.Lock()
	// Balancing may have moved it.
	c.w.cpu, c.w.held[0].cpu = c.cpu, c.cpu
	c.tid, c.as = 0, nil
	c.mu.Unlock()
}

// Parks implements platform.Parker.
func (c *context) Parks() bool { return true }

// Park implements platform.Parker.
func (c *context) Park(timeout time.Duration) {
	if c.park.park(timeout) {
		c.woken(c.park.cpu.Load())
	}
}

// Unpark implements platform.Parker.
func (c *context) Unpark() { c.park.unpark() }

// Release implements platform.Context.
func (c *context) Release() {
	c.detach()
	if c.w != nil && c.own {
		c.w.sweep()
		c.w.end()
	}
	c.w = nil
}

// Switch implements platform.Context.
func (c *context) Switch(pas platform.AddressSpace, st *arch.State, step bool) (platform.Event, error) {
	as := pas.(*addressSpace)
	if c.as != as {
		if err := c.attach(as); err != nil {
			return platform.Event{}, err
		}
	}
	if st.Fs_base >= userEnd || st.Gs_base >= userEnd {
		return generalProtection, nil
	}
	for {
		c.inGuest.Store(true)
		if c.interrupt.Load() {
			c.inGuest.Store(false)
			c.interrupt.Store(false)
			st.Orig_rax = arch.NoSyscall
			return platform.Event{Kind: platform.Interrupted}, nil
		}
		as.inGuest.Add(1)
		if !as.pending() {
			break
		}
		as.inGuest.Add(-1)
		intr := false
		c.whole = false
		err := as.flush(c.tid, &intr)
		c.inGuest.Store(false)
		if err != nil {
			return platform.Event{}, c.failed(err)
		}
	}
	start := clock()
	c.p.balance.enter(c, start)
	ev, err := c.run(as, st, step)
	end := clock()
	c.cpuTime.Add(int64(end - start))
	c.p.balance.leave(c, end)
	as.inGuest.Add(-1)
	c.inGuest.Store(false)
	if ev.Kind == platform.Interrupted {
		c.interrupt.Store(false)
	}
	return ev, err
}

var generalProtection = platform.Event{Kind: platform.Exception, Signal: int(unix.SIGSEGV), Code: siKernel}

// failed marks the address space dead where err says so.
func (c *context) failed(err error) error {
	if c.as != nil && isGone(err) {
		c.as.dead.Store(true)
	}
	return err
}

// run lets the stub thread run from st until there is an event.
func (c *context) run(as *addressSpace, st *arch.State, step bool) (platform.Event, error) {
	c.fpLegacy = false
	if e := c.putRegs(st); e != 0 {
		if e == unix.EIO {
			return generalProtection, nil
		}
		return platform.Event{}, c.failed(gone(c.tid, "PTRACE_SETREGS", e))
	}
	request := ptraceSysemu
	if step {
		request = ptraceSysemuSinglestep
	}
	for {
		if e := ptrace(request, c.tid, 0, 0); e != 0 {
			return platform.Event{}, c.failed(gone(c.tid, "PTRACE_SYSEMU", e))
		}
		if e := wait(c.tid, &c.ws); e != 0 {
			return platform.Event{}, c.failed(gone(c.tid, "wait", e))
		}
		if !c.ws.Stopped() {
			return platform.Event{}, c.failed(fmt.Errorf("%w: status %#x", platform.ErrGone, uint32(c.ws)))
		}
		sig := c.ws.StopSignal()
		switch {
		case sig == syscallStop:
			if e := getRegs(c.tid, &st.PtraceRegs); e != 0 {
				return platform.Event{}, c.failed(gone(c.tid, "PTRACE_GETREGS", e))
			}
			c.regs, c.whole = st.PtraceRegs, true
			if !c.isSyscall(st.Rip) {
				st.Orig_rax = arch.NoSyscall
				return generalProtection, nil
			}
			return platform.Event{Kind: platform.Syscall}, nil
		case c.ws.TrapCause() > 0:
			continue // a group stop that somebody on the host began
		case sig == interruptSignal:
			if !c.interrupt.Load() {
				continue // of an interrupt that was reported before
			}
			if e := c.stopped(st); e != nil {
				return platform.Event{}, e
			}
			return platform.Event{Kind: platform.Interrupted}, nil
		case sig == unix.SIGSEGV || sig == unix.SIGBUS || sig == unix.SIGFPE || sig == unix.SIGILL || sig == unix.SIGTRAP:
			if e := getSiginfo(c.tid, &c.si); e != 0 {
				return platform.Event{}, c.failed(gone(c.tid, "PTRACE_GETSIGINFO", e))
			}
			if c.si.Code <= 0 {
				continue // sent by somebody on the host
			}
			if e := c.stopped(st); e != nil {
				return platform.Event{}, e
			}
			return c.fault(as, st, sig), nil
		case sig == unix.SIGSYS:
			if e := getSiginfo(c.tid, &c.si); e != 0 {
				return platform.Event{}, c.failed(gone(c.tid, "PTRACE_GETSIGINFO", e))
			}
			if c.si.Code != sysSeccomp {
				continue // sent by somebody on the host
			}
			// A call of the vsyscall page: the host has returned from it, with the number in RAX.
			if e := c.stopped(st); e != nil {
				return platform.Event{}, e
			}
			st.Orig_rax, st.Rax = st.Rax, arch.ENOSYS
			return platform.Event{Kind: platform.Syscall}, nil
		}
		// Any other signal was sent by somebody on the host: guests have no part in it.
	}
}

const sysSeccomp = 1 // code of SIGSYS

// stopped reads the registers at a stop that is no system call.
func (c *context) stopped(st *arch.State) error {
	if e := getRegs(c.tid, &st.PtraceRegs); e != 0 {
		return c.failed(gone(c.tid, "PTRACE_GETREGS", e))
	}
	st.Orig_rax = arch.NoSyscall
	return nil
}

// putRegs gives the thread the registers of st. After most system calls only the result differs from what
// it has, and that is cheaper to write alone.
func (c *context) putRegs(st *arch.State) syscall.Errno {
	r := &c.regs
	if c.whole {
		c.whole = false
		r.Rax, r.Orig_rax = st.Rax, st.Orig_rax
		// The host must not take the result for one of its own that restart a call.
		if *r == st.PtraceRegs && uint64(-int64(r.Rax)-512) > 4 {
			return ptrace(unix.PTRACE_POKEUSR, c.tid, offsetRax, uintptr(r.Rax))
		}
	}
	*r = st.PtraceRegs
	r.Cs, r.Ss, r.Ds, r.Es, r.Fs, r.Gs = userCS, userSS, 0, 0, 0, 0
	r.Orig_rax = arch.NoSyscall
	return setRegs(c.tid, r)
}

// offsetRax is where RAX is in struct user.
const offsetRax = 80

// isSyscall tells SYSCALL from INT 0x80, which stop alike. Sites that were seen are remembered.
func (c *context) isSyscall(rip uint64) bool {
	site := &c.sites[rip>>1%uint64(len(c.sites))]
	if *site == rip {
		return true
	}
	var code [8]byte
	c.peek(rip-2, code[:])
	if code[0] == 0xcd && code[1] == 0x80 {
		return false
	}
	*site = rip
	return true
}

// fault makes an event of what the processor raised.
func (c *context) fault(as *addressSpace, st *arch.State, sig syscall.Signal) platform.Event {
	ev := platform.Event{Kind: platform.Exception, Signal: int(sig), Code: c.si.Code, Addr: c.si.Addr}
	if sig != unix.SIGSEGV || c.si.Code == siKernel {
		if sig == unix.SIGSEGV || sig == unix.SIGTRAP && c.si.Code == siKernel {
			ev.Addr = 0
		}
		return ev
	}
	return platform.Event{Kind: platform.Fault, Addr: c.si.Addr, Access: c.access(as, st, c.si.Addr)}
}

// FP implements platform.Context.
func (c *context) FP() ([]byte, error) {
	if c.as == nil {
		if c.fp != nil {
			return c.fp, nil
		}
		return c.p.x.Init, nil
	}
	if c.fpBuf == nil {
		c.fpBuf = make([]byte, len(c.p.x.Init))
	}
	if _, e := getXState(c.tid, c.fpBuf); e != 0 {
		return nil, c.failed(gone(c.tid, "PTRACE_GETREGSET", e))
	}
	const rest = arch.FXSaveSize + arch.XSaveHeader
	c.fpLegacy = len(c.fpBuf) >= rest && bytes.Equal(c.fpBuf[rest:], c.p.x.Init[rest:])
	return c.fpBuf, nil
}

// SetFP implements platform.Context.
func (c *context) SetFP(image []byte) error {
	if c.fpSet == nil || c.as == nil { // without a thread it is kept
		c.fpSet = make([]byte, len(c.p.x.Init))
	}
	if err := c.p.x.Complete(c.fpSet, image); err != nil {
		return err
	}
	return c.setFP(c.fpSet)
}

func (c *context) setFP(full []byte) error {
	c.fpLegacy = false
	if c.as == nil {
		c.fp, c.fpSet = full, nil
		return nil
	}
	if e := setXState(c.tid, full); e != 0 {
		if e == unix.EINVAL || e == unix.EFAULT {
			return unix.EINVAL
		}
		return c.failed(gone(c.tid, "PTRACE_SETREGSET", e))
	}
	return nil
}

// ResetFP implements platform.Context. A failure shows at the next Switch. Where the newer parts of the state are as they are to be it
// is enough to write that, which is cheaper.
func (c *context) ResetFP() {
	if c.as == nil || !c.fpLegacy || setFPRegs(c.tid, c.p.x.Init[:arch.FXSaveSize]) != 0 {
		c.setFP(c.p.x.Init)
	}
}

// readFPLayout learns the size and the features of XSAVE images from a stopped thread.
func (p *Platform) readFPLayout(tid int32) error {
	b := make([]byte, 16<<10)
	n, e := getXState(tid, b)
	if e != 0 {
		return fmt.Errorf("PTRACE_GETREGSET: %w", e)
	}
	le := binary.LittleEndian
	p.x.Init = make([]byte, n)
	if p.x.MXCSRMask = le.Uint32(b[28:]); p.x.MXCSRMask == 0 {
		p.x.MXCSRMask = 0xffbf
	}
	p.x.Features = le.Uint64(b[464:]) // the mask that Linux leaves in the software reserved part
	if p.x.Features == 0 {
		p.x.Features = 3
	}
	le.PutUint16(p.x.Init, 0x37f)
	le.PutUint32(p.x.Init[arch.FXSaveMXCSR:], 0x1f80)
	le.PutUint32(p.x.Init[28:], p.x.MXCSRMask)
	le.PutUint64(p.x.Init[464:], p.x.Features)
	return nil
}
