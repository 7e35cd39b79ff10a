package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/platform/flat"
	"gosv.dev/platform/ptrace"
	"gosv.dev/runsc-like/prefault"
	"gosv.dev/runsc-like/sandbox"
	"gosv.dev/sentry"
	"gosv.dev/sentry/proc"
	"gosv.dev/sentry/sysfs"
	"gosv.dev/syscalls"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/host"
	"gosv.dev/vfs/waitq"
)

// boot is the sentry's process: it confines itself, makes the kernel, runs the program and returns an exit
// status. It does so in this order; see package sandbox.
func boot() int {
	prefault.Heap(1 << 20)
	// The command passes on those that are meant for the program.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP,
		unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT, unix.SIGWINCH, unix.SIGALRM, unix.SIGPIPE)
	control := os.NewFile(controlFD, "control")
	b := &booter{control: control, begin: time.Now()}
	var err error
	if b.config, err = receiveConfig(control); err != nil {
		return b.end(exitInternal, err.Error())
	}
	for fd := controlFD; fd <= straceFD; fd++ {
		unix.CloseOnExec(fd)
	}
	debug.SetMaxThreads(20000)
	b.log = b.newLogger()
	status, err := b.run()
	if err != nil {
		return b.end(b.explain(err))
	}
	return b.end(status, "")
}

// end tells the command how it ended, and what went wrong, which the command says once the terminal is what it
// was. The status is trusted only if it comes this way: a sentry that fails has one too.
func (b *booter) end(status int, text string) int {
	var m []byte
	if text != "" {
		m = binary.LittleEndian.AppendUint32([]byte{msgError}, uint32(len(text)))
		m = append(m, text...)
	}
	b.control.Write(append(m, msgExit, byte(status), byte(b.killed)))
	return status
}

// booter is what boot builds up.
type booter struct {
	begin   time.Time
	config  *config
	control *os.File
	log     *slog.Logger
	mem     *mm.Memory
	kernel  *sentry.Kernel
	term    *guestTerminal
	files   [3]*vfs.File // standard input, output and error, but for a terminal's
	procFD  int          // /proc/self/fd, or -1
	killed  unix.Signal  // what ended the program, or 0
	// platformReady waits until guests can run.
	platformReady func() error
	ended         func() // notes in the log what the platform has done, or nil
}

// phase notes in the log how long it took to come this far.
func (b *booter) phase(name string) {
	b.log.Debug(name, "after", time.Since(b.begin).Round(10*time.Microsecond))
}

// newLogger logs to the file given with --log, warnings and worse. Without a file standard error is the
// program's, and only what ends it is said there.
func (b *booter) newLogger() *slog.Logger {
	var out io.Writer = os.NewFile(logFD, "log")
	level := slog.LevelWarn
	if !b.config.LogFile {
		out, level = b.forTerminal(os.Stderr), slog.LevelError
	}
	if b.config.Debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

// forTerminal makes lines for a terminal in raw mode.
func (b *booter) forTerminal(f *os.File) io.Writer {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil && b.config.Terminal != 0 {
		return crlf{f}
	}
	return f
}

// crlf ends lines with a carriage return too.
type crlf struct{ w io.Writer }

func (c crlf) Write(p []byte) (int, error) {
	_, err := c.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return len(p), err
}

func (b *booter) run() (int, error) {
	c := b.config
	hw := readHardware()
	vdso := ptrace.FindVDSO()
	if c.Platform == "flat" {
		_ = flat.Prepare() // New tells, if it cannot do without
	}
	// 1. Where files can be reached.
	trees := []sandbox.Tree{{Path: "/", ReadOnly: true}}
	for _, v := range c.Volumes {
		trees = append(trees, sandbox.Tree{Path: v.Host, ReadOnly: v.ReadOnly})
	}
	var err error
	if b.procFD, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		b.procFD = -1
	}
	// Memory and the standard descriptors come first: their names are not to be had later.
	limit := c.Memory
	if limit == 0 {
		limit = hw.memory
	}
	if b.mem, err = mm.NewMemory(limit); err != nil {
		switch {
		case errors.Is(err, unix.EFBIG):
			err = fmt.Errorf("%w\nThe limit of file sizes is less than the sandbox's memory: raise it (ulimit -f), or give --memory", err)
		case errors.Is(err, unix.ENOMEM):
			err = fmt.Errorf("%w\nThe limit of address space is too low for the sandbox's memory: raise it (ulimit -v), or give --memory", err)
		}
		return 0, err
	}
	if err := b.standardFiles(); err != nil {
		return 0, err
	}
	b.phase("memory")
	prefault.Heap(512 << 10)
	fds, err := sandbox.EnterRoot(trees)
	if err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	b.phase("root")
	// 2. What it may do.
	if err := sandbox.DropCapabilities(); err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	// Guest threads are host threads that mostly wait for their stub; with as many places to
	// run as there are processors, a wake-up would wait for the scheduler's monitor.
	runtime.GOMAXPROCS(max(4, 2*runtime.NumCPU()))
	b.mem.WatchHeap()
	if err := waitq.StartAlarms(); err != nil {
		return 0, err
	}
	b.phase("capabilities")
	// 3. The platform.
	p, rules, text, err := b.newPlatform(vdso)
	if err != nil {
		return 0, err
	}
	b.phase("platform")
	prefault.Heap(512 << 10)
	// 4. The filter. The local time zone is a file, which the log will need.
	_, _ = time.Now().Zone()
	rules = append(rules, hostRules()...)
	if err := sandbox.InstallFilter(rules, text, c.Debug); err != nil {
		return 0, fmt.Errorf("confining the sentry: %w", err)
	}
	b.phase("filter")

	// 5. The kernel.
	reg := newRegistry(b.mem)
	mounts, err := b.mountRoot(reg, fds)
	if err != nil {
		return 0, err
	}
	table := syscalls.NewTable()
	if c.Strace {
		table.Strace = syscalls.NewStrace(b.forTerminal(os.NewFile(straceFD, "strace")))
	}
	cfg := sentry.Config{
		Memory: b.mem, Platform: p, Syscalls: table, VFS: reg, Mounts: mounts,
		Hostname: c.Hostname, CPUs: c.CPUs, Log: b.log, OnInitStop: b.programStopped,
		TickAccounting: c.Platform == "flat",
	}
	if table.Strace != nil {
		cfg.OnSignal = table.Strace.Signal
	}
	b.addSubsystems(&cfg, table)
	// Its clocks are the host's, and so are its processor numbers.
	if c.CPUs == 0 || c.CPUs >= runtime.NumCPU() {
		cfg.VDSO = hostVDSO{p}
	}
	if b.kernel, err = sentry.New(cfg); err != nil {
		return 0, err
	}
	reg.Register(sysfs.NewType(b.kernel, hw.cpu))
	reg.Register(proc.NewType(b.kernel, hw.cpu))
	if err := b.mountKernelFS(); err != nil {
		return 0, err
	}
	b.phase("kernel")
	return b.start()
}

// hostRules are the host calls that the sentry may make, from the packages that make them.
func hostRules() []sandbox.Rule {
	return slices.Concat(sandbox.RuntimeRules(), ptrace.HostSyscalls(), host.HostSyscalls())
}

// hostVDSO is the vDSO of a platform, at one address in every address space.
type hostVDSO struct{ p vdsoPlatform }

// Map implements sentry.VDSO.
func (v hostVDSO) Map(*mm.AddressSpace) (uint64, error) { return v.p.VDSO(), nil }

// start runs the program.
func (b *booter) start() (int, error) {
	c := b.config
	user, err := b.lookupUser()
	if err != nil {
		return 0, err
	}
	umask := c.Umask
	a := sentry.InitArgs{Argv: c.Argv, Envv: c.Env, Cwd: c.Cwd, Umask: &umask, Cred: user, Nice: c.Nice, Orphaned: c.Orphaned, Ignored: sentry.SigSet(c.Ignored)}
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
	if err := b.platformReady(); err != nil {
		return 0, err
	}
	proc, err := b.kernel.Start(a)
	if err != nil {
		return 0, err
	}
	b.phase("started")
	go b.receive(proc)
	if b.term != nil {
		b.term.relay(func() { b.control.Write([]byte{msgInput}) })
	}
	ws := b.kernel.Wait()
	b.phase("ended")
	b.kernel.Shutdown()
	if b.ended != nil {
		b.ended()
	}
	if b.term != nil {
		b.term.drain()
	}
	if ws.Signaled() {
		b.killed = unix.Signal(ws.Signal())
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
		case msgForeground:
			if b.term != nil {
				b.term.resume()
			}
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

// signal gives the program a signal from outside: its whole group what a terminal sends to all of a job, the
// process alone what somebody must have sent to it.
func (b *booter) signal(proc *sentry.Process, sig unix.Signal) {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGCONT:
		if g := proc.PGID(); g != nil {
			b.kernel.SignalPgrp(g, sig)
			return
		}
	}
	proc.SendSignal(&sentry.SigInfo{Signo: int32(sig), Code: sentry.SiKernel})
}

// programStopped tells the command that the program has stopped, so that the caller's shell sees it.
func (b *booter) programStopped() {
	if b.term != nil {
		b.term.leave()
	}
	b.control.Write([]byte{msgStop})
}
