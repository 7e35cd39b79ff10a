package proc

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

const magic = 0x9fa0 // PROC_SUPER_MAGIC

// fs is one mounted proc.
type fs struct {
	k  *sentry.Kernel
	ns *sentry.PIDNamespace
}

// NewType returns the file system type. A mount shows the pid namespace of who mounts it.
func NewType(k *sentry.Kernel) *vfs.FileSystemType {
	t := kernfs.NewFSFunc("proc", magic, func(ctx vfs.Context, t *vfs.FileSystemType, source, data string) (*vfs.Superblock, error) {
		p := &fs{k: k, ns: k.RootPIDNS()}
		if c := caller(k, ctx); c != nil {
			p.ns = c.Namespaces().PID
		}
		return kernfs.NewSuperblock(t, source, magic, p.root()), nil
	})
	t.UserNS = true
	return t
}

// caller is the task that asks, or nil for the kernel.
func caller(k *sentry.Kernel, ctx vfs.Context) *sentry.Task {
	if t, ok := ctx.(*sentry.Task); ok {
		return t
	}
	if tid := ctx.TID(); tid != 0 {
		return k.Task(k.RootPIDNS(), tid)
	}
	return nil
}

// root is the top directory.
func (p *fs) root() *kernfs.Dir {
	d := p.system()
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
		if t == nil {
			return nil, unix.ENOENT
		}
		return p.process(t.Process()), nil
	}
	d.List = func(ctx vfs.Context) ([]kernfs.Entry, error) {
		var list []kernfs.Entry
		for _, pr := range p.k.Processes(p.ns) {
			id := pr.PID().In(p.ns)
			list = append(list, kernfs.Entry{Name: strconv.Itoa(int(id)), Type: unix.DT_DIR, Ino: 1<<33 + uint64(id)})
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

func ticksU(ns int64) uint64 { return uint64(ticks(ns)) }
