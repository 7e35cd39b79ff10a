package flat

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
)

// Options are what a Platform is made of.
type Options struct {
	// Memory is the memfd of the flat memory.
	Memory *os.File
	// Linear is all of it, mapped here. It is only read.
	Linear []byte
	// OfFile tells whether a page of it that is shown is one of a file's.
	OfFile func(off uint64) bool
	// Stubs is the platform that processes move to. The flat platform closes it.
	Stubs platform.Platform
	// VDSO is the host's vDSO, where it is in this process and in stubs, or 0.
	VDSO uint64
	// NoRewrite leaves system call sites as they are: each call traps.
	NoRewrite bool
	// Interception is how system calls that are not rewritten are intercepted.
	Interception Interception
	// OnMove is told, if not nil, when a process moves to a stub, and why.
	OnMove func(why string)
}

// Platform implements platform.Platform.
type Platform struct {
	memFD uintptr
	stubs platform.Platform
	fpu   fpu
	text  *textMemory
	pages pages
	busy  busyPages
	way   Interception
	fsgs  fsgsWay

	acquiring        sync.Mutex   // one address space at a time asks others for addresses; taken before any home's mu
	acquirers        atomic.Int32 // address spaces that wait for others to sleep
	buffers          sync.Pool
	awake            atomic.Int32 // contexts that neither sleep nor wait for addresses
	cpus             int
	moves, rewritten atomic.Int64
	o                Options

	mu     sync.Mutex
	given  chan struct{} // see nextLook; nil while nobody has asked
	places places
}

// New makes the platform, for the rest of the process's life: signal handlers stay. It must be called before the
// process confines itself; HostSyscalls and Text say what the filter must be, before guest code runs. The error says what the
// host lacks.
func New(o Options) (*Platform, error) {
	if o.Memory == nil || o.Linear == nil || o.OfFile == nil || o.Stubs == nil {
		return nil, errors.New("flat: no flat memory, or no platform below")
	}
	p := &Platform{memFD: o.Memory.Fd(), stubs: o.Stubs, o: o, cpus: runtime.NumCPU()}
	if err := p.probe(); err != nil {
		return nil, fmt.Errorf("flat: %w", err)
	}
	var err error
	if p.text, err = newTextMemory(); err != nil {
		return nil, fmt.Errorf("flat: %w", err)
	}
	p.places.init(p.text)
	p.pages = newPages()
	return p, nil
}

// probe finds out whether the host has what is needed, and prepares it.
func (p *Platform) probe() (err error) {
	cpu := readCPU()
	if err := cpu.lacks(); err != nil {
		return err
	}
	_ = Prepare() // what it could not do matters to fsgs
	if p.fsgs, err = fsgs(); err != nil {
		return err
	}
	p.fpu = readFPU(cpu)
	if p.way, err = choose(p.o.Interception, dispatchWorks()); err != nil {
		return err
	}
	ownPID = uintptr(unix.Getpid())
	if err := takeSignals(p.way); err != nil {
		return err
	}
	// The thread that asks is the first that can run guests.
	return p.newVCPU()
}

// Name implements platform.Platform.
func (p *Platform) Name() string { return "flat" }

// Range implements platform.Platform.
func (p *Platform) Range() (lo, hi uint64) { return p.stubs.Range() }

// Moves is how many processes had to move to a stub.
func (p *Platform) Moves() int64 { return p.moves.Load() }

// NewAddressSpace implements platform.Platform.
func (p *Platform) NewAddressSpace() (platform.AddressSpace, error) {
	return p.newAddressSpace(), nil
}

// NewContext implements platform.Platform.
func (p *Platform) NewContext() platform.Context {
	b, _ := p.buffers.Get().(*buffers)
	if b == nil {
		b = &buffers{fp: make([]byte, fpSize), image: aligned(p.fpu.size), spare: aligned(p.fpu.size)}
	}
	c := &context{p: p, watch: new(atomic.Uint32), buffers: b}
	c.fpAt, c.imageAt = address(c.fp), address(c.image)
	c.answers.Store(&none)
	c.ResetFP()
	p.awake.Add(1)
	return c
}

// buffers are the larger parts of a context, which the next one uses.
type buffers struct {
	fp           []byte // vector registers saved by hand
	image, spare []byte // XSAVE images
}

// Close implements platform.Platform.
func (p *Platform) Close() error {
	p.places.close()
	return errors.Join(p.stubs.Close(), p.text.close(), p.pages.close())
}

// VDSO is where guests find the host's vDSO (AT_SYSINFO_EHDR), or 0.
func (p *Platform) VDSO() uint64 { return p.o.VDSO }

// Rewritten is how many system call sites have become jumps.
func (p *Platform) Rewritten() int64 { return p.rewritten.Load() }

// hostRefused is told when the host did not allow a change of mappings that can be done without.
func (p *Platform) hostRefused(err error) {
	if p.o.OnMove != nil {
		p.o.OnMove("not at all, but: " + err.Error())
	}
}

// noteMove counts and tells.
func (p *Platform) noteMove(why string) {
	p.moves.Add(1)
	if p.o.OnMove != nil {
		p.o.OnMove(why)
	}
}
