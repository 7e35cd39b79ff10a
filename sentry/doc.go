// Package sentry is the kernel of a sandbox: tasks and processes, signals,
// futexes, time, namespaces, credentials and program loading. The system call
// table above it (package syscalls) turns registers into calls of what is here;
// files, memory and guest execution are the packages below (vfs, mm, platform).
//
// Main types: Kernel, one a sandbox; Task, one guest thread and one goroutine
// (Linux: task_struct); Process, a thread group (signal_struct); SigHand, the
// handlers and the lock over everything about signals (sighand_struct); PID,
// one identity in a chain of pid namespaces (struct pid).
//
// # The life of a task
//
// A task's goroutine runs Task.run: do the work that is pending (signals, stops,
// exit), switch to the guest, handle the event, repeat. Whatever blocks does so in
// Task.Block, which is where signals interrupt. Other goroutines never touch a task's registers,
// memory pointer or platform context; they set a work flag and call Task.kick.
//
// # Lock order
//
//	Kernel.tasks (the process tree, pid tables, groups, sessions, ptrace links; Linux: tasklist_lock)
//	  SigHand.mu (pending signals, masks, handlers, job control, group exit; Linux: siglock)
//	    Task.mu (what other tasks may read of a task: fs, files, mm, nsproxy, name; Linux: task_lock)
//	      locks of package vfs and mm, timers, wait queues
//
// SigHand.mu is never held while blocking, copying guest memory or calling a platform's Switch.
// Futex buckets and timer wheels have locks of their own, taken with none of the above
// held; they may take SigHand.mu.
package sentry
