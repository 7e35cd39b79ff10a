package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs/cred"
)

// Errors that ask the sentry to restart the system call after a signal, as in
// Linux (errno values that never reach a guest). An operation that was interrupted
// before it did anything returns ErrRestartSys unless its manual page says otherwise.
var (
	ErrRestartSys    error = unix.Errno(512) // ERESTARTSYS: restart if SA_RESTART
	ErrRestartNoIntr error = unix.Errno(513) // ERESTARTNOINTR: always restart
	ErrRestartNoHand error = unix.Errno(514) // ERESTARTNOHAND: restart if no handler ran
	ErrRestartBlock  error = unix.Errno(516) // ERESTART_RESTARTBLOCK: by restart_syscall(2)
	ErrWouldBlock    error = unix.EAGAIN
)

// Context is the caller of an operation, as file systems see it. The sentry's
// tasks implement it; KernelContext is the kernel itself.
type Context interface {
	// Cred is who calls. The value is immutable.
	Cred() *cred.Cred
	// Memory is the memory that ioctl arguments and the like point to.
	Memory() usermem.Memory
	// TGID and TID are the caller's process and thread ids in the initial pid
	// namespace, 0 for the kernel.
	TGID() int32
	TID() int32
	// Limit is the soft resource limit unix.RLIMIT_*.
	Limit(resource int) uint64
	// Signal sends the calling thread a signal of the kernel's (SIGPIPE, SIGXFSZ).
	Signal(sig unix.Signal)
	// FS is the caller's root, working directory and umask; nil for the kernel.
	FS() *FSContext
	// Block waits until ch is ready or closed, and returns nil; until a signal
	// must be handled, and returns ErrRestartSys; or for timeout (if >= 0), and
	// returns unix.ETIMEDOUT. No lock may be held.
	Block(ch <-chan struct{}, timeout time.Duration) error
}

// KernelContext returns a Context with all rights, no memory and no signals.
func KernelContext() Context { return kernelContext{} }

type kernelContext struct{}

func (kernelContext) Cred() *cred.Cred       { return cred.Root() }
func (kernelContext) Memory() usermem.Memory { return noMemory{} }
func (kernelContext) TGID() int32            { return 0 }
func (kernelContext) TID() int32             { return 0 }
func (kernelContext) Limit(int) uint64       { return unix.RLIM_INFINITY }
func (kernelContext) Signal(unix.Signal)     {}
func (kernelContext) FS() *FSContext         { return nil }

func (kernelContext) Block(ch <-chan struct{}, timeout time.Duration) error {
	if timeout < 0 {
		<-ch
		return nil
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-ch:
		return nil
	case <-t.C:
		return unix.ETIMEDOUT
	}
}

type noMemory struct{}

func (noMemory) CopyIn(usermem.Addr, []byte) (int, error)  { return 0, unix.EFAULT }
func (noMemory) CopyOut(usermem.Addr, []byte) (int, error) { return 0, unix.EFAULT }
