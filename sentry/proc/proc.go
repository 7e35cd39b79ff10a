package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
	"gosv.dev/sentry/proc/hostcpu"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/kernfs"
)

const magic = 0x9fa0 // PROC_SUPER_MAGIC

// fs is one mounted proc.
type fs struct {
	*shared
	ns      *sentry.PIDNamespace
	hidePID int    // hidepid=: 0, 1, 2 or 4
	gid     uint32 // gid=: the group that sees everything
	subset  bool   // subset=pid: nothing but processes
}

// shared is what all mounts have in common.
type shared struct {
	k    *sentry.Kernel
	cpu  *hostcpu.CPU
	sys  *kernfs.Dir   // /proc/sys
	boot time.Duration // what the host's boot-time clock showed when the sandbox began
	cpus cpuAccount

	// mounted are the superblocks, protected by mu.
	mu      sync.Mutex
	mounted map[*vfs.Superblock]*fs
}

// released drops from the caches of all mounts what they have of a thread that has been waited for: dentries would
// keep it and its process until they are old enough.
func (s *shared) released(tgid, tid *sentry.PID) {
	s.mu.Lock()
	var few [4]*vfs.Superblock
	list := few[:0]
	for sb, p := range s.mounted {
		if tid.In(p.ns) != 0 && sb.TryIncRef() {
			list = append(list, sb)
		}
	}
	s.mu.Unlock()
	for _, sb := range list {
		ns := sb.Data.(*fs).ns
		n := strconv.Itoa(int(tid.In(ns)))
		sb.Root.Forget(n)
		if tgid != tid {
			sb.Root.Forget(strconv.Itoa(int(tgid.In(ns))), "task", n)
		}
		sb.DecRef()
	}
}

// NewType returns the file system type. A mount shows the pid namespace of who mounts it. cpu describes the
// host's processors.
func NewType(k *sentry.Kernel, cpu *hostcpu.CPU) *vfs.FileSystemType {
	s := &shared{k: k, cpu: cpu, boot: bootTime() - time.Since(k.Boot()), mounted: make(map[*vfs.Superblock]*fs)}
	k.OnRelease(s.released)
	s.sys = kernfs.Lazy(s.sysctls)
	t := kernfs.NewFSFunc("proc", magic, func(ctx vfs.Context, t *vfs.FileSystemType, source, data string) (*vfs.Superblock, error) {
		p := &fs{shared: s, ns: k.RootPIDNS()}
		if c := caller(k, ctx); c != nil {
			p.ns = c.Namespaces().PID
		}
		if err := p.options(ctx, data); err != nil {
			return nil, err
		}
		p.ns.IncRef()
		sb := kernfs.NewSuperblock(t, source, magic, p.root())
		sb.Data = p
		sb.Kill = func(*vfs.Superblock) {
			s.mu.Lock()
			delete(s.mounted, sb)
			s.mu.Unlock()
			p.ns.DecRef()
		}
		s.mu.Lock()
		s.mounted[sb] = p
		s.mu.Unlock()
		return sb, nil
	})
	t.UserNS = true
	t.ShowOptions = func(sb *vfs.Superblock) string { return sb.Data.(*fs).showOptions() }
	t.Reconfigure = func(ctx vfs.Context, sb *vfs.Superblock, _ uint64, data string) error {
		n := *sb.Data.(*fs)
		return n.options(ctx, data) // what has been mounted stays as it is
	}
	return t
}

// bootTime is the host's boot-time clock, which is also the guests'.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// options reads the options of a mount.
func (p *fs) options(ctx vfs.Context, data string) error {
	for _, o := range strings.Split(data, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "":
		case "hidepid":
			n, ok := map[string]int{"0": 0, "off": 0, "1": 1, "noaccess": 1, "2": 2, "invisible": 2, "4": 4, "ptraceable": 4}[value]
			if !ok {
				return unix.EINVAL
			}
			p.hidePID = n
		case "gid":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return unix.EINVAL
			}
			if p.gid = ctx.Cred().UserNS.MapGIDToKernel(uint32(n)); p.gid == cred.Invalid {
				return unix.EINVAL
			}
		case "subset":
			if value != "pid" {
				return unix.EINVAL
			}
			p.subset = true
		default:
			return unix.EINVAL
		}
	}
	return nil
}

func (p *fs) showOptions() string {
	var s []string
	if p.gid != 0 {
		s = append(s, fmt.Sprintf("gid=%d", p.gid))
	}
	if p.hidePID != 0 {
		s = append(s, "hidepid="+map[int]string{1: "noaccess", 2: "invisible", 4: "ptraceable"}[p.hidePID])
	}
	if p.subset {
		s = append(s, "subset=pid")
	}
	return strings.Join(s, ",")
}

// mayList tells whether hidepid= lets the caller see t at the given strictness.
func (p *fs) mayList(ctx vfs.Context, t *sentry.Task, strictness int) bool {
	if p.hidePID < strictness {
		return true
	}
	c := ctx.Cred()
	if p.hidePID < 4 && c.InGroup(p.gid) {
		return true
	}
	by := caller(p.k, ctx)
	return by == nil || by.PtraceMayAccess(t, sentry.PtraceRead)
}

// hidden is the error for looking into a directory that hidepid= keeps from the caller.
func (e *entry) hidden(ctx vfs.Context) error {
	if e.hidePID == 0 || e.mayList(ctx, e.task(), 1) {
		return nil
	}
	if e.hidePID >= 2 {
		return unix.ENOENT
	}
	return unix.EPERM
}

// caller is the task that asks, or nil for the kernel.
func caller(k *sentry.Kernel, ctx vfs.Context) *sentry.Task {
	if t, ok := vfs.Unwrap(ctx).(*sentry.Task); ok {
		return t
	}
	if tid := ctx.TID(); tid != 0 {
		return k.Task(k.RootPIDNS(), tid)
	}
	return nil
}

// root is the top directory.
func (p *fs) root() *kernfs.Dir {
	d := kernfs.NewDir()
	if !p.subset {
		d = p.system()
	}
	d.Add("self", &kernfs.Symlink{Target: func(ctx vfs.Context) (string, error) {
		t := caller(p.k, ctx)
		if t == nil || t.Process().PID().In(p.ns) == 0 {
			return "", unix.ENOENT
		}
		return fmt.Sprint(t.Process().PID().In(p.ns)), nil
	}})
	d.Add("thread-self", &kernfs.Symlink{Target: func(ctx vfs.Context) (string, error) {
		t := caller(p.k, ctx)
		if t == nil || t.PID().In(p.ns) == 0 {
			return "", unix.ENOENT
		}
		return fmt.Sprintf("%d/task/%d", t.Process().PID().In(p.ns), t.PID().In(p.ns)), nil
	}})
	for _, n := range []string{"mounts", "net"} {
		d.Add(n, kernfs.Link("self/"+n))
	}
	d.Nlink = func() uint32 { return uint32(len(p.k.Processes(p.ns))) + 9 }
	d.Lookup = func(ctx vfs.Context, name string) (kernfs.Node, error) {
		n, ok := number(name)
		if !ok {
			return nil, unix.ENOENT
		}
		// Threads that are no leaders can be found, though they are not listed.
		t := p.k.Task(p.ns, n)
		if t == nil {
			if pr := p.k.Process(p.ns, n); pr != nil {
				t = pr.Leader()
			}
		}
		if t == nil || p.hidePID >= 2 && !p.mayList(ctx, t, 2) {
			return nil, unix.ENOENT
		}
		return p.process(t.Process()), nil
	}
	d.List = func(ctx vfs.Context) ([]kernfs.Entry, error) {
		var list []kernfs.Entry
		for _, pr := range p.k.Processes(p.ns) {
			if l := pr.Leader(); p.hidePID >= 2 && l != nil && !p.mayList(ctx, l, 2) {
				continue
			}
			id := pr.PID().In(p.ns)
			list = append(list, kernfs.Entry{Name: strconv.Itoa(int(id)), Type: unix.DT_DIR, Ino: 1<<40 + pr.PID().Ino()<<8})
		}
		return list, nil
	}
	return d
}

// number reads a name that is a pid: digits without a leading zero.
func number(name string) (int32, bool) {
	if name == "" || name[0] == '0' || len(name) > 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 31)
	return int32(n), err == nil
}

// text is a file that f prints.
func text(f func(ctx vfs.Context, b *bytes.Buffer)) *kernfs.File {
	return &kernfs.File{Read: func(ctx vfs.Context, b *bytes.Buffer) error {
		f(ctx, b)
		return nil
	}}
}

// ticks are hundredths of a second, the unit of processor times in proc.
func ticks(ns int64) int64 { return ns / 10_000_000 }
