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
	d.Subject = pr.PID()
	d.Valid = func() bool { return !e.gone() && p.k.Process(p.ns, pr.PID().In(p.ns)) == pr }
	return d
}

// taskDir is /proc/PID/task.
func (e *entry) taskDir() *kernfs.Dir {
	p, pr := e.fs, e.t.Process()
	d := kernfs.NewDir()
	d.Owner = e.owner
	d.Permission = func(vfs.Context, uint32) error {
		if e.gone() {
			return unix.ESRCH
		}
		return nil
	}
	d.Nlink = func() uint32 { return uint32(len(pr.Threads())) + 2 }
	d.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		n, ok := number(name)
		if !ok {
			return nil, unix.ENOENT
		}
		t := p.k.Task(p.ns, n)
		if t == nil || t.Process() != pr {
			return nil, unix.ENOENT
		}
		td := (&entry{p, t, false}).dir()
		td.Valid = func() bool { return p.k.Task(p.ns, n) == t }
		return td, nil
	}
	d.List = func(vfs.Context) ([]kernfs.Entry, error) {
		if e.gone() {
			return nil, unix.ENOENT
		}
		var list []kernfs.Entry
		for _, t := range pr.Threads() {
			if id := t.PID().In(p.ns); id != 0 {
				list = append(list, kernfs.Entry{Name: strconv.Itoa(int(id)), Type: unix.DT_DIR, Ino: (&entry{p, t, false}).ino()})
			}
		}
		return list, nil
	}
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

// pidFiles are the files of /proc/PID and, unless whole is set, of /proc/PID/task/TID. They are made when somebody
// looks for them.
var pidFiles = []struct {
	name string
	which
	typ  uint8
	make func(e *entry) kernfs.Node
}{
	{"task", processes, unix.DT_DIR, nil}, // set below, since it leads back here
	{"fd", both, unix.DT_DIR, func(e *entry) kernfs.Node { return e.fdDir() }},
	{"map_files", processes, unix.DT_DIR, func(e *entry) kernfs.Node { return e.mapFiles() }},
	{"fdinfo", both, unix.DT_DIR, func(e *entry) kernfs.Node { return e.fdinfoDir() }},
	{"ns", both, unix.DT_DIR, func(e *entry) kernfs.Node { return e.nsDir() }},
	{"net", both, unix.DT_DIR, func(e *entry) kernfs.Node { return e.netDir() }},
	{"environ", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o400, e.environ) }},
	{"auxv", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o400, e.auxv) }},
	{"status", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.status) }},
	{"personality", both, unix.DT_REG, func(e *entry) kernfs.Node {
		return e.private(0o400, func(_ vfs.Context, b *bytes.Buffer) error {
			fmt.Fprintf(b, "%08x\n", e.task().Personality())
			return nil
		})
	}},
	{"limits", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.limits) }},
	{"sched", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o644, e.sched) }},
	{"timens_offsets", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.timeOffsets() }},
	{"comm", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.comm() }},
	{"syscall", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o400, e.syscall) }},
	{"cmdline", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.cmdline) }},
	{"stat", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.stat) }},
	{"statm", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.statm) }},
	{"maps", both, unix.DT_REG, func(e *entry) kernfs.Node {
		f := e.private(0o444, e.maps)
		f.Ioctl = e.procmapIoctl
		return f
	}},
	{"children", threads, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.children) }},
	{"numa_maps", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o444, e.numaMaps) }},
	{"mem", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.mem() }},
	{"cwd", both, unix.DT_LNK, func(e *entry) kernfs.Node { return e.magic(e.cwd) }},
	{"root", both, unix.DT_LNK, func(e *entry) kernfs.Node { return e.magic(e.rootDir) }},
	{"exe", both, unix.DT_LNK, func(e *entry) kernfs.Node { return e.magic(e.exe) }},
	{"mounts", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.mountFile((*vfs.MountNamespace).Mounts) }},
	{"mountinfo", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.mountFile((*vfs.MountNamespace).MountInfo) }},
	{"mountstats", processes, unix.DT_REG, func(e *entry) kernfs.Node {
		n := e.mountFile((*vfs.MountNamespace).MountStats)
		n.Mode = 0o400
		return n
	}},
	{"clear_refs", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.clearRefs() }},
	{"smaps", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o444, e.smaps) }},
	{"smaps_rollup", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o444, e.smapsRollup) }},
	{"pagemap", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.pagemap() }},
	{"attr", both, unix.DT_DIR, func(e *entry) kernfs.Node { return e.attrDir() }},
	{"wchan", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, fixed("0")) }},
	{"stack", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o400, fixed("")) }},
	{"schedstat", both, unix.DT_REG, func(e *entry) kernfs.Node {
		return e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
			u, s := e.cpuTime()
			v, iv := e.task().Switches()
			fmt.Fprintf(b, "%d 0 %d\n", u+s, v+iv)
			return nil
		})
	}},
	{"cpuset", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, fixed("/\n")) }},
	{"cgroup", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, fixed("0::/\n")) }},
	{"oom_score", both, unix.DT_REG, func(e *entry) kernfs.Node {
		return e.file(0o444, func(_ vfs.Context, b *bytes.Buffer) error {
			fmt.Fprintln(b, e.t.Process().OOMScore())
			return nil
		})
	}},
	{"oom_adj", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.oomAdj(oldOOM, newOOM, -17, 15) }},
	{"oom_score_adj", both, unix.DT_REG, func(e *entry) kernfs.Node {
		same := func(v int64) int64 { return v }
		return e.oomAdj(same, same, -1000, 1000)
	}},
	{"loginuid", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o644, fixed("4294967295")) }},
	{"sessionid", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, fixed("4294967295")) }},
	{"io", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.private(0o400, e.io) }},
	{"uid_map", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.idMap(0) }},
	{"gid_map", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.idMap(1) }},
	{"projid_map", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o644, fixed("")) }},
	{"setgroups", both, unix.DT_REG, func(e *entry) kernfs.Node { return e.setgroups() }},
	{"coredump_filter", processes, unix.DT_REG, func(e *entry) kernfs.Node { return e.coreFilter() }},
	{"timers", processes, unix.DT_REG, func(e *entry) kernfs.Node { return e.file(0o444, e.timers) }},
	{"timerslack_ns", processes, unix.DT_REG, func(e *entry) kernfs.Node { return e.timerSlack() }},
}

func init() { pidFiles[0].make = func(e *entry) kernfs.Node { return e.taskDir() } }

// which tells where a file is.
type which uint8

const (
	both which = iota
	processes
	threads
)

func (w which) has(whole bool) bool { return w == both || whole == (w == processes) }

// fixed is the content of a file that says the same of all.
func fixed(s string) func(vfs.Context, *bytes.Buffer) error {
	return func(_ vfs.Context, b *bytes.Buffer) error {
		b.WriteString(s)
		return nil
	}
}

// inode numbers of a process: those of its files follow that of its directory.
func (e *entry) ino() uint64 {
	if e.whole {
		return 1<<40 + e.t.Process().PID().Ino()<<8
	}
	return 1<<48 + e.t.PID().Ino()<<8
}

// attrOf is what all kinds of nodes have.
func attrOf(n kernfs.Node) *kernfs.Attr {
	switch n := n.(type) {
	case *kernfs.Dir:
		return &n.Attr
	case *kernfs.File:
		return &n.Attr
	case *kernfs.MagicLink:
		return &n.Attr
	case *kernfs.Symlink:
		return &n.Attr
	}
	return nil
}

// dir is the directory of a process or thread.
func (e *entry) dir() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Owner = e.owner
	d.Ino = e.ino()
	d.Permission = func(ctx vfs.Context, _ uint32) error {
		if e.gone() {
			return unix.ESRCH
		}
		return e.hidden(ctx)
	}
	d.Nlink = func() uint32 {
		if e.whole {
			return 9
		}
		return 8
	}
	valid := func() bool { return !e.gone() }
	base := d.Ino + 1
	d.Lookup = func(_ vfs.Context, name string) (kernfs.Node, error) {
		if e.gone() {
			return nil, unix.ENOENT
		}
		for i := range pidFiles {
			if f := &pidFiles[i]; f.name == name && f.has(e.whole) {
				n := f.make(e)
				a := attrOf(n)
				a.Ino, a.Valid = base+uint64(i), valid
				return n, nil
			}
		}
		return nil, unix.ENOENT
	}
	d.List = func(vfs.Context) ([]kernfs.Entry, error) {
		if e.gone() {
			return nil, unix.ENOENT
		}
		list := make([]kernfs.Entry, 0, len(pidFiles))
		for i, f := range pidFiles {
			if f.has(e.whole) {
				list = append(list, kernfs.Entry{Name: f.name, Type: f.typ, Ino: base + uint64(i)})
			}
		}
		return list, nil
	}
	return d
}

// magic is a link to a place of the process.
func (e *entry) magic(follow func(vfs.Context) (vfs.Path, error)) *kernfs.MagicLink {
	return &kernfs.MagicLink{Attr: kernfs.Attr{Owner: e.owner}, Target: e.linkText(follow), Follow: follow}
}

// children are those of the process: they are shown at its leader.
func (e *entry) children(_ vfs.Context, b *bytes.Buffer) error {
	if e.t.Process().Leader() == e.t {
		for _, c := range e.t.Process().Children() {
			if n := e.numberIn(c.PID()); n != 0 {
				fmt.Fprintf(b, "%d ", n)
			}
		}
	}
	return nil
}

// oldOOM turns oom_score_adj into oom_adj, newOOM the other way.
func oldOOM(v int64) int64 {
	if v == 1000 {
		return 15
	}
	return v * 17 / 1000
}

func newOOM(v int64) int64 {
	if v == 15 {
		return 1000
	}
	return v * 1000 / 17
}

// coreFilter is coredump_filter. It is kept; no core files are written.
func (e *entry) coreFilter() *kernfs.File {
	f := e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error {
		fmt.Fprintf(b, "%08x\n", e.t.Process().CoreFilter())
		return nil
	})
	f.Write = func(_ vfs.Context, data []byte) error {
		v, err := strconv.ParseUint(strings.TrimSpace(string(data)), 0, 32)
		if err != nil {
			return unix.EINVAL
		}
		if e.gone() {
			return unix.ESRCH
		}
		e.t.Process().SetCoreFilter(uint32(v))
		return nil
	}
	return f
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
		if i >= len(rlimitNames) {
			break
		}
		fmt.Fprintf(b, "%-25s %-20s %-20s ", rlimitNames[i].name, show(l.Cur), show(l.Max))
		if u := rlimitNames[i].unit; u != "" {
			fmt.Fprintf(b, "%-10s", u)
		}
		b.WriteByte('\n')
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
