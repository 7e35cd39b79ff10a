package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"gosv.dev/platform/flat"
	"gosv.dev/runsc-like/callerlimit"
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
	noRewrite  bool

	interception string
}

func doCommand() *cli.Command {
	var f doFlags
	one := 1
	return &cli.Command{
		Name:      "do",
		Usage:     "run a command in a sandbox that sees the host's files and changes none of them",
		UsageText: "gosv do [flags] [--] command [argument...]",
		Description: `The command sees the files of the host and may change all of them; the
changes are in memory and gone with the sandbox. A directory given with
--volume is really shared.

Standard input, output and error are the caller's, and a terminal stays a
terminal. The exit status is the command's, 128+n if signal n ended it,
127 if there is no such command, 126 if it cannot be run, and 125 if the
sandbox failed.

Examples:

  gosv do ls -l /
  gosv do --volume $PWD:/src --cwd /src -- make -j4
  gosv do --memory 256M --hostname box -- bash
  gosv do --strace-file calls -- cat /etc/hostname`,
		StopOnNthArg: &one, // what comes after the command is the command's
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Destination: &f.env, HideDefault: true,
				Usage: "set `NAME=VALUE` in the environment (repeatable)"},
			&cli.StringFlag{Name: "cwd", Aliases: []string{"w"}, Destination: &f.cwd, HideDefault: true,
				Usage: "working `DIRECTORY` (default: the caller's)"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Destination: &f.user, HideDefault: true,
				Usage: "run as `USER[:GROUP]`, names or numbers"},
			&cli.StringFlag{Name: "hostname", Destination: &f.hostname, HideDefault: true,
				Usage: "host `NAME` in the sandbox"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Destination: &f.memory, HideDefault: true,
				Usage: "memory of the sandbox, a `SIZE` such as 512M"},
			&cli.IntFlag{Name: "cpus", Destination: &f.cpus, HideDefault: true,
				Usage: "`NUMBER` of processors that the sandbox shows"},
			&cli.BoolFlag{Name: "read-only", Destination: &f.readOnly, HideDefault: true,
				Usage: "make the root file system read-only"},
			&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Destination: &f.volumes, HideDefault: true,
				Usage: "share a directory: `HOST:GUEST[:ro]` (repeatable)"},
			&cli.StringFlag{Name: "platform", Value: "auto", Destination: &f.platform, HideDefault: true,
				Usage: "how guest code runs: `NAME` is auto, ptrace or flat"},
			&cli.BoolFlag{Name: "no-rewrite", Destination: &f.noRewrite, HideDefault: true,
				Usage: "leave system call instructions as they are (platform flat)"},
			&cli.StringFlag{Name: "interception", Value: "auto", Destination: &f.interception, Hidden: true,
				Usage: "how system call instructions are intercepted (platform flat): `NAME` is auto, dispatch or seccomp"},
			&cli.BoolFlag{Name: "strace", Destination: &f.strace, HideDefault: true,
				Usage: "print system calls to standard error"},
			&cli.StringFlag{Name: "strace-file", Destination: &f.straceFile, HideDefault: true,
				Usage: "print system calls to `FILE`"},
			&cli.StringFlag{Name: "log", Destination: &f.log, HideDefault: true,
				Usage: "append the sentry's log to `FILE`"},
			&cli.BoolFlag{Name: "debug", Destination: &f.debug, HideDefault: true,
				Usage: "log more"},
		},
		DisableSliceFlagSeparator: true, // values may have commas in them
		OnUsageError:              usageError,
		Action: func(_ context.Context, cmd *cli.Command) error {
			args := cmd.Args().Slice()
			if len(args) == 0 {
				return errors.New("do: no command: write for example `gosv do ls /`, or see `gosv do --help`")
			}
			return f.run(args)
		},
	}
}

const (
	minMemory = 16 << 20
	maxMemory = 4 << 40
	maxCPUs   = 1024
)

// config checks the flags.
func (f *doFlags) config(args []string) (*config, error) {
	c := &config{
		Argv: args, Cwd: f.cwd, User: f.user, Hostname: f.hostname, CPUs: f.cpus, ReadOnly: f.readOnly,
		Platform: f.platform, Strace: f.strace || f.straceFile != "", Debug: f.debug, Identity: sandbox.Invoker(),
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
	}
	if args[0] == "" {
		return nil, &exitError{exitNotFound, errors.New("do: the command's name is empty")}
	}
	switch f.platform {
	case "auto":
		c.Platform = "ptrace"
	case "ptrace", "flat":
	default:
		return nil, fmt.Errorf("--platform: there is no platform %q; choose auto, ptrace or flat", f.platform)
	}
	if c.NoRewrite = f.noRewrite; c.NoRewrite && c.Platform != "flat" {
		return nil, errors.New("--no-rewrite: only the platform flat rewrites programs; give --platform=flat too, or leave it out")
	}
	var err error
	if c.Interception, err = flat.ParseInterception(f.interception); err != nil {
		return nil, fmt.Errorf("--interception: %w", err)
	}
	if c.Interception != flat.Auto && c.Platform != "flat" {
		return nil, errors.New("--interception: only the platform flat has a choice; give --platform=flat too, or leave it out")
	}
	if c.Memory, err = parseSize(f.memory); err != nil {
		return nil, fmt.Errorf("--memory: %w", err)
	}
	if f.memory != "" && c.Memory < minMemory {
		return nil, fmt.Errorf("--memory: %s is too little for a sandbox; give at least 16M", f.memory)
	}
	if c.Memory > maxMemory {
		return nil, fmt.Errorf("--memory: %s is too much; give at most 4T", f.memory)
	}
	if f.cpus < 0 || f.cpus > maxCPUs {
		return nil, fmt.Errorf("--cpus: %d is out of range; choose 1 to %d, or 0 for as many as the host has", f.cpus, maxCPUs)
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
		return nil, fmt.Errorf("--cwd: %q is not absolute; give the path from the root of the sandbox", f.cwd)
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
				continue // the name alone passes the caller's value on, and there is none
			}
		}
		c.Env = setEnv(c.Env, name, value)
	}
	groups, _ := os.Getgroups()
	for _, g := range groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	c.Orphaned, c.Ignored = groupOrphaned(), ignoredSignals()
	c.Umask = uint32(unix.Umask(0o22))
	unix.Umask(int(c.Umask))
	// The kernel returns 20-nice, so that no value is an error.
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		c.Nice = int32(20 - n)
	}
	c.Limits = callerLimits()
	return c, nil
}

// callerLimits are the resource limits that the caller gave.
func callerLimits() map[int]unix.Rlimit {
	limits := make(map[int]unix.Rlimit)
	for r := unix.RLIMIT_CPU; r <= unix.RLIMIT_RTTIME; r++ {
		var l unix.Rlimit
		if unix.Getrlimit(r, &l) == nil {
			limits[r] = l
		}
	}
	if l := callerlimit.NoFile; l[1] != 0 {
		limits[unix.RLIMIT_NOFILE] = unix.Rlimit{Cur: l[0], Max: l[1]}
	}
	return limits
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

// parseSize reads a size such as 512M, 512MB or 512MiB, all the same. The empty string is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t := strings.ToUpper(s)
	digits := strings.TrimRight(t, "KMGTIB")
	shift, ok := map[string]uint{
		"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20,
		"G": 30, "GB": 30, "GIB": 30, "T": 40, "TB": 40, "TIB": 40,
	}[t[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || n == 0 {
		if errors.Is(err, strconv.ErrRange) {
			return math.MaxInt64, nil
		}
		return 0, fmt.Errorf("%q is no size; write for example 512M or 2G", s)
	}
	if n > math.MaxInt64>>shift {
		return math.MaxInt64, nil
	}
	return int64(n << shift), nil
}

// kernelMagic are file systems that lead out of the sandbox.
var kernelMagic = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true,
	unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, unix.BPF_FS_MAGIC: true, unix.NSFS_MAGIC: true,
	unix.EFIVARFS_MAGIC: true, unix.PSTOREFS_MAGIC: true, unix.BINFMTFS_MAGIC: true,
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
	if parts[0] == "" || parts[1] == "" {
		return v, fmt.Errorf("%q is not HOST:GUEST or HOST:GUEST:ro", s)
	}
	host, err := filepath.Abs(parts[0])
	if err != nil {
		return v, err
	}
	if v.Host, err = filepath.EvalSymlinks(host); errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("%s does not exist on the host; make the directory first", parts[0])
	} else if err != nil {
		return v, err
	}
	if st, err := os.Stat(v.Host); err != nil {
		return v, err
	} else if !st.IsDir() {
		return v, fmt.Errorf("%s is not a directory; share the directory that it is in", parts[0])
	}
	var sfs unix.Statfs_t
	if unix.Statfs(v.Host, &sfs) == nil && kernelMagic[sfs.Type] {
		return v, fmt.Errorf("%s shows the host's kernel and its processes, and is not shared; the sandbox has its own", parts[0])
	}
	if v.Guest = filepath.Clean(parts[1]); !filepath.IsAbs(v.Guest) || v.Guest == "/" {
		return v, fmt.Errorf("%q: the guest's directory must be absolute and not the root", s)
	}
	return v, nil
}
