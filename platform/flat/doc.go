// Package flat runs guest code in the sentry's own address space: guest memory is mapped at guest addresses in the sentry's
// process, the sentry enters the guest with a jump, and a rewritten system call comes back with a jump. It is a fast tier over
// another platform, the stubs: a process is here while it can be, and moves to a stub, once and until its next exec, when it
// must (see addressSpace.move).
//
// Nothing separates guest and sentry. What contains both is the sandbox around the process.
//
// # Who has which register
//
// GS base is the control block (vcpu) of the host thread, from its beginning to its end. In front of the block is the word by which Go finds the
// goroutine, so that FS base means nothing to the sentry: it is the guest's that the thread has run last (tls_unsafe.go says how that is done, and
// what is done on hosts that let no program write FS base). The first byte of the block says "in the guest", and is the selector of Syscall User
// Dispatch: while it is set the host turns every system call from outside of switch_amd64.s into SIGSYS. On hosts without it the process's
// filter does that with every system call from outside of the sentry's text (Seccomp), where the vDSO's own, for the sentry, are made by sigentry.
//
// A program with cgo or the race detector has C code that needs FS base. There FS is the guest's from the end of entering to the end of leaving, and Go's
// otherwise; and GS base, which host threads inherit from those that make them, counts only where the block's FS base or thread id is the thread's own.
// Host threads do not end while the platform is in use (no goroutine exits locked to its thread), so no later one has the FS base of a block.
//
// # Signals
//
// Every handler of the Go runtime has ours (sigentry) before it. By the interrupted address it tells the cases apart: in the sentry, Go's
// handler runs; while leaving, the signal is put off; while entering, the entry is abandoned; in the guest, its registers
// go to the State and the sentry goes on, which sends the signal to itself once more if it was for Go.
//
// # Answers
//
// Rewritten calls jump to answer first, which looks into a table of the context's. A call that is answered there by a value never leaves the
// guest. One that is answered by a function (platform.LeafFunc) runs it on a stack in the thread's block: signals that come meanwhile are put off as while
// leaving, and at its end the guest is left if there are some (eventLeft). It may use guest memory in places at its own addresses: a fault there leads to
// leafUndo, which makes the whole call of it. So does a system call of the host's vDSO, which it may have read a clock (package vdso): that traps like a guest's,
// for the thread counts as in the guest.
//
// # What a call costs
//
// The way out of the guest and back into it is made of what cannot be left out: telling the Go scheduler, which is two exchanges (a
// third of it), XGETBV (a fifth), the vector registers, and one barrier between saying that a context runs and looking at what may keep it from
// running, c.interrupt and the word of a Watcher.
//
// Why every call tells the scheduler, even one that cannot block: while guest code runs its thread has no P, so that the collector and other
// goroutines wait for no guest. Without a P, Go code may neither allocate, nor have write barriers, nor grow its stack, which a handler that
// takes a lock or copies memory does sooner or later; it must have one before it begins. The other way round, to keep the P while the
// guest runs, would be sound (a request to preempt arrives as a signal, and entering would have to look at the goroutine's stack guard), but a
// guest that computes would keep others from running until the runtime's monitor notices, after up to 10 ms, and each collection would send
// a signal to each running guest, which costs more than a hundred calls.
//
// Why XGETBV is asked each time: nothing else tells whether the guest has used x87 since, and its registers would be lost when the goroutine goes on
// in another thread.
//
// # Floating point
//
// The host's threads have x87 and whatever else is not saved by hand in its initial state while the sentry runs; vector registers are
// free. A guest that uses what is not saved by hand (XGETBV tells) pays for XSAVE.
//
// # Addresses
//
// All processes share the sentry's, and what the host maps there is a cache of what package mm says, page by page where a program changes the same
// mappings again and again (windows.go). A program gets a place of its own at exec, the one that it had before if that is free, where its text still is
// (leftovers.go); who has the addresses of another one (the child of a fork, a second program linked at the same address) takes turns with it
// (turns.go) or moves.
//
// Lock order: Platform.acquiring, home.mu, then places.mu, busyPages.mu or Platform.mu, then textMemory.mu; the stubs' locks are inside all. The mu of two homes is never waited for: who
// wants the addresses of another home tries its lock. Package mm calls with its locks held, so those of a platform.Memory are only tried.
package flat
