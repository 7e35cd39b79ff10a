package flat

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/platform/flat/sites"
)

// context implements platform.Context.
type context struct {
	p *Platform

	// Owned by the context's goroutine.
	*buffers
	fpAt, imageAt uintptr
	fpImage       uint64           // the state is in image
	stub          platform.Context // made when it first needs one
	onStub        bool             // the floating point state is with stub
	as            *addressSpace    // where it was last
	rip           uint64           // where the guest goes on, which may be in a trampoline for st.Rip
	// lastAfter is where the program goes on after its last system call, and lastResume where it really does.
	lastAfter, lastResume uint64
	resumes               [16]resume // of calls before, by the address where they went on
	textGen               uint64     // of the address space when they were noted

	answers atomic.Pointer[[256]answer] // none until there is one

	lostAt    uint64    // a page that the host had lost
	lostSince time.Time // when first
	losses    int       // how often since

	asleep atomic.Bool   // see platform.Sleeper
	sleeps atomic.Uint32 // how often it was

	watch     *atomic.Uint32 // see platform.Watcher
	watchMask uint32

	// Why enter returned.
	event, sig, addr, errCode, trapno, arch, rcx uint64
	code                                         int64
	gs                                           uint64
	ownGS                                        bool // gs is what it was

	// Atomic, but for the goroutine itself between entersyscall and exitsyscall.
	interrupt uint32 // why guest code is not to run: interrupted, expelled
	tid       uint32 // the host thread that runs its guest code, or 0
	other     atomic.Pointer[platform.Context]
}

// Why guest code is not to run.
const (
	interrupted uint32 = 1 << iota // Interrupt was called, and that has not been reported
	expelled                       // the address space has moved or lost its turn
)

// Interrupt implements platform.Context.
func (c *context) Interrupt() {
	if atomic.OrUint32(&c.interrupt, interrupted)&interrupted != 0 {
		return
	}
	if tid := atomic.LoadUint32(&c.tid); tid != 0 {
		unix.Tgkill(int(ownPID), int(tid), interruptSignal)
	}
	if s := c.other.Load(); s != nil {
		(*s).Interrupt()
	}
}

// Watch implements platform.Watcher.
func (c *context) Watch(word *atomic.Uint32, mask uint32) { c.watch, c.watchMask = word, mask }

const userEnd = 0x7ffffffff000

var generalProtection = platform.Event{Kind: platform.Exception, Signal: int(unix.SIGSEGV), Code: siKernel}

const siKernel = 0x80

// Switch implements platform.Context.
func (c *context) Switch(pas platform.AddressSpace, st *arch.State, step bool) (platform.Event, error) {
	as := pas.(*addressSpace)
	if c.as != as {
		c.attach(as)
		if c.onStub && !as.moved.Load() {
			c.fromStub()
		}
	}
	if st.Fs_base >= userEnd || st.Gs_base >= userEnd {
		return generalProtection, nil
	}
	for {
		if as.moved.Load() {
			return c.switchStub(as, st, step)
		}
		if as.turn.Load() != as {
			if err := as.await(); err != nil {
				return platform.Event{}, err
			}
			continue
		}
		if why := needsStub(st, step); why != "" {
			if err := as.mustMove(why); err != nil {
				return platform.Event{}, err
			}
			continue
		}
		if st.Rip >= userEnd {
			return generalProtection, nil
		}
		why := atomic.LoadUint32(&c.interrupt)
		if why&interrupted != 0 || c.watch.Load()&c.watchMask != 0 {
			atomic.StoreUint32(&c.interrupt, 0)
			st.Orig_rax = arch.NoSyscall
			return platform.Event{Kind: platform.Interrupted}, nil
		}
		if why != 0 {
			atomic.AndUint32(&c.interrupt, ^expelled)
			continue
		}
		if gen := as.textGen.Load(); gen != c.textGen {
			c.textGen = gen
			c.forgetCalls()
		}
		if c.rip = c.lastResume; st.Rip != c.lastAfter {
			c.rip = as.goOn(st.Rip)
		}
		if !c.enter(st) {
			if err := c.p.newVCPU(); err != nil {
				return platform.Event{}, err
			}
			continue
		}
		st.Cs, st.Ss, st.Ds, st.Es, st.Fs, st.Gs = arch.UserCS, arch.UserSS, 0, 0, 0, 0
		switch c.event {
		case eventSyscall:
			if st.Rip != c.lastResume {
				r := &c.resumes[st.Rip/sites.TrampSize%uint64(len(c.resumes))]
				if r.at != st.Rip {
					*r = resume{at: st.Rip, after: as.afterCall(st.Rip)}
				}
				c.lastResume, c.lastAfter = r.at, r.after
			}
			st.Rip, st.Rcx = c.lastAfter, c.lastAfter
			st.Orig_rax, st.Rax = st.Rax, arch.ENOSYS
			return platform.Event{Kind: platform.Syscall}, nil
		case eventLeft:
			st.Rip = as.afterCall(st.Rip)
			st.Rcx, st.Orig_rax = st.Rip, arch.NoSyscall
		case eventSignal:
			if ev, ok := c.signal(as, st); ok {
				return ev, nil
			}
		}
	}
}

// resume is where a rewritten call goes on, and where the program thinks it does.
type resume struct{ at, after uint64 }

// forgetCalls is called when the text may have changed.
func (c *context) forgetCalls() {
	c.lastAfter, c.lastResume = 0, 0
	c.resumes = [len(c.resumes)]resume{}
}

// needsStub says why this state cannot run here, or "".
func needsStub(st *arch.State, step bool) string {
	switch {
	case step || st.Eflags&arch.FlagTF != 0:
		return "single steps"
	case st.Gs_base != 0:
		return "GS"
	}
	return ""
}

// signal makes an event of the signal that stopped the guest. False: there is none, or not any more.
func (c *context) signal(as *addressSpace, st *arch.State) (platform.Event, bool) {
	st.Orig_rax = arch.NoSyscall
	st.Gs_base = 0
	// A filter lets calls of the vsyscall page trap, which the host has returned from by then.
	vsyscall := c.sig == uint64(unix.SIGSYS) && c.addr&^(pageSize-1) == arch.VsyscallPage
	if ip := uintptr(st.Rip); ip-code.answer < code.leave-code.answer {
		// In the middle of an answer, before or after the result was there. Its first instruction saves RCX.
		if ip != code.answer {
			st.Rcx = c.rcx
		}
		st.Rcx = as.afterCall(st.Rcx)
		st.Rip = st.Rcx
		if ip <= code.answered {
			st.Rip -= 2
		}
	} else {
		st.Rip = as.original(st.Rip)
	}
	sig := unix.Signal(c.sig)
	if !c.ownGS {
		// The guest has changed GS without a word. In a stub that is its own: there it does once more what stopped it.
		st.Gs_base = c.gs
		switch {
		case vsyscall:
			st.Rip, st.Rsp = c.addr, st.Rsp-8
		case sig == unix.SIGSYS:
			st.Rip -= 2
		}
		if as.mustMove("GS") != nil {
			return generalProtection, true
		}
		return platform.Event{}, false
	}
	switch sig {
	case unix.SIGSYS:
		const archX86_64 = 0xc000003e
		if c.code != sysSeccomp && c.code != sysUserDispatch {
			return platform.Event{}, false
		}
		if c.arch>>32 != archX86_64 {
			return generalProtection, true
		}
		if !c.p.o.NoRewrite && !vsyscall {
			as.rewrite(st.Rip, st.Rax)
			c.forgetCalls()
		}
		st.Orig_rax, st.Rax = st.Rax, arch.ENOSYS
		return platform.Event{Kind: platform.Syscall}, true
	case unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP:
	default:
		return platform.Event{}, false // an interruption, or Go's
	}
	if c.code <= 0 {
		return platform.Event{}, false // sent by somebody on the host
	}
	ev := platform.Event{Kind: platform.Exception, Signal: int(sig), Code: int32(c.code), Addr: c.addr}
	switch {
	case (sig == unix.SIGSEGV || sig == unix.SIGBUS && c.code == busAdrErr) && c.trapno == trapPageFault:
		ev.Kind = platform.Fault
		switch {
		case c.errCode&pfInstr != 0:
			ev.Access = platform.AccessExec
		case c.errCode&pfWrite != 0:
			ev.Access = platform.AccessWrite
		}
		if as.moved.Load() || as.allows(c.addr&^(arch.PageSize-1), ev.Access) {
			// Another thread has mapped it since, or taken everything to a stub; or the host has lost it.
			if sig == unix.SIGSEGV || as.moved.Load() || c.lost(as, c.addr&^(arch.PageSize-1)) {
				return ev, false
			}
			ev.Kind = platform.Exception
		}
	case sig == unix.SIGSEGV || sig == unix.SIGTRAP && ev.Code == siKernel:
		ev.Addr = 0
	}
	return ev, true
}

// busAdrErr is the code of a SIGBUS for a page that is not there.
const busAdrErr = 2

// Codes of SIGSYS.
const (
	sysSeccomp      = 1
	sysUserDispatch = 2
)

// Parts of what the processor says of an exception.
const (
	trapPageFault = 14
	pfWrite       = 1 << 1
	pfInstr       = 1 << 4
)

// switchStub is Switch in a stub.
func (c *context) switchStub(as *addressSpace, st *arch.State, step bool) (platform.Event, error) {
	if !c.onStub {
		if c.stub == nil {
			c.stub = c.p.stubs.NewContext()
		}
		image, err := c.FP()
		if err != nil {
			return platform.Event{}, err
		}
		if err := c.stub.SetFP(image); err != nil {
			return platform.Event{}, err
		}
		c.onStub = true
		c.other.Store(&c.stub)
		if atomic.LoadUint32(&c.interrupt)&interrupted != 0 {
			c.stub.Interrupt() // it may have come before other was there
		}
	}
	// The barrier that a Watcher promises. What is set later is followed by Interrupt, which the stub sees.
	if atomic.AddUint32(&c.tid, 0); c.watch.Load()&c.watchMask != 0 {
		st.Orig_rax = arch.NoSyscall
		return platform.Event{Kind: platform.Interrupted}, nil
	}
	ev, err := c.stub.Switch(as.stub, st, step)
	if ev.Kind == platform.Interrupted {
		atomic.StoreUint32(&c.interrupt, 0)
	}
	return ev, err
}

// Parks implements platform.Parker: in a stub, where the goroutine is locked to its host thread.
func (c *context) Parks() bool { return c.onStub }

// Park implements platform.Parker.
func (c *context) Park(timeout time.Duration) { c.stub.(platform.Parker).Park(timeout) }

// Unpark implements platform.Parker.
func (c *context) Unpark() {
	if s := c.other.Load(); s != nil {
		(*s).(platform.Parker).Unpark()
	}
}

// fromStub brings the floating point state back.
func (c *context) fromStub() {
	c.other.Store(nil)
	c.onStub = false
	if image, err := c.stub.FP(); err != nil || c.SetFP(image) != nil {
		c.ResetFP()
	}
	c.stub.Release()
	c.stub = nil
}

// FP implements platform.Context.
func (c *context) FP() ([]byte, error) {
	if c.onStub {
		return c.stub.FP()
	}
	if c.fpImage == 0 {
		clear(c.image[arch.FXSaveSize : arch.FXSaveSize+arch.XSaveHeader])
		packFP(c.fpAt, c.imageAt, c.p.fpu.avx512, c.p.fpu.Features)
		c.fpImage = 1
	}
	// What the host made for a signal handler has protection keys in it too, which are not the guest's to restore.
	header := c.image[arch.FXSaveSize:]
	binary.LittleEndian.PutUint64(header, binary.LittleEndian.Uint64(header)&c.p.fpu.Features)
	return c.image, nil
}

// SetFP implements platform.Context.
func (c *context) SetFP(image []byte) error {
	if c.onStub {
		return c.stub.SetFP(image)
	}
	if err := c.p.fpu.Complete(c.spare, image); err != nil {
		return err
	}
	// What is reserved behind the components' bits must be zero.
	clear(c.spare[arch.FXSaveSize+8 : arch.FXSaveSize+arch.XSaveHeader])
	c.image, c.spare = c.spare, c.image
	c.imageAt, c.fpImage = address(c.image), 1
	return nil
}

// ResetFP implements platform.Context.
func (c *context) ResetFP() {
	if c.onStub {
		c.stub.ResetFP()
		return
	}
	copy(c.image, c.p.fpu.Init)
	c.fpImage = 1
}

// Release implements platform.Context.
func (c *context) Release() {
	c.p.awake.Add(-1)
	c.detach()
	if c.stub != nil {
		c.other.Store(nil)
		c.stub.Release()
	}
	c.p.buffers.Put(c.buffers)
	c.buffers = nil
}

// Where switch_amd64.s answers calls.
var code = codeAddrs()
