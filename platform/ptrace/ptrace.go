package ptrace

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// Options are what a Platform is made of.
type Options struct {
	// Memory is the memfd of the flat memory.
	Memory *os.File
	// Linear is that memory as this process has it mapped, for looking at guest code without a host call. It may be nil.
	Linear []byte
	// VDSO is the host's, from FindVDSO; nil: guests have none.
	VDSO *VDSO
	// VDSOInPlace leaves it where this process has it, within the guests' part of the address space, instead of moving it
	// out of their way.
	VDSOInPlace bool

	forked bool // the first stub is forked, as where the host does not let its program be executed
}

// maxStubs is how many address spaces there can be.
const maxStubs = 32768

// keepStubs is how many stubs without an address space are kept.
const keepStubs = 16

// Platform implements platform.Platform.
type Platform struct {
	memFD, ctlFD int
	linear       []byte // the flat memory, or nil
	ctl          []byte // all pages of operations
	spawner      *spawner
	balance      *balance
	workers      workers
	sleepers     *sleepers
	nice         int32 // of the sentry and all stubs

	x arch.XState

	hostVDSO    *VDSO
	vdsoInPlace bool
	kept        part   // in the stubs: the vDSO with its data pages, or an empty range
	vdso        uint64 // the vDSO itself, or 0

	mu    sync.Mutex
	idle  []*stub
	slots []int // free slots below top
	top   int
}

// New makes the platform and its first stub. It must be called before the process confines itself with
// seccomp; HostSyscalls lists what is needed afterwards.
func New(o Options) (*Platform, error) {
	p, err := Begin(o)
	if err != nil {
		return nil, err
	}
	if err := p.Ready(); err != nil {
		return nil, err
	}
	return p, nil
}

// Begin is New for who has something else to do while the first stub is made: Traced and Ready wait for that. It is the return of Traced
// before which the process must not confine itself.
func Begin(o Options) (*Platform, error) {
	if o.Memory == nil {
		return nil, errors.New("ptrace: no flat memory")
	}
	if err := noChildStops(); err != nil {
		return nil, fmt.Errorf("ptrace: sigaction: %w", err)
	}
	ctl, err := unix.MemfdCreate("gosv-stub-operations", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("ptrace: memfd_create: %w", err)
	}
	p := &Platform{memFD: int(o.Memory.Fd()), linear: o.Linear, ctlFD: ctl, sleepers: newSleepers(), hostVDSO: o.VDSO, vdsoInPlace: o.VDSOInPlace, top: 1}
	p.balance = newBalance(p.sleepers)
	if v, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		p.nice = int32(20 - v)
	}
	if err := unix.Ftruncate(ctl, maxStubs*4096); err != nil {
		return nil, fmt.Errorf("ptrace: %w", err)
	}
	if p.ctl, err = ctlMemory(ctl, maxStubs*4096); err != nil {
		return nil, fmt.Errorf("ptrace: mmap: %w", err)
	}
	p.placeVDSO()
	p.spawner = &spawner{p: p, forked: o.forked, work: make(chan func(), 16), done: make(chan struct{}), traced: make(chan struct{}), ready: make(chan struct{})}
	go p.spawner.run()
	return p, nil
}

// Traced waits until the first stub is traced. The process must not confine itself with seccomp before.
func (p *Platform) Traced() error { return p.spawner.wait(p.spawner.traced) }

// Ready waits until the first stub is as it must be. No guest may run before, and VDSO tells nothing.
func (p *Platform) Ready() error { return p.spawner.wait(p.spawner.ready) }

// Name implements platform.Platform.
func (p *Platform) Name() string { return "ptrace" }

// Range implements platform.Platform.
func (p *Platform) Range() (lo, hi uint64) { return arch.MinAddr, guestEnd }

// VDSO is where guests find the host's vDSO (AT_SYSINFO_EHDR), or 0. Its calls of the kernel stop the guest as
// any other's do.
func (p *Platform) VDSO() uint64 { return p.vdso }

// page is a page of operations.
func (p *Platform) page(slot int) []byte { return p.ctl[slot*4096:][:4096] }

func (p *Platform) newSlot() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.slots); n > 0 {
		s := p.slots[n-1]
		p.slots = p.slots[:n-1]
		return s, nil
	}
	if p.top == maxStubs {
		return 0, unix.EAGAIN
	}
	p.top++
	return p.top - 1, nil
}

func (p *Platform) freeSlot(slot int) {
	p.mu.Lock()
	p.slots = append(p.slots, slot)
	p.mu.Unlock()
}

// keep puts a cleared stub aside, unless there are enough.
func (p *Platform) keep(s *stub) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= keepStubs {
		return false
	}
	p.idle = append(p.idle, s)
	return true
}

// NewAddressSpace implements platform.Platform.
func (p *Platform) NewAddressSpace() (platform.AddressSpace, error) {
	as := &addressSpace{p: p}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		as.s = p.idle[n-1]
		p.idle = p.idle[:n-1]
	}
	p.mu.Unlock()
	if as.s != nil {
		return as, nil
	}
	err := p.spawner.do(func() (err error) {
		as.s, err = p.spawner.spawn()
		return err
	})
	if err != nil {
		return nil, err
	}
	return as, nil
}

// NewContext implements platform.Platform.
func (p *Platform) NewContext() platform.Context { return newContext(p) }

// Close implements platform.Platform.
func (p *Platform) Close() error {
	p.workers.close()
	p.balance.close()
	err := p.spawner.do(func() error {
		p.mu.Lock()
		idle := p.idle
		p.idle = nil
		p.mu.Unlock()
		for _, s := range idle {
			p.spawner.kill(s)
		}
		p.spawner.kill(p.spawner.template)
		return nil
	})
	close(p.spawner.work)
	<-p.spawner.done
	return errors.Join(err, unix.Munmap(p.ctl), unix.Close(p.ctlFD))
}
