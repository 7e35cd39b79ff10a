// Package ptrace runs guest code in other host processes, with ptrace(2): portable, isolated, slow.
// It is the platform that the others are tested against.
//
// # Stubs
//
// An address space is a host process, the stub. Guest memory is mapped there from the memfd of
// the flat memory; apart from it the stub has one page of code and one page of operations at the
// top of the address space, and two descriptors. A guest thread that runs is a thread of
// the stub, traced by the host thread that the task's goroutine is locked to. It runs
// under PTRACE_SYSEMU: its system calls stop it and are never executed.
//
// A first stub, the template, executes a program that is nothing but the page of code, or where the host does not allow that
// is forked from the sentry. It unmaps everything else.
// All others are forked from it, which is cheap: there is nothing to copy. They stay children
// of the sentry (CLONE_PARENT), and are used again after their address space is gone.
//
// The first thread of each stub (the leader) never runs guest code. It is traced by the
// spawner, one goroutine of the platform, which lets it create threads and, when no
// guest thread is there to do it, change mappings.
//
// # Host threads
//
// A context is served by a worker: a host thread with a goroutine that is locked to it, which traces up to a few stub
// threads. When a context is released its worker keeps them, stopped, and serves the next context; if that
// one is for the same stub nothing has to be made, taken or let go of. Contexts that are used without Run make
// a worker of their caller's goroutine.
//
// A worker sleeps in futex(2) itself (park_unsafe.go), since the Go scheduler needs two wake-ups to run a
// locked goroutine.
//
// # Changes of mappings
//
// The sentry has a stub make a host call by setting its registers and letting it run the code in
// its stub page. Changes are queued and made by the next context that enters the guest,
// all with one stop: it writes them into the page of operations, which the stub can only read. That stop is a
// call that the stub's filter has traced, which costs less than a trap, and which no signal can be taken for.
//
// # What a stub can do
//
// Nothing: a system call under PTRACE_SYSEMU does not reach the host's kernel. Beneath that
// lies a seccomp filter that allows a handful of calls, from the stub page only; it
// matters if a stub should ever run untraced. Stubs die with the threads that trace them (PTRACE_O_EXITKILL).
//
// # Lock order
//
//	addressSpace.flushMu (held while a stub makes changes)
//	  addressSpace.mu (the queue)
//	workers.mu (those without a context)
//	balance.mu (the contexts that have a thread)
//	  context.mu (what Interrupt and balancing need: the thread's id, its processor)
//	stub.mu (parked threads, and who holds others)
//	Platform.mu (the pool of stubs)
//
// None is held while guest code runs.
package ptrace
