package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/platform/ptrace"
	"gosv.dev/runsc-like/sandbox"
	"gosv.dev/sentry"
	"gosv.dev/sentry/proc"
	"gosv.dev/sentry/sysfs"
	"gosv.dev/syscalls"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/host"
)

// boot is the sentry's process: it confines itself, makes the kernel, runs the program and returns
// its exit status. It does so in this order; see package sandbox.
func boot() int {
	control := os.NewFile(controlFD, "control")
	c, err := receiveConfig(control)
	if err != nil {
		return fail(err)
	}
	// The command passes on those that are meant for the program.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP,
		unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT, unix.SIGWINCH, unix.SIGALRM, unix.SIGPIPE)
	for fd := controlFD; fd <= straceFD; fd++ {
		unix.CloseOnExec(fd)
	}
	// Guest threads are host threads that mostly wait for their stub; with as many places to
	// run as there are processors, a wake-up would wait for the scheduler's monitor.
	runtime.GOMAXPROCS(max(4, 2*runtime.NumCPU()))
	debug.SetMaxThreads(20000)

	b := &booter{config: c, control: control}
	b.log = b.newLogger()
	status, err := b.run()
	if err != nil {
		var nf *sentry.NotFoundError
		switch {
		case errors.As(err, &nf) && errors.Is(err, unix.ENOENT):
			failf("%s: command not found", c.Argv[0])
			return exitNotFound
		case errors.As(err, &nf) && errors.Is(err, unix.ENOEXEC):
			failf("%s: not a program for Linux on x86-64, and no script with #!", c.Argv[0])
			return exitCannotRun
		case errors.As(err, &nf):
			failf("%s: %v", c.Argv[0], nf.Err)
			return exitCannotRun
		}
		return fail(err)
	}
	return status
}

func fail(err error) int {
	failf("%v", err)
	return exitInternal
}

func failf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "gosv: do: "+format+"\n", args...)
}

// booter is what boot builds up.
type booter struct {
	config  *config
	control *os.File
	log     *slog.Logger
	mem     *mm.Memory
	kernel  *sentry.Kernel
	term    *guestTerminal
	files   [3]*vfs.File // standard input, output and error, but for a terminal's
}

// newLogger logs to the file given with --log, warnings and worse. Without a file standard error is the
// program's, and only what ends it is said there.
func (b *booter) newLogger() *slog.Logger {
	var out io.Writer = os.NewFile(logFD, "log")
	level := slog.LevelWarn
	var st unix.Stat_t
	if unix.Fstat(logFD, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR { // /dev/null stands for no file
		out, level = os.Stderr, slog.LevelError
	}
	if b.config.Debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

func (b *booter) run() (int, error) {
	c := b.config
	hw := readHardware()
	vdso := ptrace.FindVDSO()
	// 1. Where files can be reached.
	trees := []sandbox.Tree{{Path: "/", ReadOnly: true}}
	for _, v := range c.Volumes {
		trees = append(trees, sandbox.Tree{Path: v.Host, ReadOnly: v.ReadOnly})
	}
	procSelfFD, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		procSelfFD = -1
	}
	// Memory and the standard descriptors come first: their names are not to be had later.
	limit := c.Memory
	if limit == 0 {
		limit = hw.memory
	}
	if b.mem, err = mm.NewMemory(limit); err != nil {
		return 0, err
	}
	if err := b.standardFiles(); err != nil {
		return 0, err
	}
	fds, err := sandbox.EnterRoot(trees)
	if err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	// 2. What it may do.
	if err := sandbox.DropCapabilities(); err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	// 3. The platform.
	p, err := ptrace.New(ptrace.Options{Memory: b.mem.File(), VDSO: vdso})
	if err != nil {
		return 0, err
	}
	// 4. The filter.
	rules := sandbox.RuntimeRules()
	for _, nr := range ptrace.HostSyscalls() {
		rules = append(rules, sandbox.Rule{Nr: nr, Why: "platform ptrace"})
	}
	for _, s := range host.HostSyscalls() {
		rule := sandbox.Rule{Nr: s.Nr, Why: s.Why}
		for _, c := range s.Args {
			rule.Args = append(rule.Args, sandbox.Cond{Arg: c.Arg, Mask: c.Mask, Value: c.Value})
		}
		rules = append(rules, rule)
	}
	if err := sandbox.InstallFilter(rules, c.Debug); err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	b.log.Debug("confined", "rules", len(rules), "platform", p.Name())

	// 5. The kernel.
	reg := newRegistry(b.mem)
	mounts, err := b.mountRoot(reg, fds, procSelfFD)
	if err != nil {
		return 0, err
	}
	table := syscalls.NewTable()
	if c.Strace {
		table.Strace = syscalls.NewStrace(os.NewFile(straceFD, "strace"))
	}
	cfg := sentry.Config{
		Memory: b.mem, Platform: p, Syscalls: table, VFS: reg, Mounts: mounts,
		Hostname: c.Hostname, CPUs: c.CPUs, Log: b.log, OnInitStop: b.programStopped,
	}
	if table.Strace != nil {
		cfg.OnSignal = table.Strace.Signal
	}
	b.addSubsystems(&cfg, table)
	// Its clocks are the host's, and so are its processor numbers.
	if addr := p.VDSO(); addr != 0 && (c.CPUs == 0 || c.CPUs >= runtime.NumCPU()) {
		cfg.VDSO = fixedVDSO(addr)
	}
	if b.kernel, err = sentry.New(cfg); err != nil {
		return 0, err
	}
	reg.Register(sysfs.NewType(b.kernel, hw.cpu))
	reg.Register(proc.NewType(b.kernel, hw.cpu))
	if err := b.mountKernelFS(); err != nil {
		return 0, err
	}
	return b.start()
}

// fixedVDSO is a vDSO that is at one address in every address space.
type fixedVDSO uint64

// Map implements sentry.VDSO.
func (v fixedVDSO) Map(*mm.AddressSpace) (uint64, error) { return uint64(v), nil }

// start runs the program.
func (b *booter) start() (int, error) {
	c := b.config
	user, err := b.lookupUser()
	if err != nil {
		return 0, err
	}
	umask := c.Umask
	a := sentry.InitArgs{Argv: c.Argv, Envv: c.Env, Cwd: c.Cwd, Umask: &umask, Cred: user, Nice: c.Nice}
	limits := sentry.DefaultLimits(sentry.DefaultMaxTasks)
	for r, l := range c.Limits {
		limits[r] = l
	}
	a.Limits = &limits
	if b.term, err = b.newTerminal(); err != nil {
		return 0, err
	}
	a.Files = b.files[:]
	if b.term != nil {
		for fd := range a.Files {
			if c.Terminal&(1<<fd) != 0 {
				b.term.slave.IncRef()
				a.Files[fd] = b.term.slave
			}
		}
		a.TTY = b.term.tty
	}
	if a.Path, err = b.lookPath(user); err != nil {
		return 0, err
	}
	proc, err := b.kernel.Start(a)
	if err != nil {
		return 0, err
	}
	go b.receive(proc)
	if b.term != nil {
		b.term.relay()
	}
	ws := b.kernel.Wait()
	b.kernel.Shutdown()
	if b.term != nil {
		b.term.drain()
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitCode(), nil
}

// lookPath finds the program as a shell would: with a slash it is a path, otherwise PATH says where to look.
func (b *booter) lookPath(user *cred.Cred) (string, error) {
	name := b.config.Argv[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	list := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range b.config.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	root := b.kernel.RootNamespaces().Mount.Root()
	ctx := &lookupContext{Context: vfs.KernelContext(), cred: user, fs: vfs.NewFSContext(root, root, 0)}
	var denied error
	for _, dir := range strings.Split(list, ":") {
		p := path.Join(dir, name)
		if !path.IsAbs(p) {
			p = path.Join(b.config.Cwd, p)
		}
		st, err := vfs.Stat(ctx, vfs.Path{}, p, vfs.LookupFollow)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if err := vfs.Access(ctx, vfs.Path{}, p, unix.X_OK, unix.AT_EACCESS); err != nil {
			denied = &sentry.NotFoundError{Path: p, Err: err}
			continue
		}
		return p, nil
	}
	if denied != nil {
		return "", denied
	}
	return "", &sentry.NotFoundError{Path: name, Err: unix.ENOENT}
}

// receive handles what the command sends: signals for the program and the size of its terminal.
func (b *booter) receive(proc *sentry.Process) {
	var buf [9]byte
	for {
		if _, err := io.ReadFull(b.control, buf[:1]); err != nil {
			return
		}
		switch buf[0] {
		case msgSignal:
			if _, err := io.ReadFull(b.control, buf[:1]); err != nil {
				return
			}
			b.signal(proc, unix.Signal(buf[0]))
		case msgResize:
			if _, err := io.ReadFull(b.control, buf[:8]); err != nil {
				return
			}
			if b.term != nil {
				u16 := func(i int) uint16 { return uint16(buf[i]) | uint16(buf[i+1])<<8 }
				b.term.tty.SetWinsize(unix.Winsize{Row: u16(0), Col: u16(2), Xpixel: u16(4), Ypixel: u16(6)})
			}
		}
	}
}

// signal gives a signal from outside to the program, or to the terminal's foreground group.
func (b *booter) signal(proc *sentry.Process, sig unix.Signal) {
	if b.term != nil && sig != unix.SIGCONT {
		if g := b.term.tty.Foreground(); g != nil {
			g.Signal(sig)
			return
		}
	}
	proc.SendSignal(&sentry.SigInfo{Signo: int32(sig), Code: sentry.SiKernel})
}
