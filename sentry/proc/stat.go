package proc

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"gosv.dev/mm"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// cpuTime is user and system time in nanoseconds.
func (e *entry) cpuTime() (int64, int64) {
	var u, s time.Duration
	if e.whole {
		u, s = e.t.Process().CPUTime()
	} else {
		u, s = e.t.CPUTime()
	}
	return int64(u), int64(s)
}

func (e *entry) usage() sentry.Usage {
	if e.whole {
		return e.t.Process().Usage()
	}
	return e.t.Usage()
}

// numberIn is a pid in the mount's namespace, or 0.
func (e *entry) numberIn(p *sentry.PID) int32 {
	if p == nil {
		return 0
	}
	return p.In(e.ns)
}

func (e *entry) ppid() int32 {
	if parent := e.t.Process().Parent(); parent != nil {
		return e.numberIn(parent.PID())
	}
	return 0
}

// priority is what stat shows for a policy and a nice value.
func priority(s sentry.Sched) int32 {
	const fifo, rr, deadline = 1, 2, 6
	switch s.Policy {
	case fifo, rr:
		return -1 - s.RTPriority
	case deadline:
		return -101
	}
	return 20 + s.Nice
}

// stat is proc_pid_stat(5).
func (e *entry) stat(ctx vfs.Context, b *bytes.Buffer) error {
	t := e.task()
	pr := t.Process()
	look := e.mayLook(ctx, sentry.PtraceRead) == nil
	u, cu := e.usage(), pr.ChildUsage()
	sch := t.Sched()
	tty, tpgid := int32(0), int32(-1)
	if term := pr.Terminal(); term != nil {
		tty, tpgid = e.terminal(ctx, term)
	}
	own, shared := t.PendingSignals()
	ignored, caught, blocked := t.SignalActions()
	var l mm.Layout
	var vsize, rss uint64
	if as := t.GetMM(); as != nil {
		if look {
			l = as.Layout()
		}
		us := as.Usage()
		vsize, rss = us.VmSize, us.VmRSS/4096
		as.DecUsers()
	}
	utime, stime := e.cpuTime()
	exit := uint32(0)
	if look {
		exit = uint32(pr.ExitStatus())
	}
	pending := own
	if e.whole {
		pending |= shared
	}
	fmt.Fprintf(b, "%d (%s) %c %d %d %d %d %d 0 %d %d %d %d %d %d %d %d %d %d %d 0 %d %d %d %d %d %d %d 0 0 %d %d %d %d 0 0 0 %d %d %d %d 0 0 0 %d %d %d %d %d %d %d %d\n",
		t.PID().In(e.ns), t.Name(), t.State(), e.ppid(), e.numberIn(pr.PGID()), e.numberIn(pr.SID()), tty, tpgid,
		u.MinFlt, cu.MinFlt, u.MajFlt, cu.MajFlt, ticks(utime), ticks(stime), ticks(int64(cu.User)), ticks(int64(cu.System)),
		priority(sch), sch.Nice, len(pr.Threads()), ticks(int64(e.boot+t.StartTime())), vsize, rss, pr.Limit(5).Cur,
		l.StartCode, l.EndCode, l.StartStack,
		uint64(pending)&0x7fffffff, uint64(blocked)&0x7fffffff, uint64(ignored)&0x7fffffff, uint64(caught)&0x7fffffff,
		pr.ExitSignal(), t.CPU(), sch.RTPriority, sch.Policy,
		l.StartData, l.EndData, l.StartBrk, l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd, exit)
	return nil
}

func (e *entry) statm(_ vfs.Context, b *bytes.Buffer) error {
	var s mm.Statm
	e.withMM(func(as *mm.AddressSpace) error {
		s = as.Statm()
		return nil
	})
	fmt.Fprintf(b, "%d %d %d %d %d %d %d\n", s.Size, s.Resident, s.Shared, s.Text, s.Lib, s.Data, s.Dt)
	return nil
}

var stateNames = map[byte]string{
	'R': "R (running)", 'S': "S (sleeping)", 'D': "D (disk sleep)", 'T': "T (stopped)", 't': "t (tracing stop)",
	'X': "X (dead)", 'Z': "Z (zombie)",
}

// escape makes a name fit on a line of status.
func escape(s string) string { return strings.NewReplacer("\\", `\\`, "\n", `\n`).Replace(s) }

// status is proc_pid_status(5).
func (e *entry) status(ctx vfs.Context, b *bytes.Buffer) error {
	t := e.task()
	pr := t.Process()
	c := t.Cred()
	reader := c.UserNS
	if rc := ctx.Cred(); rc != nil {
		reader = rc.UserNS
	}
	row := func(name, format string, args ...any) {
		b.WriteString(name)
		b.WriteString(":\t")
		fmt.Fprintf(b, format, args...)
		b.WriteByte('\n')
	}
	row("Name", "%s", escape(t.Name()))
	row("Umask", "%04o", e.umask())
	row("State", "%s", stateNames[t.State()])
	row("Tgid", "%d", e.numberIn(pr.PID()))
	row("Ngid", "0")
	row("Pid", "%d", e.numberIn(t.PID()))
	row("PPid", "%d", e.ppid())
	row("TracerPid", "%d", t.Tracer(e.ns))
	row("Uid", "%d\t%d\t%d\t%d", reader.ShowUID(c.UID), reader.ShowUID(c.EUID), reader.ShowUID(c.SUID), reader.ShowUID(c.FSUID))
	row("Gid", "%d\t%d\t%d\t%d", reader.ShowGID(c.GID), reader.ShowGID(c.EGID), reader.ShowGID(c.SGID), reader.ShowGID(c.FSGID))
	files := 0
	if ft := t.GetFiles(); ft != nil {
		files = ft.Size()
		ft.DecRef(vfs.KernelContext())
	}
	row("FDSize", "%d", files)
	b.WriteString("Groups:\t")
	for _, g := range c.Groups {
		fmt.Fprintf(b, "%d ", reader.ShowGID(g))
	}
	if len(c.Groups) == 0 {
		b.WriteByte(' ')
	}
	b.WriteByte('\n')
	numbers := func(p *sentry.PID) string {
		if p == nil {
			return "0"
		}
		var s []string
		for _, n := range p.Numbers(e.ns) {
			s = append(s, fmt.Sprint(n))
		}
		return strings.Join(s, "\t")
	}
	row("NStgid", "%s", numbers(pr.PID()))
	row("NSpid", "%s", numbers(t.PID()))
	row("NSpgid", "%s", numbers(pr.PGID()))
	row("NSsid", "%s", numbers(pr.SID()))
	row("Kthread", "0")
	e.withMM(func(as *mm.AddressSpace) error {
		u := as.Usage()
		for _, m := range []struct {
			name  string
			bytes uint64
		}{
			{"VmPeak", u.VmPeak}, {"VmSize", u.VmSize}, {"VmLck", u.VmLck}, {"VmPin", u.VmPin}, {"VmHWM", u.VmHWM},
			{"VmRSS", u.VmRSS}, {"RssAnon", u.RssAnon}, {"RssFile", u.RssFile}, {"RssShmem", u.RssShmem},
			{"VmData", u.VmData}, {"VmStk", u.VmStk}, {"VmExe", u.VmExe}, {"VmLib", u.VmLib}, {"VmPTE", u.VmPTE},
			{"VmSwap", 0}, {"HugetlbPages", 0},
		} {
			row(m.name, "%8d kB", m.bytes/1024)
		}
		row("CoreDumping", "0")
		row("THP_enabled", "1")
		row("untag_mask", "0xffffffffffffffff")
		return nil
	})
	row("Threads", "%d", len(pr.Threads()))
	n, limit := t.QueuedSignals()
	row("SigQ", "%d/%d", n, limit)
	own, shared := t.PendingSignals()
	ignored, caught, blocked := t.SignalActions()
	row("SigPnd", "%016x", uint64(own))
	row("ShdPnd", "%016x", uint64(shared))
	row("SigBlk", "%016x", uint64(blocked))
	row("SigIgn", "%016x", uint64(ignored))
	row("SigCgt", "%016x", uint64(caught))
	row("CapInh", "%016x", uint64(c.Inheritable))
	row("CapPrm", "%016x", uint64(c.Permitted))
	row("CapEff", "%016x", uint64(c.Effective))
	row("CapBnd", "%016x", uint64(c.Bounding))
	row("CapAmb", "%016x", uint64(c.Ambient))
	nnp := 0
	if t.NoNewPrivs() {
		nnp = 1
	}
	row("NoNewPrivs", "%d", nnp)
	mode, filters := t.SeccompMode()
	row("Seccomp", "%d", mode)
	row("Seccomp_filters", "%d", filters)
	for _, l := range e.cpu.Speculation {
		row(l.Key, "%s", l.Value)
	}
	aff := t.Affinity()
	row("Cpus_allowed", "%s", cpuMask(aff, e.k.CPUs()))
	row("Cpus_allowed_list", "%s", cpuList(aff, e.k.CPUs()))
	row("Mems_allowed", "%s", strings.Repeat("00000000,", 31)+"00000001") // 1024 nodes are possible
	row("Mems_allowed_list", "0")
	v, iv := t.Switches()
	row("voluntary_ctxt_switches", "%d", v)
	row("nonvoluntary_ctxt_switches", "%d", iv)
	return nil
}

func (e *entry) umask() uint32 {
	fs := e.task().GetFS()
	if fs == nil {
		return 0
	}
	defer fs.DecRef()
	return fs.Umask()
}

// cpuMask prints a set as hexadecimal words of 32 processors, the highest first.
func cpuMask(s sentry.CPUSet, cpus int) string {
	var words []string
	for w := (cpus - 1) / 32; w >= 0; w-- {
		v := uint32(s[w/2] >> (32 * (w % 2)))
		format := "%08x"
		if w == (cpus-1)/32 {
			format = fmt.Sprintf("%%0%dx", ((cpus-1)%32)/4+1)
		}
		words = append(words, fmt.Sprintf(format, v))
	}
	return strings.Join(words, ",")
}

// cpuList prints a set as ranges.
func cpuList(s sentry.CPUSet, cpus int) string {
	var parts []string
	for i := 0; i < cpus; i++ {
		if s[i/64]>>(i%64)&1 == 0 {
			continue
		}
		j := i
		for j+1 < cpus && s[(j+1)/64]>>((j+1)%64)&1 != 0 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		} else {
			parts = append(parts, fmt.Sprint(i))
		}
		i = j
	}
	return strings.Join(parts, ",")
}

// syscall tells what call the task sleeps in.
func (e *entry) syscall(ctx vfs.Context, b *bytes.Buffer) error {
	t := e.task()
	nr, a, sp, pc, ok := t.CallOf(t == caller(e.k, ctx))
	switch {
	case !ok:
		b.WriteString("running\n")
	case nr < 0:
		fmt.Fprintf(b, "-1 0x%x 0x%x\n", sp, pc)
	default:
		fmt.Fprintf(b, "%d 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x\n", nr, a[0], a[1], a[2], a[3], a[4], a[5], sp, pc)
	}
	return nil
}

func (e *entry) io(_ vfs.Context, b *bytes.Buffer) error {
	var c sentry.IOCounts
	if e.whole {
		c = e.t.Process().IOCounts()
	} else {
		c = e.t.IOCounts()
	}
	u := e.usage()
	fmt.Fprintf(b, "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 0\n",
		c.ReadBytes, c.WrittenBytes, c.Reads, c.Writes, u.InBlock*512, u.OuBlock*512)
	return nil
}

func (e *entry) sched(_ vfs.Context, b *bytes.Buffer) error {
	t := e.task()
	u, s := e.cpuTime()
	v, iv := t.Switches()
	head := fmt.Sprintf("%s (%d, #threads: %d)\n", t.Name(), t.PID().In(e.ns), len(t.Process().Threads()))
	b.WriteString(head)
	b.WriteString(strings.Repeat("-", 67) + "\n")
	ms := func(ns int64) string { return fmt.Sprintf("%d.%06d", ns/1e6, ns%1e6) }
	fmt.Fprintf(b, "%-45s:%21s\n", "se.exec_start", ms(int64(time.Since(e.k.Boot()))))
	fmt.Fprintf(b, "%-45s:%21s\n", "se.sum_exec_runtime", ms(u+s))
	fmt.Fprintf(b, "%-45s:%21d\n", "nr_switches", v+iv)
	fmt.Fprintf(b, "%-45s:%21d\n", "nr_voluntary_switches", v)
	fmt.Fprintf(b, "%-45s:%21d\n", "nr_involuntary_switches", iv)
	sch := t.Sched()
	fmt.Fprintf(b, "%-45s:%21d\n", "policy", sch.Policy)
	fmt.Fprintf(b, "%-45s:%21d\n", "prio", 100+priority(sch))
	return nil
}
