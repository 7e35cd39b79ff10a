package proc

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/sentry/ipc"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/kernfs"
)

// sysctl is a file below /proc/sys.
type sysctl struct {
	read  func(ctx vfs.Context) (string, error)
	write func(ctx vfs.Context, s string) error
	mode  uint32 // 0: 0444 or 0644
}

// sysctlPermission is how access to /proc/sys is decided: by user and group, whatever the capabilities.
func sysctlPermission(mode uint32) func(ctx vfs.Context, mask uint32) error {
	return func(ctx vfs.Context, mask uint32) error {
		c := ctx.Cred()
		m := mode
		switch {
		case c.EUID == 0:
			m >>= 6
		case c.InEGroup(0):
			m >>= 3
		}
		if mask&(vfs.MayRead|vfs.MayWrite|vfs.MayExec)&^m != 0 {
			return unix.EACCES
		}
		return kernfs.ErrAllow
	}
}

func (s *sysctl) file() *kernfs.File {
	f := &kernfs.File{MaxWrite: 4096}
	f.Mode = s.mode
	if f.Mode == 0 {
		f.Mode = 0o444
		if s.write != nil {
			f.Mode = 0o644
		}
	}
	f.Permission = sysctlPermission(f.Mode)
	if s.read != nil {
		f.Read = func(ctx vfs.Context, b *bytes.Buffer) error {
			text, err := s.read(ctx)
			if err != nil {
				return err
			}
			b.WriteString(text)
			b.WriteByte('\n')
			return nil
		}
	}
	if s.write != nil {
		f.Write = func(ctx vfs.Context, data []byte) error { return s.write(ctx, string(data)) }
	}
	return f
}

// numbers reads the numbers of a write, n of them at most.
func numbers(s string, n int) ([]int64, error) {
	w := strings.Fields(strings.TrimRight(s, "\x00"))
	if len(w) == 0 {
		return nil, unix.EINVAL
	}
	var list []int64
	for _, x := range w[:min(len(w), n)] {
		v, err := strconv.ParseInt(x, 0, 64)
		if err != nil {
			u, err := strconv.ParseUint(x, 0, 64)
			if err != nil {
				return nil, unix.EINVAL
			}
			v = int64(u)
		}
		list = append(list, v)
	}
	return list, nil
}

// constant is a file that only tells.
func constant(s string) *sysctl {
	return &sysctl{read: func(vfs.Context) (string, error) { return s, nil }}
}

// told is a file that only tells what f returns.
func told(f func(ctx vfs.Context) int64) *sysctl {
	return &sysctl{read: func(ctx vfs.Context) (string, error) { return strconv.FormatInt(f(ctx), 10), nil }}
}

// number is a file with one number that get returns and set changes, within limits.
func numberOf(get func(ctx vfs.Context) int64, set func(ctx vfs.Context, v int64) error, lo, hi int64) *sysctl {
	s := told(get)
	s.write = func(ctx vfs.Context, text string) error {
		v, err := numbers(text, 1)
		if err != nil {
			return err
		}
		if v[0] < lo || v[0] > hi {
			return unix.EINVAL
		}
		return set(ctx, v[0])
	}
	return s
}

// kept is a number that is kept and has no effect beyond that, because what it is about is not there
// or done by the host.
func kept(v, lo, hi int64) *sysctl {
	n := new(atomic.Int64)
	n.Store(v)
	return numberOf(func(vfs.Context) int64 { return n.Load() }, func(_ vfs.Context, v int64) error {
		n.Store(v)
		return nil
	}, lo, hi)
}

// keptList is a list of numbers that is kept.
func keptList(init ...int64) *sysctl {
	var mu sync.Mutex
	list := init
	return &sysctl{
		read: func(vfs.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			return tabs(list...), nil
		},
		write: func(_ vfs.Context, s string) error {
			v, err := numbers(s, len(init))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			list = append(v, list[len(v):]...)
			return nil
		},
	}
}

// keptText is a string that is kept, at most n bytes long.
func keptText(init string, n int) *sysctl {
	var v atomic.Pointer[string]
	v.Store(&init)
	return &sysctl{
		read: func(vfs.Context) (string, error) { return *v.Load(), nil },
		write: func(_ vfs.Context, s string) error {
			s, _, _ = strings.Cut(strings.TrimRight(s, "\x00"), "\n")
			s = s[:min(len(s), n)]
			v.Store(&s)
			return nil
		},
	}
}

func tabs(v ...int64) string {
	var s []string
	for _, n := range v {
		s = append(s, strconv.FormatInt(n, 10))
	}
	return strings.Join(s, "\t")
}

// value64 is a large number of the registry, not negative.
func value64(v *atomic.Int64) *sysctl {
	return numberOf(func(vfs.Context) int64 { return v.Load() }, func(_ vfs.Context, n int64) error {
		v.Store(n)
		return nil
	}, 0, math.MaxInt64)
}

// value32 is a number of the registry.
func value32(v *atomic.Int32, lo, hi int64) *sysctl {
	return numberOf(func(vfs.Context) int64 { return int64(v.Load()) }, func(_ vfs.Context, n int64) error {
		v.Store(int32(n))
		return nil
	}, lo, hi)
}

// newUUID is a random one (version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// namespaces are the caller's, with a reference.
func (s *shared) namespaces(ctx vfs.Context) *sentry.Namespaces {
	if t := caller(s.k, ctx); t != nil {
		if ns := t.GetNamespaces(); ns != nil {
			return ns
		}
	}
	ns := s.k.RootNamespaces()
	ns.IncRef()
	return ns
}

// ipcOf is the System V objects of the caller's ipc namespace.
func (s *shared) ipcOf(ctx vfs.Context) (*ipc.Namespace, error) {
	ns := s.namespaces(ctx)
	defer ns.DecRef()
	o, err := ns.IPC.Objects()
	if err != nil {
		return nil, err
	}
	n, ok := o.(*ipc.Namespace)
	if !ok {
		return nil, unix.ENOENT
	}
	return n, nil
}

// ipcLimit is a limit of the caller's ipc namespace.
func (s *shared) ipcLimit(field func(l *ipc.Limits) *atomic.Int64, lo, hi int64) *sysctl {
	return s.ipcLimits(lo, hi, field)
}

// ipcLimits are several of them in one file.
func (s *shared) ipcLimits(lo, hi int64, fields ...func(l *ipc.Limits) *atomic.Int64) *sysctl {
	return &sysctl{
		read: func(ctx vfs.Context) (string, error) {
			n, err := s.ipcOf(ctx)
			if err != nil {
				return "", err
			}
			var v []int64
			for _, f := range fields {
				v = append(v, f(&n.Limits).Load())
			}
			return tabs(v...), nil
		},
		write: func(ctx vfs.Context, text string) error {
			v, err := numbers(text, len(fields))
			if err != nil {
				return err
			}
			n, err := s.ipcOf(ctx)
			if err != nil {
				return err
			}
			for _, x := range v {
				if x < lo || x > hi {
					return unix.EINVAL
				}
			}
			for i, x := range v {
				fields[i](&n.Limits).Store(x)
			}
			return nil
		},
	}
}

// ipcUnsigned is a limit whose values need all 64 bits.
func (s *shared) ipcUnsigned(field func(l *ipc.Limits) *atomic.Uint64) *sysctl {
	return &sysctl{
		read: func(ctx vfs.Context) (string, error) {
			n, err := s.ipcOf(ctx)
			if err != nil {
				return "", err
			}
			return strconv.FormatUint(field(&n.Limits).Load(), 10), nil
		},
		write: func(ctx vfs.Context, text string) error {
			v, err := strconv.ParseUint(strings.TrimSpace(text), 0, 64)
			if err != nil {
				return unix.EINVAL
			}
			n, err := s.ipcOf(ctx)
			if err != nil {
				return err
			}
			field(&n.Limits).Store(v)
			return nil
		},
	}
}

// nextIPC is the id that the next System V object of a kind gets, -1 if that is left to the kernel.
func (s *shared) nextIPC(k ipc.Kind) *sysctl {
	return numberOf(func(ctx vfs.Context) int64 {
		if n, err := s.ipcOf(ctx); err == nil {
			return int64(n.NextID(k))
		}
		return -1
	}, func(ctx vfs.Context, v int64) error {
		n, err := s.ipcOf(ctx)
		if err != nil {
			return err
		}
		if c := ctx.Cred(); !c.HasIn(n.UserNS, unix.CAP_CHECKPOINT_RESTORE) && !c.HasIn(n.UserNS, unix.CAP_SYS_ADMIN) {
			return unix.EACCES
		}
		n.SetNextID(k, int32(v))
		return nil
	}, 0, math.MaxInt32)
}

// userLimit is a file of /proc/sys/user: of the caller's user namespace.
func (s *shared) userLimit(c cred.Count) *sysctl {
	return numberOf(func(ctx vfs.Context) int64 { return ctx.Cred().UserNS.Limit(c) }, func(ctx vfs.Context, v int64) error {
		if !ctx.Cred().Has(unix.CAP_SYS_RESOURCE) {
			return unix.EPERM
		}
		ctx.Cred().UserNS.SetLimit(c, v)
		return nil
	}, 0, math.MaxInt32)
}

// initLimit is a limit of users of the initial user namespace.
func initLimit(c cred.Count) *sysctl {
	ns := cred.InitUserNS()
	return numberOf(func(vfs.Context) int64 { return ns.Limit(c) }, func(_ vfs.Context, v int64) error {
		ns.SetLimit(c, v)
		return nil
	}, 0, math.MaxInt32)
}

// utsName is hostname or domainname of the caller's uts namespace.
func (s *shared) utsName(get func(*sentry.UTSNamespace) string, set func(*sentry.UTSNamespace, string)) *sysctl {
	return &sysctl{
		read: func(ctx vfs.Context) (string, error) {
			ns := s.namespaces(ctx)
			defer ns.DecRef()
			return get(ns.UTS), nil
		},
		write: func(ctx vfs.Context, text string) error {
			ns := s.namespaces(ctx)
			defer ns.DecRef()
			text, _, _ = strings.Cut(text, "\n")
			text, _, _ = strings.Cut(text, "\x00")
			set(ns.UTS, text[:min(len(text), 64)])
			return nil
		},
	}
}

// pidNS is the pid namespace that the caller lives in.
func (s *shared) pidNS(ctx vfs.Context) *sentry.PIDNamespace {
	if t := caller(s.k, ctx); t != nil {
		return t.PIDNS()
	}
	return s.k.RootPIDNS()
}

// openFiles is how many descriptors are open in the sandbox.
func (s *shared) openFiles() int64 {
	seen := make(map[*vfs.FDTable]bool)
	var n int64
	for _, p := range s.k.Processes(s.k.RootPIDNS()) {
		for _, t := range p.Threads() {
			if ft := t.GetFiles(); ft != nil {
				if !seen[ft] {
					seen[ft] = true
					n += int64(ft.Count())
				}
				ft.DecRef(vfs.KernelContext())
			}
		}
	}
	return n
}

// dropCaches is vm/drop_caches.
func (s *shared) dropCaches(_ vfs.Context, text string) error {
	v, err := numbers(text, 1)
	if err != nil {
		return err
	}
	if v[0] < 1 || v[0] > 4 {
		return unix.EINVAL
	}
	if v[0]&1 != 0 {
		s.k.Memory.Reclaim(math.MaxInt64)
	}
	if v[0]&2 != 0 {
		s.k.VFS.ShrinkDentries(math.MaxInt32)
	}
	return nil
}

// sysctls is /proc/sys.
func (s *shared) sysctls() *kernfs.Dir {
	root := kernfs.NewDir()
	add := func(path string, c *sysctl) *sysctl {
		d := root
		names := strings.Split(path, "/")
		for _, n := range names[:len(names)-1] {
			d = d.Sub(n)
		}
		d.Add(names[len(names)-1], c.file())
		return c
	}
	secret := func(c *sysctl) *sysctl {
		c.mode = 0o600
		return c
	}
	const maxInt = math.MaxInt32
	k, reg := s.k, s.k.VFS
	cfg := k.Config()
	mem := k.Memory.Limit()

	add("kernel/ostype", constant("Linux"))
	add("kernel/osrelease", constant(cfg.Release))
	add("kernel/version", constant(cfg.Version))
	add("kernel/arch", constant("x86_64"))
	add("kernel/hostname", s.utsName(func(u *sentry.UTSNamespace) string { h, _ := u.Names(); return h }, (*sentry.UTSNamespace).SetHost))
	add("kernel/domainname", s.utsName(func(u *sentry.UTSNamespace) string { _, d := u.Names(); return d }, (*sentry.UTSNamespace).SetDomain))
	add("kernel/pid_max", numberOf(func(ctx vfs.Context) int64 { return int64(s.pidNS(ctx).Max()) },
		func(ctx vfs.Context, v int64) error { return s.pidNS(ctx).SetMax(v) }, 301, sentry.PIDMaxLimit))
	add("kernel/ns_last_pid", numberOf(func(ctx vfs.Context) int64 { return int64(k.LastPIDIn(s.pidNS(ctx))) },
		func(ctx vfs.Context, v int64) error {
			ns := s.pidNS(ctx)
			if c := ctx.Cred(); !c.HasIn(ns.UserNS(), unix.CAP_CHECKPOINT_RESTORE) && !c.HasIn(ns.UserNS(), unix.CAP_SYS_ADMIN) {
				return unix.EPERM
			}
			return k.SetLastPID(ns, int32(v))
		}, 0, sentry.PIDMaxLimit)).mode = 0o666
	root.Sub("kernel").Get("ns_last_pid").(*kernfs.File).Permission = sysctlPermission(0o666)
	root.Sub("kernel").Get("ns_last_pid").(*kernfs.File).Mode = 0o666
	add("kernel/threads-max", told(func(vfs.Context) int64 { return k.MaxTasks() }))
	add("kernel/cap_last_cap", constant(strconv.Itoa(unix.CAP_LAST_CAP)))
	add("kernel/ngroups_max", constant("65536"))
	add("kernel/overflowuid", kept(65534, 0, 65535))
	add("kernel/overflowgid", kept(65534, 0, 65535))
	bootID := newUUID()
	add("kernel/random/boot_id", constant(bootID))
	add("kernel/random/uuid", &sysctl{read: func(vfs.Context) (string, error) { return newUUID(), nil }})
	add("kernel/random/entropy_avail", constant("256"))
	add("kernel/random/poolsize", constant("256"))
	add("kernel/random/urandom_min_reseed_secs", kept(60, 0, maxInt))
	add("kernel/random/write_wakeup_threshold", kept(256, 0, maxInt))
	add("kernel/seccomp/actions_avail", constant("kill_process kill_thread trap errno user_notif trace log allow"))
	add("kernel/seccomp/actions_logged", keptText("kill_process kill_thread trap errno user_notif trace log", 128))
	add("kernel/core_pattern", keptText("core", 127))
	add("kernel/core_uses_pid", kept(0, 0, 1))
	add("kernel/core_pipe_limit", kept(0, 0, maxInt))
	add("kernel/dmesg_restrict", kept(0, 0, 1))
	add("kernel/kptr_restrict", kept(1, 0, 2))
	add("kernel/perf_cpu_time_max_percent", kept(25, 0, 100))
	add("kernel/printk", keptList(4, 4, 1, 7))
	add("kernel/printk_ratelimit", kept(5, 0, maxInt))
	add("kernel/printk_ratelimit_burst", kept(10, 0, maxInt))
	add("kernel/printk_delay", kept(0, 0, 10000))
	add("kernel/panic", kept(0, math.MinInt32, maxInt))
	add("kernel/panic_on_oops", kept(0, 0, 1))
	add("kernel/panic_on_warn", kept(0, 0, 1))
	add("kernel/tainted", kept(0, 0, math.MaxInt64))
	add("kernel/sysrq", kept(0, 0, maxInt))
	add("kernel/ctrl-alt-del", kept(0, 0, 1))
	add("kernel/randomize_va_space", constant("2"))
	add("kernel/modprobe", keptText("", 255))
	add("kernel/modules_disabled", constant("1"))
	add("kernel/kexec_load_disabled", constant("1"))
	add("kernel/unprivileged_bpf_disabled", constant("2"))
	add("kernel/io_uring_disabled", constant("2"))
	add("kernel/hung_task_timeout_secs", kept(120, 0, maxInt))
	add("kernel/watchdog", kept(0, 0, 1))
	add("kernel/watchdog_thresh", kept(10, 0, 60))
	add("kernel/nmi_watchdog", constant("0"))
	add("kernel/soft_watchdog", kept(0, 0, 1))
	add("kernel/softlockup_panic", kept(0, 0, 1))
	add("kernel/timer_migration", kept(1, 0, 1))
	add("kernel/numa_balancing", constant("0"))
	add("kernel/max_lock_depth", kept(1024, 0, maxInt))
	add("kernel/print-fatal-signals", kept(0, 0, 1))
	add("kernel/split_lock_mitigate", kept(1, 0, 1))
	add("kernel/sysctl_writes_strict", kept(1, -1, 1))
	add("kernel/sched_autogroup_enabled", kept(0, 0, 1))
	add("kernel/sched_child_runs_first", kept(0, 0, 1))
	add("kernel/sched_cfs_bandwidth_slice_us", kept(5000, 1, maxInt))
	add("kernel/sched_deadline_period_max_us", kept(4194304, 100, maxInt))
	add("kernel/sched_deadline_period_min_us", kept(100, 100, maxInt))
	add("kernel/sched_rr_timeslice_ms", kept(100, math.MinInt32, maxInt))
	add("kernel/sched_rt_period_us", kept(1000000, 1, maxInt))
	add("kernel/sched_rt_runtime_us", kept(950000, -1, maxInt))
	add("kernel/sched_schedstats", kept(0, 0, 1))
	add("kernel/keys/maxkeys", kept(200, 1, maxInt))
	add("kernel/keys/maxbytes", kept(20000, 1, maxInt))
	add("kernel/keys/root_maxkeys", kept(1000000, 1, maxInt))
	add("kernel/keys/root_maxbytes", kept(25000000, 1, maxInt))
	add("kernel/keys/gc_delay", kept(300, 0, maxInt))
	add("kernel/pty/max", kept(4096, 0, maxInt))
	add("kernel/pty/reserve", kept(1024, 0, maxInt))
	add("kernel/pty/nr", told(func(vfs.Context) int64 { return s.terminals() }))
	add("kernel/acct", keptList(4, 2, 30))
	add("kernel/cad_pid", secret(constant("1")))
	add("kernel/bootloader_type", constant("0"))
	add("kernel/bootloader_version", constant("0"))

	add("kernel/shmmax", s.ipcUnsigned(func(l *ipc.Limits) *atomic.Uint64 { return &l.ShmMax }))
	add("kernel/shmall", s.ipcUnsigned(func(l *ipc.Limits) *atomic.Uint64 { return &l.ShmAll }))
	add("kernel/shmmni", s.ipcUnsigned(func(l *ipc.Limits) *atomic.Uint64 { return &l.ShmMni }))
	add("kernel/shm_rmid_forced", constant("0"))
	add("kernel/msgmax", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MsgMax }, 0, maxInt))
	add("kernel/msgmnb", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MsgMnb }, 0, maxInt))
	add("kernel/msgmni", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MsgMni }, 0, 32768))
	add("kernel/sem_next_id", s.nextIPC(ipc.Semaphores))
	add("kernel/msg_next_id", s.nextIPC(ipc.MessageQueues))
	add("kernel/shm_next_id", s.nextIPC(ipc.SharedMemory))
	add("kernel/auto_msgmni", kept(0, 0, 1))
	add("kernel/sem", s.ipcLimits(0, maxInt,
		func(l *ipc.Limits) *atomic.Int64 { return &l.SemMsl }, func(l *ipc.Limits) *atomic.Int64 { return &l.SemMns },
		func(l *ipc.Limits) *atomic.Int64 { return &l.SemOpm }, func(l *ipc.Limits) *atomic.Int64 { return &l.SemMni }))

	add("vm/overcommit_memory", constant("0"))
	add("vm/overcommit_ratio", kept(50, 0, maxInt))
	add("vm/overcommit_kbytes", kept(0, 0, math.MaxInt64))
	add("vm/max_map_count", constant("65530"))
	add("vm/swappiness", kept(60, 0, 200))
	add("vm/mmap_min_addr", constant("65536"))
	add("vm/mmap_rnd_bits", secret(constant("28")))
	add("vm/mmap_rnd_compat_bits", secret(constant("8")))
	add("vm/drop_caches", &sysctl{write: s.dropCaches, mode: 0o200})
	add("vm/min_free_kbytes", kept(max(128, min(65536, int64(math.Sqrt(float64(mem/1024*16))))), 0, maxInt))
	add("vm/admin_reserve_kbytes", kept(8192, 0, math.MaxInt64))
	add("vm/user_reserve_kbytes", kept(min(131072, mem/1024/32), 0, math.MaxInt64))
	add("vm/dirty_background_bytes", kept(0, 0, math.MaxInt64))
	add("vm/dirty_background_ratio", kept(10, 0, 100))
	add("vm/dirty_bytes", kept(0, 0, math.MaxInt64))
	add("vm/dirty_ratio", kept(20, 0, 100))
	add("vm/dirty_expire_centisecs", kept(3000, 0, maxInt))
	add("vm/dirty_writeback_centisecs", kept(500, 0, maxInt))
	add("vm/dirtytime_expire_seconds", kept(43200, 0, maxInt))
	add("vm/vfs_cache_pressure", kept(100, 0, maxInt))
	add("vm/page-cluster", kept(3, 0, 31))
	add("vm/panic_on_oom", kept(0, 0, 2))
	add("vm/oom_kill_allocating_task", kept(0, 0, 1))
	add("vm/oom_dump_tasks", kept(1, 0, 1))
	add("vm/laptop_mode", kept(0, 0, maxInt))
	add("vm/legacy_va_layout", constant("0"))
	add("vm/lowmem_reserve_ratio", keptList(256, 256, 32, 0, 0))
	add("vm/watermark_boost_factor", kept(15000, 0, maxInt))
	add("vm/watermark_scale_factor", kept(10, 1, 3000))
	add("vm/zone_reclaim_mode", kept(0, 0, 7))
	add("vm/stat_interval", kept(1, 0, maxInt))
	add("vm/compact_memory", &sysctl{mode: 0o200, write: func(_ vfs.Context, t string) error {
		// The flat memory keeps itself compact.
		if v, err := numbers(t, 1); err != nil || v[0] != 1 {
			return unix.EINVAL
		}
		return nil
	}})
	add("vm/compaction_proactiveness", kept(20, 0, 100))
	add("vm/extfrag_threshold", kept(500, 0, 1000))
	add("vm/memfd_noexec", constant("0"))
	add("vm/unprivileged_userfaultfd", constant("0"))
	for _, n := range []string{"nr_hugepages", "nr_hugepages_mempolicy", "nr_overcommit_hugepages", "hugetlb_shm_group"} {
		add("vm/"+n, constant("0"))
	}

	add("fs/file-max", kept(math.MaxInt64, 0, math.MaxInt64))
	add("fs/file-nr", &sysctl{read: func(vfs.Context) (string, error) { return tabs(s.openFiles(), 0, math.MaxInt64), nil }})
	add("fs/nr_open", value32(&reg.NROpen, 64, 1<<30))
	add("fs/inode-nr", &sysctl{read: func(vfs.Context) (string, error) { return tabs(int64(reg.Dentries()), 0), nil }})
	add("fs/inode-state", &sysctl{read: func(vfs.Context) (string, error) {
		return tabs(int64(reg.Dentries()), 0, 0, 0, 0, 0, 0), nil
	}})
	add("fs/dentry-state", &sysctl{read: func(vfs.Context) (string, error) {
		n := int64(reg.Dentries())
		return tabs(n, n, 45, 0, 0, 0), nil
	}})
	add("fs/pipe-max-size", numberOf(func(vfs.Context) int64 { return int64(reg.PipeMaxSize.Load()) }, func(_ vfs.Context, n int64) error {
		size := int32(arch.PageSize)
		for int64(size) < n {
			size *= 2
		}
		reg.PipeMaxSize.Store(size)
		return nil
	}, 1, 1<<30))
	add("fs/pipe-user-pages-hard", value64(&reg.PipePagesHard))
	add("fs/pipe-user-pages-soft", value64(&reg.PipePagesSoft))
	add("fs/protected_symlinks", value32(&reg.ProtectedSymlinks, 0, 1))
	add("fs/protected_hardlinks", value32(&reg.ProtectedHardlinks, 0, 1))
	add("fs/protected_fifos", value32(&reg.ProtectedFIFOs, 0, 2))
	add("fs/protected_regular", value32(&reg.ProtectedRegular, 0, 2))
	add("fs/lease-break-time", value32(&reg.LeaseBreakTime, 0, maxInt))
	add("fs/leases-enable", constant("1"))
	add("fs/dir-notify-enable", constant("1"))
	add("fs/mount-max", value32(&reg.MountMax, 1, maxInt))
	add("fs/suid_dumpable", constant("0"))
	add("fs/overflowuid", kept(65534, 0, 65535))
	add("fs/overflowgid", kept(65534, 0, 65535))
	add("fs/aio-max-nr", constant("65536"))
	add("fs/aio-nr", constant("0"))
	reg.EpollWatchesMax.Store(max(mem/25/160, 1))
	add("fs/epoll/max_user_watches", value64(&reg.EpollWatchesMax))
	add("fs/inotify/max_user_instances", initLimit(cred.CountInotifyInstances))
	add("fs/inotify/max_user_watches", initLimit(cred.CountInotifyWatches))
	add("fs/inotify/max_queued_events", value32(&reg.InotifyEventsMax, 0, maxInt))
	add("fs/mqueue/queues_max", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MQQueues }, 0, maxInt))
	add("fs/mqueue/msg_max", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MQMessages }, 1, 65536))
	add("fs/mqueue/msgsize_max", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MQMessageSize }, 128, 16<<20))
	add("fs/mqueue/msg_default", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MQMessagesDefault }, 1, 65536))
	add("fs/mqueue/msgsize_default", s.ipcLimit(func(l *ipc.Limits) *atomic.Int64 { return &l.MQMessageSizeDefault }, 128, 16<<20))

	for name, c := range map[string]cred.Count{
		"user": cred.CountUserNS, "pid": cred.CountPIDNS, "uts": cred.CountUTSNS, "ipc": cred.CountIPCNS,
		"net": cred.CountNetNS, "mnt": cred.CountMountNS, "cgroup": cred.CountCgroupNS, "time": cred.CountTimeNS,
	} {
		add("user/max_"+name+"_namespaces", s.userLimit(c))
	}
	add("user/max_inotify_instances", s.userLimit(cred.CountInotifyInstances))
	add("user/max_inotify_watches", s.userLimit(cred.CountInotifyWatches))

	add("net/core/somaxconn", constant("4096"))
	for name, v := range map[string]int64{"rmem_default": 212992, "rmem_max": 212992, "wmem_default": 212992, "wmem_max": 212992,
		"optmem_max": 131072, "netdev_max_backlog": 1000, "netdev_budget": 300, "dev_weight": 64, "message_burst": 10,
		"message_cost": 5, "busy_poll": 0, "busy_read": 0} {
		add("net/core/"+name, kept(v, 0, maxInt))
	}
	add("net/core/default_qdisc", keptText("pfifo_fast", 15))
	add("net/unix/max_dgram_qlen", kept(10, 0, maxInt))
	for name, v := range map[string]int64{"ip_forward": 0, "ip_default_ttl": 64, "ip_nonlocal_bind": 0, "ip_unprivileged_port_start": 1024,
		"tcp_fin_timeout": 60, "tcp_keepalive_time": 7200, "tcp_keepalive_intvl": 75, "tcp_keepalive_probes": 9,
		"tcp_max_syn_backlog": 2048, "tcp_syn_retries": 6, "tcp_synack_retries": 5, "tcp_retries1": 3, "tcp_retries2": 15,
		"tcp_sack": 1, "tcp_timestamps": 1, "tcp_window_scaling": 1, "tcp_tw_reuse": 2, "tcp_syncookies": 1, "tcp_fastopen": 1,
		"tcp_moderate_rcvbuf": 1, "tcp_max_tw_buckets": 131072, "tcp_slow_start_after_idle": 1, "tcp_no_metrics_save": 0,
		"tcp_ecn": 2, "tcp_low_latency": 0, "tcp_abort_on_overflow": 0, "tcp_mtu_probing": 0, "icmp_echo_ignore_all": 0,
		"icmp_echo_ignore_broadcasts": 1, "udp_rmem_min": 4096, "udp_wmem_min": 4096} {
		add("net/ipv4/"+name, kept(v, 0, maxInt))
	}
	add("net/ipv4/ip_local_port_range", keptList(32768, 60999))
	add("net/ipv4/ip_local_reserved_ports", keptText("", 4096))
	add("net/ipv4/ping_group_range", keptList(1, 0))
	add("net/ipv4/tcp_rmem", keptList(4096, 131072, 6291456))
	add("net/ipv4/tcp_wmem", keptList(4096, 16384, 4194304))
	pages := mem / 4096
	add("net/ipv4/tcp_mem", keptList(pages/64*3, pages/16, pages/32*3))
	add("net/ipv4/udp_mem", keptList(pages/32*3, pages/8, pages/16*3))
	add("net/ipv4/tcp_congestion_control", keptText("cubic", 15))
	add("net/ipv4/tcp_available_congestion_control", constant("reno cubic"))
	add("net/ipv4/tcp_allowed_congestion_control", constant("reno cubic"))
	for _, i := range []string{"all", "default", "lo"} {
		for name, v := range map[string]int64{"forwarding": 0, "rp_filter": 0, "accept_redirects": 1, "send_redirects": 1,
			"accept_source_route": 0, "arp_ignore": 0, "arp_announce": 0, "log_martians": 0, "route_localnet": 0} {
			add("net/ipv4/conf/"+i+"/"+name, kept(v, 0, maxInt))
		}
		for name, v := range map[string]int64{"disable_ipv6": 0, "forwarding": 0, "accept_ra": 1, "accept_redirects": 1, "hop_limit": 64, "mtu": 65536} {
			add("net/ipv6/conf/"+i+"/"+name, kept(v, 0, maxInt))
		}
	}
	add("net/ipv6/bindv6only", kept(0, 0, 1))
	add("debug/exception-trace", kept(1, 0, maxInt))
	add("dev/tty/ldisc_autoload", kept(0, 0, 1))
	add("dev/tty/legacy_tiocsti", constant("1"))
	return root
}

// terminals is how many pseudo-terminals there are.
func (s *shared) terminals() int64 {
	var n int64
	for _, sb := range s.k.VFS.Superblocks() {
		if c, ok := sb.Data.(interface{ Count() int }); ok && sb.Type != nil && sb.Type.Name == "devpts" {
			n += int64(c.Count())
		}
	}
	return n
}
