package sentry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/platform"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// SyscallTable is what runs system calls: package syscalls.
type SyscallTable interface {
	// Call runs call nr and returns its result. The error is ErrNoReturn if the
	// registers are as they should be already.
	Call(t *Task, nr uint64, args *[6]uint64) (uintptr, error)
}

// ErrNoReturn is the error of calls that have set the registers themselves: execve and
// rt_sigreturn.
var ErrNoReturn = errors.New("registers are set")

// Config is what a Kernel is made of.
type Config struct {
	Memory   *mm.Memory
	Platform platform.Platform
	Syscalls SyscallTable
	// VFS is the file system types and devices.
	VFS *vfs.Registry
	// Mounts is the initial mount namespace; the kernel takes the reference over.
	Mounts *vfs.MountNamespace

	Hostname   string
	DomainName string
	// Release and Version are what uname tells; defaults if empty.
	Release, Version string

	// CPUs is how many processors guests see; the host's if 0.
	CPUs int
	// MaxTasks limits threads in the sandbox; DefaultMaxTasks if 0.
	MaxTasks int

	// VDSO is mapped into every program, if not nil.
	VDSO VDSO
	// TickAccounting charges processor time by a timer, for a platform on which system calls cost less than
	// reading a clock.
	TickAccounting bool

	// NewNetwork makes the network stack of a network namespace.
	NewNetwork func(k *Kernel, ns *NetNamespace) (any, error)
	// NewIPC makes the System V and message queue objects of an ipc namespace.
	NewIPC func(k *Kernel, ns *IPCNamespace) (any, error)
	// AtExit is called by each task that exits, with its memory, files and namespaces
	// still there; last says that it is the last of its process.
	AtExit []func(t *Task, last bool)
	// OnInitStop, if not nil, is called when the first process has stopped: there is no
	// parent that would hear of it.
	OnInitStop func()
	// OnSignal, if not nil, is called by a task that is about to handle a signal.
	OnSignal func(t *Task, info *SigInfo)
	// AtUnshareSem is called for CLONE_SYSVSEM of unshare(2) (System V undo lists).
	AtUnshareSem func(t *Task)

	Log *slog.Logger
}

// VDSO maps the virtual dynamic shared object into a new program and returns its
// address (AT_SYSINFO_EHDR).
type VDSO interface {
	Map(as *mm.AddressSpace) (uint64, error)
}

// DefaultMaxTasks is how many threads a sandbox may have: each may need a host thread,
// and the Go runtime gives up at 10,000.
const DefaultMaxTasks = 8000

// What uname(2) says, unless the configuration does. The release is that of a long-term Linux
// whose system calls are all there: programs compare it to decide what to use.
const (
	DefaultRelease = "6.12.0"
	DefaultVersion = "#1 SMP PREEMPT_DYNAMIC gosv"
)

// Kernel is the kernel of one sandbox.
type Kernel struct {
	// Immutable.
	cfg                        Config
	Log                        *slog.Logger
	Memory                     *mm.Memory
	Platform                   platform.Platform
	Syscalls                   SyscallTable
	VFS                        *vfs.Registry
	boot                       time.Time // monotonic
	rootPIDNS                  *PIDNamespace
	rootNS                     *Namespaces
	nsfs                       *vfs.Superblock
	pidfs                      *vfs.Superblock
	maxTasks                   int64
	cpus                       int
	hwcap, hwcap2, minSigStack uint64 // for the auxiliary vector: the host's

	// tasks protects the process tree, the pid tables, process groups, sessions
	// and ptrace links (Linux: tasklist_lock).
	tasks sync.RWMutex
	// Protected by tasks.
	initProc *Process
	later    []func() // to be done when tasks is unlocked, see unlockTasks
	// onRelease, if not nil, hears of each thread that has been waited for; set before the first starts.
	onRelease func(tgid, tid *PID)

	// count is the number of tasks, and forks how many there ever were.
	count     atomic.Int64
	forks     atomic.Int64
	switches  atomic.Int64 // tasks going to sleep
	ticker    *ticker      // nil: clocks are read at each call
	hostCPUs  int64        // processors that tasks can run on
	running   atomic.Int64 // tasks that do not sleep
	limited   atomic.Bool  // there has been a process with RLIMIT_DATA; it stays
	ino       atomic.Uint64
	live      sync.WaitGroup // goroutines of tasks
	shutdown  atomic.Bool
	initDone  chan struct{} // closed when the first process has exited
	initState WaitStatus    // valid after initDone
	oomMu     sync.Mutex    // one OOM kill at a time
	load      loadAverage
	oomKills  atomic.Int64

	// uidMu protects nproc: how many processes a user has in a user namespace.
	uidMu sync.Mutex
	nproc map[nprocKey]int64

	// userNSMu protects userNSRefs: how many tasks and namespaces use a user namespace.
	userNSMu   sync.Mutex
	userNSRefs map[*cred.UserNamespace]int64

	// kcmpMu protects kcmpIDs: the order of objects that kcmp(2) was asked about.
	kcmpMu  sync.Mutex
	kcmpIDs map[any]uint64

	kernelSignals // futexes, clocks and timers
}

type nprocKey struct {
	ns  *cred.UserNamespace
	uid cred.KUID
}

// OnRelease has f called for each thread that nobody can find any more, with no lock held. It is set before
// the first process starts.
func (k *Kernel) OnRelease(f func(tgid, tid *PID)) { k.onRelease = f }

// New makes a kernel without any process.
func New(cfg Config) (*Kernel, error) {
	if cfg.Memory == nil || cfg.Platform == nil {
		return nil, errors.New("sentry: a kernel needs memory and a platform")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(discard{})
	}
	if cfg.CPUs <= 0 {
		cfg.CPUs = runtime.NumCPU()
	}
	if cfg.MaxTasks <= 0 {
		cfg.MaxTasks = DefaultMaxTasks
	}
	if cfg.Release == "" {
		cfg.Release = DefaultRelease
	}
	if cfg.Version == "" {
		cfg.Version = DefaultVersion
	}
	if cfg.DomainName == "" {
		cfg.DomainName = "(none)"
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "gosv"
	}
	k := &Kernel{
		cfg: cfg, Log: cfg.Log, Memory: cfg.Memory, Platform: cfg.Platform,
		Syscalls: cfg.Syscalls, VFS: cfg.VFS, boot: time.Now(),
		maxTasks: int64(cfg.MaxTasks), cpus: cfg.CPUs, hostCPUs: int64(runtime.NumCPU()),
		initDone:   make(chan struct{}),
		nproc:      make(map[nprocKey]int64),
		userNSRefs: make(map[*cred.UserNamespace]int64),
	}
	if cfg.TickAccounting {
		k.ticker = newTicker(k)
	}
	if err := k.readAuxv(); err != nil {
		return nil, err
	}
	k.nsfs, k.pidfs = pseudoFS("nsfs", nsfsMagic), pseudoFS("pidfs", pidfsMagic)
	if err := k.initNamespaces(); err != nil {
		return nil, err
	}
	if k.VFS != nil {
		k.VFS.ForEachFS = k.forEachFS
	}
	k.initSignals()
	k.Memory.SetOOM(k.oomKill)
	return k, nil
}

// readAuxv takes what the processor can do from the host's auxiliary vector.
func (k *Kernel) readAuxv() error {
	v, err := unix.Auxv()
	if err != nil {
		return fmt.Errorf("sentry: the host's auxiliary vector: %w", err)
	}
	const atHwcap, atHwcap2, atMinsigstksz = 16, 26, 51
	for _, e := range v {
		switch e[0] {
		case atHwcap:
			k.hwcap = uint64(e[1])
		case atHwcap2:
			k.hwcap2 = uint64(e[1]) &^ 1 // not MONITOR/MWAIT
		case atMinsigstksz:
			k.minSigStack = uint64(e[1])
		}
	}
	return nil
}

type discard struct{}

func (discard) Enabled(context.Context, slog.Level) bool  { return false }
func (discard) Handle(context.Context, slog.Record) error { return nil }
func (d discard) WithAttrs([]slog.Attr) slog.Handler      { return d }
func (d discard) WithGroup(string) slog.Handler           { return d }

// nextIno is a fresh inode number for namespaces and pidfds.
func (k *Kernel) nextIno() uint64 { return k.ino.Add(1) }

// CPUs is how many processors guests see.
func (k *Kernel) CPUs() int { return k.cpus }

// Boot is when the sandbox was started.
func (k *Kernel) Boot() time.Time { return k.boot }

// Config is what the kernel was made with.
func (k *Kernel) Config() *Config { return &k.cfg }

// RootPIDNS is the initial pid namespace.
func (k *Kernel) RootPIDNS() *PIDNamespace { return k.rootPIDNS }

// RootNamespaces are the initial namespaces.
func (k *Kernel) RootNamespaces() *Namespaces { return k.rootNS }

// Init is the first process of the sandbox.
func (k *Kernel) Init() *Process {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return k.initProc
}

// Counts are numbers for /proc/stat and /proc/loadavg: tasks that exist, tasks
// that run, tasks ever made and switches between tasks.
func (k *Kernel) Counts() (tasks, running, forks, switches int64) {
	return k.count.Load(), k.running.Load(), k.forks.Load(), k.switches.Load()
}

// LastPID is the last pid given out in the initial namespace.
func (k *Kernel) LastPID() int32 {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return k.rootPIDNS.last
}

// Processes are the thread groups visible in ns, zombies included, in order of their ids.
func (k *Kernel) Processes(ns *PIDNamespace) []*Process {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	var list []*Process
	for _, pid := range ns.pids {
		if pid.proc != nil {
			list = append(list, pid.proc)
		}
	}
	sortBy(list, func(p *Process) int32 { return p.tgid.In(ns) })
	return list
}

// forEachFS calls f with root and working directory of every task, which may share them.
func (k *Kernel) forEachFS(f func(*vfs.FSContext)) {
	var list []*vfs.FSContext
	k.tasks.RLock()
	for _, pid := range k.rootPIDNS.pids {
		if t := pid.task; t != nil {
			if fs := t.GetFS(); fs != nil {
				list = append(list, fs)
			}
		}
	}
	k.tasks.RUnlock()
	for _, fs := range list {
		f(fs)
		fs.DecRef()
	}
}

// Task is the thread with an id in ns, or nil.
func (k *Kernel) Task(ns *PIDNamespace, tid int32) *Task {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return ns.findTask(tid)
}

// Process is the thread group with an id in ns, or nil.
func (k *Kernel) Process(ns *PIDNamespace, tgid int32) *Process {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	return ns.findProcess(tgid)
}

// Wait waits for the first process to exit and returns its status.
func (k *Kernel) Wait() WaitStatus {
	<-k.initDone
	return k.initState
}

// Done is closed when the first process has exited.
func (k *Kernel) Done() <-chan struct{} { return k.initDone }

// Shutdown kills all tasks, waits until they are gone and releases what the kernel
// holds. It may be called once.
func (k *Kernel) Shutdown() {
	k.shutdown.Store(true)
	k.killAll(k.rootPIDNS, nil)
	k.live.Wait()
	k.stopSignals()
	k.rootNS.DecRef()
}

// killAll ends every process in ns but except.
func (k *Kernel) killAll(ns *PIDNamespace, except *Process) {
	k.tasks.Lock()
	ns.closed = true
	var procs []*Process
	for _, pid := range ns.pids {
		if p := pid.proc; p != nil && p != except {
			procs = append(procs, p)
		}
	}
	for _, p := range procs {
		p.kill()
	}
	k.tasks.Unlock()
}
