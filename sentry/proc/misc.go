package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
	"gosv.dev/vfs/waitq"
)

// attrDir is /proc/PID/attr: there is no security module, so nothing can be read or written.
func (e *entry) attrDir() *kernfs.Dir {
	d := kernfs.NewDir()
	for _, n := range []string{"current", "prev", "exec", "fscreate", "keycreate", "sockcreate"} {
		mode := uint32(0o666)
		if n == "prev" {
			mode = 0o444
		}
		d.Add(n, e.file(mode, func(vfs.Context, *bytes.Buffer) error { return unix.EINVAL }))
	}
	return d
}

// timers is /proc/PID/timers.
func (e *entry) timers(_ vfs.Context, b *bytes.Buffer) error {
	kinds := map[int32]string{0: "signal", 1: "none", 2: "thread", 4: "signal"}
	for _, t := range e.t.Process().PosixTimers() {
		who := "pid"
		if t.Thread {
			who = "tid"
		}
		fmt.Fprintf(b, "ID: %d\nsignal: %d/%016x\nnotify: %s/%s.%d\nClockID: %d\n", t.ID, t.Signal, t.Value, kinds[t.Notify], who,
			t.Target.In(e.ns), t.Clock)
	}
	return nil
}

// timeOffsets is /proc/PID/timens_offsets: of the time namespace of children.
func (e *entry) timeOffsets() *kernfs.File {
	f := e.file(0o644, func(_ vfs.Context, b *bytes.Buffer) error {
		ns := e.task().GetNamespaces()
		if ns == nil {
			return unix.ESRCH
		}
		defer ns.DecRef()
		mono, boot := ns.TimeFor.Offsets()
		for _, o := range []struct {
			name string
			d    time.Duration
		}{{"monotonic", mono}, {"boottime", boot}} {
			sec, nsec := int64(o.d/time.Second), int64(o.d%time.Second)
			if nsec < 0 {
				sec, nsec = sec-1, nsec+1e9
			}
			fmt.Fprintf(b, "%-10s %10d %9d\n", o.name, sec, nsec)
		}
		return nil
	})
	f.Write = func(ctx vfs.Context, data []byte) error {
		ns := e.task().GetNamespaces()
		if ns == nil {
			return unix.ESRCH
		}
		defer ns.DecRef()
		if !ctx.Cred().HasIn(ns.TimeFor.UserNS(), unix.CAP_SYS_TIME) {
			return unix.EPERM
		}
		clocks := map[string]int32{"monotonic": unix.CLOCK_MONOTONIC, "boottime": unix.CLOCK_BOOTTIME,
			strconv.Itoa(unix.CLOCK_MONOTONIC): unix.CLOCK_MONOTONIC, strconv.Itoa(unix.CLOCK_BOOTTIME): unix.CLOCK_BOOTTIME}
		for _, l := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
			w := strings.Fields(l)
			if len(w) != 3 {
				return unix.EINVAL
			}
			id, ok := clocks[w[0]]
			sec, err1 := strconv.ParseInt(w[1], 10, 64)
			nsec, err2 := strconv.ParseInt(w[2], 10, 64)
			if !ok || err1 != nil || err2 != nil || nsec < 0 || nsec >= 1e9 {
				return unix.EINVAL
			}
			const limit = 1 << 32 // seconds; Linux takes about twice as much
			now := bootTime()
			if sec > limit || sec < -limit || time.Duration(sec)*time.Second+now < 0 {
				return unix.ERANGE
			}
			if err := ns.TimeFor.SetOffset(id, time.Duration(sec)*time.Second+time.Duration(nsec)); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}

// mountPoll lets pollers of mounts and mountinfo see that the tree has changed since they opened the file.
type mountPoll struct {
	*vfs.MountNamespace
	seen atomic.Uint64
}

// Readiness implements waitq.Waitable. A change is told once.
func (m *mountPoll) Readiness(mask waitq.Events) waitq.Events {
	ev := waitq.Readable
	if seq := m.Seq(); m.seen.Swap(seq) != seq {
		ev |= waitq.Err | waitq.Pri
	}
	return ev & (mask | waitq.Always)
}
