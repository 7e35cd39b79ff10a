package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

// entry is one process or thread directory's subject.
type entry struct {
	*fs
	t     *sentry.Task
	whole bool // a process, not one thread of it
}

// process is /proc/PID.
func (p *fs) process(pr *sentry.Process) kernfs.Node {
	leader := pr.Leader()
	if leader == nil {
		return kernfs.NewDir()
	}
	e := &entry{p, leader, true}
	d := e.dir()
	d.Valid = func() bool { return pr.Leader() != nil && p.k.Process(p.ns, pr.PID().In(p.ns)) == pr }
	task := kernfs.NewDir()
	task.Nlink = func() uint32 { return uint32(len(pr.Threads())) + 2 }
	task.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		n, ok := number(name)
		if !ok {
			return nil, unix.ENOENT
		}
		t := p.k.Task(p.ns, n)
		if t == nil || t.Process() != pr {
			return nil, unix.ENOENT
		}
		te := &entry{p, t, false}
		td := te.dir()
		td.Valid = func() bool { return p.k.Task(p.ns, n) == t }
		return td, nil
	}
	task.List = func(vfs.Context) ([]kernfs.Entry, error) {
		var list []kernfs.Entry
		for _, t := range pr.Threads() {
			if id := t.PID().In(p.ns); id != 0 {
				list = append(list, kernfs.Entry{Name: strconv.Itoa(int(id)), Type: unix.DT_DIR, Ino: 1<<34 + uint64(id)})
			}
		}
		return list, nil
	}
	d.Add("task", task)
	return d
}

// task is the thread to look at: of a process the leader, which exec may have replaced.
func (e *entry) task() *sentry.Task {
	if e.whole {
		if l := e.t.Process().Leader(); l != nil {
			return l
		}
	}
	return e.t
}

// owner is who the files belong to: the effective ids, or root for what is not dumpable.
func (e *entry) owner() (uint32, uint32) {
	t := e.task()
	if t.Dumpable() != 1 {
		return 0, 0
	}
	c := t.Cred()
	return c.EUID, c.EGID
}

// mayLook asks for the right to look into the process, as ptrace(2) has it; EACCES without.
func (e *entry) mayLook(ctx vfs.Context, mode sentry.PtraceMode) error {
	c := caller(e.k, ctx)
	if c == nil || c.PtraceMayAccess(e.task(), mode) {
		return nil
	}
	return unix.EACCES
}

// gone tells whether the process or thread has been waited for.
func (e *entry) gone() bool {
	if e.whole {
		return e.t.Process().Leader() == nil
	}
	return e.t.Released()
}

// file is a file of the process; ESRCH when it has gone.
func (e *entry) file(mode uint32, f func(ctx vfs.Context, b *bytes.Buffer) error) *kernfs.File {
	n := &kernfs.File{Attr: kernfs.Attr{Mode: mode, Owner: e.owner}}
	if f != nil {
		n.Read = func(ctx vfs.Context, b *bytes.Buffer) error {
			if e.gone() {
				return unix.ESRCH
			}
			return f(ctx, b)
		}
	}
	return n
}

// private is a file that only those may read who may look into the process.
func (e *entry) private(mode uint32, f func(ctx vfs.Context, b *bytes.Buffer) error) *kernfs.File {
	n := e.file(mode, f)
	n.CheckOpen = func(ctx vfs.Context, _ *vfs.File) error { return e.mayLook(ctx, sentry.PtraceRead) }
	return n
}

// withMM runs f with the process' memory, if it has some left.
func (e *entry) withMM(f func(as *mm.AddressSpace) error) error {
	as := e.task().GetMM()
	if as == nil {
		return nil
	}
	defer as.DecUsers()
	return f(as)
}

func (e *entry) dir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Owner = e.owner
	d.Permission = func(ctx vfs.Context, _ uint32) error {
		if e.gone() {
			return unix.ESRCH
		}
		return e.hidden(ctx)
	}
	add := func(name string, n kernfs.Node) { d.Add(name, n) }
	add("stat", e.file(0o444, e.stat))
	add("status", e.file(0o444, e.status))
	add("statm", e.file(0o444, e.statm))
	add("cmdline", e.file(0o444, e.cmdline))
	add("environ", e.private(0o400, e.environ))
	add("auxv", e.private(0o400, e.auxv))
	add("comm", e.comm())
	add("limits", e.file(0o444, e.limits))
	add("maps", e.private(0o444, e.maps))
	add("smaps", e.private(0o444, e.smaps))
	if e.whole {
		add("smaps_rollup", e.private(0o444, e.smapsRollup))
	}
	add("mem", e.mem())
	add("pagemap", e.pagemap())
	add("clear_refs", e.clearRefs())
	add("exe", &kernfs.MagicLink{Attr: kernfs.Attr{Owner: e.owner}, Target: e.linkText(e.exe), Follow: e.exe})
	add("cwd", &kernfs.MagicLink{Attr: kernfs.Attr{Owner: e.owner}, Target: e.linkText(e.cwd), Follow: e.cwd})
	add("root", &kernfs.MagicLink{Attr: kernfs.Attr{Owner: e.owner}, Target: e.linkText(e.rootDir), Follow: e.rootDir})
	add("fd", e.fdDir())
	add("fdinfo", e.fdinfoDir())
	add("map_files", e.mapFiles())
	add("ns", e.nsDir())
	add("mounts", e.mountFile(func(ns *vfs.MountNamespace, root vfs.Path) string { return ns.Mounts(root) }))
	add("mountinfo", e.mountFile(func(ns *vfs.MountNamespace, root vfs.Path) string { return ns.MountInfo(root) }))
	if e.whole {
		add("mountstats", e.mountFile(func(ns *vfs.MountNamespace, root vfs.Path) string { return ns.MountStats(root) }))
	}
	add("cgroup", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString("0::/\n"); return nil }))
	add("cpuset", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString("/\n"); return nil }))
	add("oom_score", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
		fmt.Fprintln(b, e.t.Process().OOMScore())
		return nil
	}))
	add("oom_score_adj", e.oomAdj(func(v int64) int64 { return v }, func(v int64) int64 { return v }, -1000, 1000))
	add("oom_adj", e.oomAdj(func(v int64) int64 {
		if v == 1000 {
			return 15
		}
		return v * 17 / 1000
	}, func(v int64) int64 {
		if v == 15 {
			return 1000
		}
		return v * 1000 / 17
	}, -17, 15))
	add("wchan", e.private(0o444, func(_ vfs.Context, b *bytes.Buffer) error { b.WriteByte('0'); return nil }))
	add("stack", e.private(0o400, func(vfs.Context, *bytes.Buffer) error { return nil }))
	add("syscall", e.private(0o400, e.syscall))
	add("io", e.private(0o400, e.io))
	add("sched", e.file(0o644, e.sched))
	add("schedstat", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
		u, s := e.cpuTime()
		v, iv := e.task().Switches()
		fmt.Fprintf(b, "%d 0 %d\n", u+s, v+iv)
		return nil
	}))
	add("personality", e.private(0o400, func(_ vfs.Context, b *bytes.Buffer) error {
		fmt.Fprintf(b, "%08x\n", e.task().Personality())
		return nil
	}))
	add("loginuid", e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString("4294967295"); return nil }))
	add("sessionid", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString("4294967295"); return nil }))
	add("children", e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
		if e.whole || e.t.Process().Leader() == e.t {
			for _, c := range e.t.Process().Children() {
				fmt.Fprintf(b, "%d ", c.PID().In(e.ns))
			}
		}
		return nil
	}))
	add("uid_map", e.idMap(0))
	add("gid_map", e.idMap(1))
	add("projid_map", e.file(0o644, func(vfs.Context, *bytes.Buffer) error { return nil }))
	add("setgroups", e.setgroups())
	add("numa_maps", e.private(0o444, e.numaMaps))
	add("net", e.netDir())
	add("attr", e.attrDir())
	add("timens_offsets", e.timeOffsets())
	if e.whole {
		add("timerslack_ns", e.timerSlack())
		add("timers", e.file(0o444, e.timers))
		add("coredump_filter", &kernfs.File{
			Attr:  kernfs.Attr{Mode: 0o644, Owner: e.owner},
			Read:  func(_ vfs.Context, b *bytes.Buffer) error { b.WriteString("00000033\n"); return nil },
			Write: func(vfs.Context, []byte) error { return nil }, // no core files are written
		})
	}
	return d
}

// comm is the name, which the process' own threads may set.
func (e *entry) comm() *kernfs.File {
	f := e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error {
		b.WriteString(e.task().Name())
		b.WriteByte('\n')
		return nil
	})
	f.Write = func(ctx vfs.Context, data []byte) error {
		if c := caller(e.k, ctx); c == nil || c.Process() != e.t.Process() {
			return unix.EINVAL
		}
		e.task().SetName(strings.TrimRight(string(data[:min(len(data), 15)]), "\n"))
		return nil
	}
	return f
}

// copyRange reads guest memory from start to end, as much as there is, at most a megabyte.
func copyRange(as *mm.AddressSpace, start, end uint64) []byte {
	if end <= start {
		return nil
	}
	buf := make([]byte, min(end-start, 1<<20))
	n, _ := as.CopyInForce(usermem.Addr(start), buf)
	return buf[:n]
}

func (e *entry) cmdline(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		l := as.Layout()
		args := copyRange(as, l.ArgStart, l.ArgEnd)
		// A program that has overwritten the end of its arguments (setproctitle) goes on into
		// the environment.
		if n := len(args); n > 0 && args[n-1] != 0 && l.EnvStart == l.ArgEnd {
			env := copyRange(as, l.EnvStart, l.EnvEnd)
			if i := bytes.IndexByte(args, 0); i >= 0 {
				args = args[:i]
			} else if i := bytes.IndexByte(env, 0); i >= 0 {
				args = append(args, env[:i]...)
			}
		}
		b.Write(args)
		return nil
	})
}

func (e *entry) environ(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		l := as.Layout()
		b.Write(copyRange(as, l.EnvStart, l.EnvEnd))
		return nil
	})
}

func (e *entry) auxv(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		for _, v := range as.Auxv() {
			b.Write(usermem.AsBytes(&v))
		}
		return nil
	})
}

// rlimitNames in the order of their numbers.
var rlimitNames = [...]struct{ name, unit string }{
	{"Max cpu time", "seconds"}, {"Max file size", "bytes"}, {"Max data size", "bytes"}, {"Max stack size", "bytes"},
	{"Max core file size", "bytes"}, {"Max resident set", "bytes"}, {"Max processes", "processes"}, {"Max open files", "files"},
	{"Max locked memory", "bytes"}, {"Max address space", "bytes"}, {"Max file locks", "locks"}, {"Max pending signals", "signals"},
	{"Max msgqueue size", "bytes"}, {"Max nice priority", ""}, {"Max realtime priority", ""}, {"Max realtime timeout", "us"},
}

func (e *entry) limits(_ vfs.Context, b *bytes.Buffer) error {
	show := func(v uint64) string {
		if v == unix.RLIM_INFINITY {
			return "unlimited"
		}
		return strconv.FormatUint(v, 10)
	}
	fmt.Fprintf(b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	for i, l := range e.t.Process().Limits() {
		if i < len(rlimitNames) {
			fmt.Fprintf(b, "%-25s %-20s %-20s %-10s\n", rlimitNames[i].name, show(l.Cur), show(l.Max), rlimitNames[i].unit)
		}
	}
	return nil
}

// oomAdj is oom_score_adj and the older oom_adj, which has another scale.
func (e *entry) oomAdj(show, take func(int64) int64, lo, hi int64) *kernfs.File {
	f := e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error {
		fmt.Fprintln(b, show(int64(e.t.Process().OOMScoreAdj())))
		return nil
	})
	f.Write = func(ctx vfs.Context, data []byte) error {
		v, err := strconv.ParseInt(strings.TrimSpace(string(data)), 0, 32)
		if err != nil || v < lo || v > hi {
			return unix.EINVAL
		}
		c := caller(e.k, ctx)
		if c == nil {
			return unix.EACCES
		}
		return e.t.Process().SetOOMScoreAdj(c, int32(take(v)))
	}
	return f
}

func (e *entry) timerSlack() *kernfs.File {
	f := e.file(0o666, func(_ vfs.Context, b *bytes.Buffer) error {
		fmt.Fprintln(b, e.task().TimerSlack())
		return nil
	})
	f.Write = func(ctx vfs.Context, data []byte) error {
		v, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err != nil || v < 0 {
			return unix.EINVAL
		}
		if err := e.mayLook(ctx, sentry.PtraceAttach); err != nil {
			return unix.EPERM
		}
		e.task().SetTimerSlack(v)
		return nil
	}
	return f
}

// idMap is uid_map (0) or gid_map (1).
func (e *entry) idMap(which int) *kernfs.File {
	f := e.file(0o644, nil)
	f.ReadFile = func(_ vfs.Context, file *vfs.File, b *bytes.Buffer) error {
		ns, reader := e.task().Cred().UserNS, file.Cred.UserNS
		if which == 0 {
			b.Write(ns.ShowUIDMap(reader))
		} else {
			b.Write(ns.ShowGIDMap(reader))
		}
		return nil
	}
	f.Read = nil
	f.WriteFile = func(ctx vfs.Context, file *vfs.File, data []byte, off int64) (int, error) {
		ns := e.task().Cred().UserNS
		var err error
		if which == 0 {
			err = ns.WriteUIDMap(file.Cred, ctx.Cred(), off, data)
		} else {
			err = ns.WriteGIDMap(file.Cred, ctx.Cred(), off, data)
		}
		if err != nil {
			return 0, err
		}
		return len(data), nil
	}
	return f
}

func (e *entry) setgroups() *kernfs.File {
	f := e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error {
		b.WriteString(strings.TrimRight(e.task().Cred().UserNS.ShowSetgroups(), "\n") + "\n")
		return nil
	})
	f.WriteFile = func(ctx vfs.Context, _ *vfs.File, data []byte, off int64) (int, error) {
		ns := e.task().Cred().UserNS
		if !ctx.Cred().HasIn(ns, unix.CAP_SYS_ADMIN) {
			return 0, unix.EACCES
		}
		if err := ns.WriteSetgroups(off, data); err != nil {
			return 0, err
		}
		return len(data), nil
	}
	return f
}

// linkText makes a link's text from where it leads.
func (e *entry) linkText(follow func(vfs.Context) (vfs.Path, error)) func(vfs.Context) (string, error) {
	return func(ctx vfs.Context) (string, error) {
		p, err := follow(ctx)
		if err != nil {
			return "", err
		}
		defer p.DecRef()
		var root vfs.Path
		if fs := ctx.FS(); fs != nil {
			root = fs.Root()
		}
		return vfs.PathString(p, root), nil
	}
}

func (e *entry) exe(ctx vfs.Context) (vfs.Path, error) {
	if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
		return vfs.Path{}, err
	}
	p, ok := e.task().ExePath()
	if !ok {
		return vfs.Path{}, unix.ENOENT
	}
	return p, nil
}

func (e *entry) cwd(ctx vfs.Context) (vfs.Path, error) { return e.place(ctx, (*vfs.FSContext).GetCwd) }

func (e *entry) rootDir(ctx vfs.Context) (vfs.Path, error) {
	return e.place(ctx, (*vfs.FSContext).GetRoot)
}

func (e *entry) place(ctx vfs.Context, get func(*vfs.FSContext) vfs.Path) (vfs.Path, error) {
	if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
		return vfs.Path{}, err
	}
	fs := e.task().GetFS()
	if fs == nil {
		return vfs.Path{}, unix.ENOENT
	}
	defer fs.DecRef()
	return get(fs), nil
}

func (e *entry) mountFile(show func(ns *vfs.MountNamespace, root vfs.Path) string) *kernfs.File {
	n := e.file(0o444, func(ctx vfs.Context, b *bytes.Buffer) error {
		ns := e.task().GetNamespaces()
		if ns == nil {
			return unix.EINVAL
		}
		defer ns.DecRef()
		fs := e.task().GetFS()
		if fs == nil {
			return unix.EINVAL
		}
		defer fs.DecRef()
		root := fs.GetRoot()
		defer root.DecRef()
		b.WriteString(show(ns.Mount, root))
		return nil
	})
	n.Poll = func(*vfs.File) kernfs.Pollable {
		ns := e.task().GetNamespaces()
		if ns == nil {
			return nil
		}
		defer ns.DecRef()
		p := &mountPoll{MountNamespace: ns.Mount}
		p.seen.Store(ns.Mount.Seq())
		return p
	}
	return n
}

func (e *entry) nsDir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Mode, d.Owner = 0o511, e.owner
	for _, kind := range sentry.NamespaceKinds {
		follow := func(ctx vfs.Context) (vfs.Path, error) {
			if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
				return vfs.Path{}, err
			}
			n := e.task().Namespace(kind)
			if n == nil {
				return vfs.Path{}, unix.ENOENT
			}
			f := e.k.OpenNamespace(n, unix.O_RDONLY, ctx.Cred())
			p := f.Path
			p.IncRef()
			f.DecRef()
			return p, nil
		}
		d.Add(kind, &kernfs.MagicLink{
			Attr: kernfs.Attr{Owner: e.owner},
			Target: func(ctx vfs.Context) (string, error) {
				if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
					return "", err
				}
				n := e.task().Namespace(kind)
				if n == nil {
					return "", unix.ENOENT
				}
				defer n.DecRef()
				name := strings.TrimSuffix(kind, "_for_children")
				return fmt.Sprintf("%s:[%d]", name, n.Inum()), nil
			},
			Follow: follow,
		})
	}
	return d
}
