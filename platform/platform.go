// Package platform is the contract for running guest code.
//
// A platform is a cache of the page tables that package mm keeps: it shows
// pages of the flat memory (one memfd) at guest addresses and runs guest
// threads there until an event stops them. It knows no tasks, no files, no
// signals.
//
// Every implementation must pass gosv.dev/platform/platformtest.
package platform

import (
	"errors"
	"sync/atomic"
	"time"

	"gosv.dev/platform/arch"
)

// ErrGone is returned (wrapped, with its cause) by a Context whose host process
// has died under it: killed from outside, or by the host's OOM killer.
var ErrGone = errors.New("the host process that ran guest code is gone")

// A Platform makes address spaces and contexts. Implementations differ only in
// speed and isolation. All methods may be called from any goroutine.
type Platform interface {
	Name() string
	NewAddressSpace() (AddressSpace, error)
	NewContext() Context
	// Range is the range of guest addresses that address spaces can show,
	// page aligned, within [arch.MinAddr, arch.MaxAddr].
	Range() (lo, hi uint64)
	// Close ends every host process of the platform. No Context may be in use.
	Close() error
}

// Prot is a set of access rights.
type Prot uint8

const (
	Read Prot = 1 << iota
	Write
	Exec
	// Private goes with a mapping whose contents nobody changes but its address space, through that very mapping when it is
	// writable: a hint for Map, no right.
	Private

	None Prot = 0
)

// An AddressSpace is what a platform holds for the memory of one guest process.
// Methods may be called from any goroutine.
//
// Changes are ordered, and may be deferred: a change is in force before any
// Switch that begins after the call returned runs guest code. For contexts that
// are running at the time of the call it is in force when a Switch of any context
// in this address space has begun later, or when Sync returns. Frames of the flat
// memory that a change takes away may be reused only in a function given to After.
type AddressSpace interface {
	// Map shows [off, off+length) of the flat memory at [addr, addr+length)
	// and replaces what was there. All values are multiples of the page size;
	// prot is not None.
	Map(addr, length, off uint64, prot Prot) error
	// Unmap makes any access to the range a fault. Pages that are not mapped
	// are left so.
	Unmap(addr, length uint64) error
	// Protect changes the rights of a range in which every page is mapped.
	Protect(addr, length uint64, prot Prot) error
	// After calls f, once, when all changes requested before are in force in
	// every running context: at once if they are already. f must not block nor
	// call the platform.
	After(f func())
	// Sync returns when all changes requested before are in force in every
	// running context.
	Sync() error
	// Mappings is the number of host mappings that guest memory needs now, as
	// far as the platform can tell (for tests and metrics).
	Mappings() int
	// Release gives the address space back. No Context may use it any more.
	// Pending After functions are called.
	Release()
}

// A Placer is an AddressSpace of a platform on which processes share addresses.
type Placer interface {
	// Place is the part of the platform's range in which a new program's memory is best put, and the same at every call; what
	// is mapped elsewhere works, perhaps more slowly. If own is not set, other processes may have memory there too. program is the same
	// number for programs that probably map the same. Where libraries and a program that has no address of its own are put there is to
	// depend on random only, which is the same for all programs that have the place one after the other.
	Place(program uint64) (lo, hi, random uint64, own bool)
	// Room is a range in which n bytes are best put for which there is no room in the Place: the process's own, if possible.
	Room(n uint64) (lo, hi uint64)
	// Suits tells whether a range that a program would like to have is a good one, also if others have it, if the program seems to insist. Reserve must be told
	// of it, too.
	Suits(lo, hi uint64, insists bool) bool
	// Reserve must be told of every range outside of a Place of its own that the process will have memory in, before its code
	// runs next: another process may show something there.
	Reserve(lo, hi uint64) error
}

// An Heir is an AddressSpace in which what an ended program had, text mostly, may still be mapped where the new one has nothing, so that
// one that maps the same again need not pay for it. The contract of AddressSpace holds for ranges that have been settled.
type Heir interface {
	// Left tells whether anything is left in [lo, hi).
	Left(lo, hi uint64) bool
	// EachLeft calls f for what is left in [lo, hi), in order.
	EachLeft(lo, hi uint64, f func(lo, hi uint64))
	// Keep lets what is left in [lo, hi) stay, until Settle, even when an Unmap takes away what the program itself has there.
	Keep(lo, hi uint64)
	// Settle takes away what is left in [lo, hi), but for what Map has shown in the same way since. It must be called before the program
	// may use memory there.
	Settle(lo, hi uint64)
}

// A Forker is an AddressSpace that can let the child of a fork have its addresses while it does not run itself, so that the two take turns.
// It is for a platform on which other children have to run in a slower way.
type Forker interface {
	// Fork makes the address space of a child, or returns nil if the child is to have one that NewAddressSpace makes.
	// No context but the caller's, if any, runs here.
	Fork() AddressSpace
	// Lend lets child run, which Fork has made. What it has in common with this one should have been shown in both before: it
	// stays where it is. mine and its are whose address spaces they are.
	Lend(child AddressSpace, mine, its Memory) error
	// Leave says that nothing will run here any more, and comes before Release. The Memory is not locked.
	Leave()
}

// Memory is the page tables of which an AddressSpace is the cache.
type Memory interface {
	// TryLock and Unlock enclose Exchange and Share, on both memories. It does not wait.
	TryLock() bool
	Unlock()
	// Exchange is called on the memory that is to be shown in place of shown, another one. For each page of [lo, hi), in order, that is no code, it gives this one the frame
	// that shown has there, with its rights, and shown the one that this one has, and exchanges the contents. It returns the end of the pages for which that was
	// possible, and calls has for what shown has then: the flat memory from off on, with the rights that it had.
	Exchange(shown Memory, lo, hi uint64, has func(lo, hi, off uint64)) uint64
	// Share makes pages of [lo, hi) in which there is the same here and in with, which are nobody else's, shared by both, as after a fork: both have the
	// frame that this one had, which they may not write to. It asks may before each page.
	Share(with Memory, lo, hi uint64, may func(addr uint64) bool)
}

// A Sleeper is a Context that wants to know when its thread goes to sleep, as it will not run guest code for a while, and wakes up.
// The context's goroutine calls both.
type Sleeper interface {
	Sleep()
	Wake()
}

// A Mover is an AddressSpace that can give up a faster way to run guest code, of which the program would see more than of
// Linux when it is looked at closely. It is another way for good.
type Mover interface {
	Move(why string) error
}

// A Prompt is an AddressSpace that can tell whether all changes requested before are in force: then nobody need wait with After.
type Prompt interface {
	InForce() bool
}

// EventKind says why guest code stopped.
type EventKind uint8

const (
	// Syscall: the guest executed SYSCALL. Orig_rax holds the number, Rip the
	// address after the instruction, Rax is -ENOSYS.
	Syscall EventKind = iota
	// Fault: an access to memory that the address space does not show with
	// the right. Addr and Access tell which; Rip is the faulting instruction.
	Fault
	// Exception: the processor raised what Linux turns into Signal with Code
	// and Addr as siginfo has them (SIGFPE, SIGILL, SIGTRAP, SIGBUS for
	// alignment, SIGSEGV with Code SI_KERNEL for #GP). A syscall by INT 0x80
	// is reported as SIGSEGV with SI_KERNEL.
	Exception
	// Interrupted: Interrupt was called. The registers are whole.
	Interrupted
)

// Access is the kind of access that faulted.
type Access uint8

const (
	AccessRead Access = iota
	AccessWrite
	AccessExec
)

// Event is why guest code stopped.
type Event struct {
	Kind   EventKind
	Access Access // Fault
	Signal int    // Exception
	Code   int32  // Exception: si_code
	Addr   uint64 // Fault, Exception: si_addr
}

// A Parker is a Context that keeps its goroutine on one host thread, always or at times, and then sleeps and is
// woken faster by itself than by the Go scheduler.
type Parker interface {
	// Parks tells whether Park is the way to sleep now, which changes in Switch only. Only the context's goroutine calls it.
	Parks() bool
	// Park sleeps until Unpark or for a time, without end if it is negative. It may return early, and
	// returns at once if Unpark was called since it returned last. Only the context's goroutine calls it.
	Park(timeout time.Duration)
	// Unpark may be called from any goroutine, and never blocks.
	Unpark()
}

// A Runner is a Context that has its own way to start the goroutine that uses it: Run calls f in it, soon.
// as is where guest code will probably run first.
type Runner interface {
	Run(as AddressSpace, f func())
}

// A Watcher is a Context whose Switch looks at a word of its caller's before guest code runs, behind a memory barrier: if a bit of
// mask is set in it, Switch returns Interrupted. So who sets a bit, and then calls Interrupt if Switch is running or about to,
// needs no barrier on the caller's side. Watch is called once, before the first Switch.
type Watcher interface {
	Watch(word *atomic.Uint32, mask uint32)
}

// A Context runs one guest thread. All methods but Interrupt must be called
// from one goroutine, the same for the context's life; a platform may lock that
// goroutine to its host thread.
type Context interface {
	// Switch runs guest code in as from st until an event, and updates st.
	// Orig_rax of st on entry is ignored. The first Switch, and every Switch in
	// another address space than the one before, starts with the floating point
	// state that SetFP gave, or the processor's initial one. If step is set the
	// guest executes one instruction and stops with an Exception of SIGTRAP and
	// TRAP_TRACE, unless another event comes first.
	//
	// The error wraps ErrGone when the host process is gone; st is then what it
	// was on entry.
	Switch(as AddressSpace, st *arch.State, step bool) (Event, error)
	// Interrupt makes a running Switch return soon with Interrupted, or the
	// next one if none is running. It may be called from any goroutine, never
	// blocks, and calls before the event is seen count as one.
	Interrupt()
	// FP returns the floating point state as an XSAVE image in the standard,
	// non-compacted form that a Linux signal frame has; the slice is valid
	// until the next call. SetFP replaces it, with an image of that form of any
	// legal size from 512 bytes (FXSAVE) up; bits the processor rejects
	// return EINVAL. ResetFP makes it the processor's initial state.
	FP() ([]byte, error)
	SetFP(image []byte) error
	ResetFP()
	// Release ends the context. It is called by the context's goroutine.
	Release()
}
