package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"gosv.dev/runsc-like/sandbox"
)

// doFlags are the flags of `gosv do`.
type doFlags struct {
	env        []string
	cwd        string
	user       string
	hostname   string
	memory     string
	cpus       int
	readOnly   bool
	volumes    []string
	platform   string
	strace     bool
	straceFile string
	log        string
	debug      bool
}

func doCommand() *cli.Command {
	var f doFlags
	one := 1
	return &cli.Command{
		Name:      "do",
		Usage:     "run a command in a sandbox that sees the host's files and changes none of them",
		ArgsUsage: "[--] command [argument...]",
		Description: `The command sees the files of the host and may change all of them; the changes are in
memory and gone with the sandbox. A directory given with --volume is really shared.

The exit status is the command's, 128+n if signal n ended it, 127 if there is no such
command, 126 if it cannot be run, and 125 if the sandbox failed.

  gosv do ls -l /
  gosv do --volume $PWD:/src --cwd /src -- make -j4
  gosv do --memory 256M --hostname box -- bash`,
		StopOnNthArg: &one,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Destination: &f.env, Usage: "set `NAME=VALUE` in the command's environment, or take NAME from the caller's (repeatable)"},
			&cli.StringFlag{Name: "cwd", Aliases: []string{"w"}, Destination: &f.cwd, Usage: "working `DIRECTORY` (default: the caller's)"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Destination: &f.user, Usage: "run as `USER[:GROUP]`, names or numbers (default: the caller)"},
			&cli.StringFlag{Name: "hostname", Destination: &f.hostname, Usage: "host `NAME` in the sandbox (default: the host's)"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Destination: &f.memory, Usage: "memory of the sandbox, a `SIZE` with K, M, G or T (default: the host's)"},
			&cli.IntFlag{Name: "cpus", Destination: &f.cpus, Usage: "`NUMBER` of processors the sandbox shows (default: the host's)"},
			&cli.BoolFlag{Name: "read-only", Destination: &f.readOnly, Usage: "make the root file system read-only"},
			&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Destination: &f.volumes, Usage: "share a directory: `HOST:GUEST[:ro]` (repeatable)"},
			&cli.StringFlag{Name: "platform", Value: "auto", Destination: &f.platform, Usage: "how guest code runs: `NAME` is auto or ptrace"},
			&cli.BoolFlag{Name: "strace", Destination: &f.strace, Usage: "print system calls to standard error"},
			&cli.StringFlag{Name: "strace-file", Destination: &f.straceFile, Usage: "print system calls to `FILE`"},
			&cli.StringFlag{Name: "log", Destination: &f.log, Usage: "write the sentry's log to `FILE` (default: errors to standard error)"},
			&cli.BoolFlag{Name: "debug", Destination: &f.debug, Usage: "log more"},
		},
		// Values may have commas in them.
		DisableSliceFlagSeparator: true,
		Action: func(_ context.Context, cmd *cli.Command) error {
			args := cmd.Args().Slice()
			if len(args) == 0 {
				return errors.New("do: no command: write `gosv do ls /`, or see `gosv do --help`")
			}
			return f.run(args)
		},
	}
}

// config checks the flags.
func (f *doFlags) config(args []string) (*config, error) {
	c := &config{
		Argv: args, Cwd: f.cwd, User: f.user, Hostname: f.hostname, CPUs: f.cpus, ReadOnly: f.readOnly,
		Platform: f.platform, Strace: f.strace || f.straceFile != "", Debug: f.debug, Identity: sandbox.Invoker(),
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
	}
	switch f.platform {
	case "auto":
		c.Platform = "ptrace"
	case "ptrace":
	default:
		return nil, fmt.Errorf("--platform: %q is none; choose auto or ptrace", f.platform)
	}
	var err error
	if c.Memory, err = parseSize(f.memory); err != nil {
		return nil, fmt.Errorf("--memory: %w", err)
	}
	if c.Memory != 0 && c.Memory < 16<<20 {
		return nil, fmt.Errorf("--memory: %s is too little for a sandbox; give at least 16M", f.memory)
	}
	if f.cpus < 0 || f.cpus > 1024 {
		return nil, fmt.Errorf("--cpus: %d is out of range; choose 1 to 1024", f.cpus)
	}
	if len(f.hostname) > 64 {
		return nil, errors.New("--hostname: a host name has at most 64 characters")
	}
	if c.Hostname == "" {
		if c.Hostname, err = os.Hostname(); err != nil {
			c.Hostname = "gosv"
		}
	}
	if c.Cwd == "" {
		if c.Cwd, err = os.Getwd(); err != nil {
			c.Cwd = "/"
		}
	} else if !filepath.IsAbs(c.Cwd) {
		return nil, fmt.Errorf("--cwd: %s is not absolute", f.cwd)
	}
	for _, v := range f.volumes {
		vol, err := parseVolume(v)
		if err != nil {
			return nil, fmt.Errorf("--volume: %w", err)
		}
		c.Volumes = append(c.Volumes, vol)
	}
	c.Env = os.Environ()
	for _, e := range f.env {
		name, value, given := strings.Cut(e, "=")
		if name == "" {
			return nil, fmt.Errorf("--env: %q has no name; write NAME=VALUE", e)
		}
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		c.Env = setEnv(c.Env, name, value)
	}
	groups, _ := os.Getgroups()
	for _, g := range groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	c.Umask = uint32(unix.Umask(0o22))
	unix.Umask(int(c.Umask))
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		c.Nice = 20 - int32(p) // as the kernel gives it: 20 less the nice value
	}
	c.Limits = make(map[int]unix.Rlimit)
	for r := unix.RLIMIT_CPU; r <= unix.RLIMIT_RTTIME; r++ {
		var l unix.Rlimit
		if unix.Getrlimit(r, &l) == nil {
			c.Limits[r] = l
		}
	}
	// The runtime raises the soft limit of open files; programs get what the caller had.
	var nofile unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &nofile); err == nil {
		c.Limits[unix.RLIMIT_NOFILE] = originalNoFile(nofile)
	}
	return c, nil
}

// originalNoFile undoes what the Go runtime did at start: it raises the soft limit to the hard one, less one.
func originalNoFile(now unix.Rlimit) unix.Rlimit {
	if now.Cur >= now.Max-1 && now.Max > 1024 {
		now.Cur = 1024
	}
	return now
}

func setEnv(env []string, name, value string) []string {
	for i, e := range env {
		if strings.HasPrefix(e, name+"=") {
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env, name+"="+value)
}

// parseSize reads a size such as 512M. The empty string is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, shift := strings.ToUpper(s), 0
	t = strings.TrimSuffix(strings.TrimSuffix(t, "B"), "I")
	if i := strings.IndexAny(t, "KMGT"); i >= 0 && i == len(t)-1 {
		shift = 10 * (strings.IndexByte("KMGT", t[i]) + 1)
		t = t[:i]
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n <= 0 || n<<shift>>shift != n {
		return 0, fmt.Errorf("%q is no size; write for example 512M or 2G", s)
	}
	return n << shift, nil
}

// parseVolume reads HOST:GUEST[:ro].
func parseVolume(s string) (volume, error) {
	parts := strings.Split(s, ":")
	v := volume{}
	switch {
	case len(parts) == 3 && (parts[2] == "ro" || parts[2] == "rw"):
		v.ReadOnly = parts[2] == "ro"
	case len(parts) != 2:
		return v, fmt.Errorf("%q is not HOST:GUEST or HOST:GUEST:ro", s)
	}
	host, err := filepath.Abs(parts[0])
	if err != nil {
		return v, err
	}
	if v.Host, err = filepath.EvalSymlinks(host); err != nil {
		return v, err
	}
	if st, err := os.Stat(v.Host); err != nil {
		return v, err
	} else if !st.IsDir() {
		return v, fmt.Errorf("%s is not a directory", parts[0])
	}
	if v.Guest = filepath.Clean(parts[1]); !filepath.IsAbs(v.Guest) || v.Guest == "/" {
		return v, fmt.Errorf("%q: the guest's directory must be absolute and not the root", s)
	}
	return v, nil
}

// run starts the sentry and waits for it.
func (f *doFlags) run(args []string) error {
	c, err := f.config(args)
	if err != nil {
		return fmt.Errorf("do: %w", err)
	}
	logFile, err := openOutput(f.log)
	if err != nil {
		return fmt.Errorf("do: --log: %w", err)
	}
	straceFile := os.Stderr
	if f.straceFile != "" {
		if straceFile, err = openOutput(f.straceFile); err != nil {
			return fmt.Errorf("do: --strace-file: %w", err)
		}
	}
	term := openTerminal(c)
	defer term.restore()

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("do: socketpair: %w", err)
	}
	control, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	// The sentry dies with the thread that starts it.
	runtime.LockOSThread()
	cmd := sandbox.Command(c.Identity, bootCommand)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, logFile, straceFile}
	cmd.Env = []string{} // nothing of the caller's environment is the sentry's business
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("do: starting the sandbox: %w%s", err, startHint(err))
	}
	theirs.Close()
	if err := c.send(control); err != nil {
		cmd.Process.Kill()
		return fmt.Errorf("do: %w", err)
	}
	m := &monitor{control: control, term: term, cmd: cmd}
	go m.signals()
	go m.messages()
	err = cmd.Wait()
	term.restore()
	return exitStatus(cmd, err)
}

// startHint says what to do about the usual reasons.
func startHint(err error) string {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return "\nThis host does not let you create a user namespace. Run as root, or allow it" +
			" (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0)."
	}
	return ""
}

// exitStatus is the error whose status the sentry's end stands for.
func exitStatus(cmd *exec.Cmd, err error) error {
	var ee *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ee):
		ws := ee.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			what := ""
			if ws.Signal() == syscall.SIGSYS {
				what = " (a host call that its filter does not allow)"
			}
			return &exitError{128 + int(ws.Signal()), fmt.Errorf("do: the sandbox was ended by signal %d%s", ws.Signal(), what)}
		}
		return &exitError{ws.ExitStatus(), nil}
	}
	return err
}

// openOutput opens a file for a log; without a name what is written goes nowhere.
func openOutput(name string) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
}

// monitor is the command while the sentry runs: it passes signals on and stops when the program stops.
type monitor struct {
	control *os.File
	term    *terminal
	cmd     *exec.Cmd
	stopped atomic.Bool
}

// signals passes on what the command gets.
func (m *monitor) signals() {
	ch := make(chan os.Signal, 32)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH, unix.SIGALRM)
	for s := range ch {
		switch s {
		case unix.SIGWINCH:
			m.resize()
		case unix.SIGCONT:
			if m.term.raw() {
				m.resize()
			}
			m.stopped.Store(false)
			m.control.Write([]byte{msgSignal, byte(unix.SIGCONT)})
		default:
			m.control.Write([]byte{msgSignal, byte(s.(syscall.Signal))})
		}
	}
}

func (m *monitor) resize() {
	if w, ok := m.term.size(); ok {
		b := []byte{msgResize, byte(w.Row), byte(w.Row >> 8), byte(w.Col), byte(w.Col >> 8),
			byte(w.Xpixel), byte(w.Xpixel >> 8), byte(w.Ypixel), byte(w.Ypixel >> 8)}
		m.control.Write(b)
	}
}

// messages handles what the sentry says.
func (m *monitor) messages() {
	var b [1]byte
	for {
		if _, err := m.control.Read(b[:]); err != nil {
			return
		}
		if b[0] == msgStop {
			m.term.restore()
			m.stopped.Store(true)
			unix.Kill(unix.Getpid(), unix.SIGSTOP)
		}
	}
}
