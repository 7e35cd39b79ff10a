package proc

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

// system is what is directly in /proc, but for processes and links.
func (p *fs) system() *kernfs.Dir {
	d := kernfs.NewDir()
	add := func(name string, f func(ctx vfs.Context, b *bytes.Buffer)) { d.Add(name, text(f)) }
	add("buddyinfo", p.buddyinfo)
	d.Add("bus", kernfs.NewDir())
	d.Add("cgroups", kernfs.Text("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"))
	d.Add("cmdline", kernfs.Text("\n"))
	d.Add("consoles", kernfs.Text(""))
	add("cpuinfo", p.cpuinfo)
	d.Add("crypto", kernfs.Text(""))
	add("devices", p.devices)
	d.Add("diskstats", kernfs.Text(""))
	d.Add("dma", kernfs.Text(" 4: cascade\n"))
	d.Add("driver", kernfs.NewDir())
	d.Add("execdomains", kernfs.Text("0-0\tLinux           \t[kernel]\n"))
	d.Add("fb", kernfs.Text(""))
	add("filesystems", p.filesystems)
	d.Add("fs", kernfs.NewDir())
	add("interrupts", p.interrupts)
	d.Add("iomem", kernfs.Text(""))
	d.Add("ioports", kernfs.Text(""))
	d.Add("irq", kernfs.NewDir())
	d.Add("kallsyms", kernfs.Text(""))
	d.Add("key-users", kernfs.Text(""))
	d.Add("keys", kernfs.Text(""))
	add("loadavg", p.loadavg)
	add("locks", p.locks)
	add("meminfo", func(_ vfs.Context, b *bytes.Buffer) { p.meminfo(b) })
	d.Add("misc", kernfs.Text(""))
	d.Add("modules", kernfs.Text(""))
	d.Add("partitions", kernfs.Text(""))
	add("softirqs", p.softirqs)
	add("stat", p.stat)
	d.Add("swaps", kernfs.Text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
	d.Add("sys", p.sys)
	d.Add("sysvipc", kernfs.NewDir(
		kernfs.Entry{Name: "msg", Node: p.sysvipc(0)},
		kernfs.Entry{Name: "sem", Node: p.sysvipc(1)},
		kernfs.Entry{Name: "shm", Node: p.sysvipc(2)}))
	d.Add("tty", kernfs.NewDir(
		kernfs.Entry{Name: "drivers", Node: kernfs.Text("/dev/tty             /dev/tty        5       0 system:/dev/tty\n" +
			"/dev/ptmx            /dev/ptmx       5       2 system\n" +
			"pty_slave            /dev/pts      136 0-1048575 pty:slave\n" +
			"pty_master           /dev/ptm      128 0-1048575 pty:master\n")},
		kernfs.Entry{Name: "ldiscs", Node: kernfs.Text("n_tty       0\n")},
		kernfs.Entry{Name: "driver", Node: kernfs.NewDir()},
		kernfs.Entry{Name: "ldisc", Node: kernfs.NewDir()}))
	add("uptime", p.uptime)
	add("version", func(_ vfs.Context, b *bytes.Buffer) {
		c := p.k.Config()
		fmt.Fprintf(b, "Linux version %s (gosv@gosv) (gcc (GCC) 14.2.0, GNU ld (GNU Binutils) 2.43) %s\n", c.Release, c.Version)
	})
	add("vmstat", p.vmstat)
	add("zoneinfo", p.zoneinfo)
	return d
}

// meminfo is proc_meminfo(5).
func (p *fs) meminfo(b *bytes.Buffer) {
	st := p.k.Memory.Stats()
	row := func(name string, bytes uint64) { fmt.Fprintf(b, "%-16s%8d kB\n", name+":", bytes/1024) }
	// Which pages have been used lately is not tracked: what was written counts as active.
	file := st.Cached - min(st.Shmem, st.Cached)
	activeFile := min(st.Mapped, file)
	row("MemTotal", st.Total)
	row("MemFree", st.Free)
	row("MemAvailable", st.Available)
	row("Buffers", 0)
	row("Cached", st.Cached)
	row("SwapCached", 0)
	row("Active", st.Anon+activeFile)
	row("Inactive", st.Shmem+file-activeFile)
	row("Active(anon)", st.Anon)
	row("Inactive(anon)", st.Shmem)
	row("Active(file)", activeFile)
	row("Inactive(file)", file-activeFile)
	row("Unevictable", st.Mlocked)
	row("Mlocked", st.Mlocked)
	row("SwapTotal", 0)
	row("SwapFree", 0)
	row("Zswap", 0)
	row("Zswapped", 0)
	row("Dirty", st.Dirty)
	row("Writeback", st.Writeback)
	row("AnonPages", st.Anon)
	row("Mapped", st.Mapped)
	row("Shmem", st.Shmem)
	row("KReclaimable", 0)
	row("Slab", st.Other+st.Kernel)
	row("SReclaimable", 0)
	row("SUnreclaim", st.Other+st.Kernel)
	row("KernelStack", 0)
	row("PageTables", st.PageTables)
	row("SecPageTables", 0)
	row("NFS_Unstable", 0)
	row("Bounce", 0)
	row("WritebackTmp", 0)
	row("CommitLimit", st.Total/2)
	row("Committed_AS", st.Committed)
	row("VmallocTotal", 34359738367<<10)
	row("VmallocUsed", 0)
	row("VmallocChunk", 0)
	row("Percpu", 0)
	for _, n := range []string{"AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped"} {
		row(n, 0)
	}
	for _, n := range []string{"Total", "Free", "Rsvd", "Surp"} {
		fmt.Fprintf(b, "%-16s   %5d\n", "HugePages_"+n+":", 0)
	}
	row("Hugepagesize", 2<<20)
	row("Hugetlb", 0)
	row("DirectMap4k", st.Total)
	row("DirectMap2M", 0)
	row("DirectMap1G", 0)
}

// cpuinfo is the host's description of a processor for each one that guests see.
func (p *fs) cpuinfo(_ vfs.Context, b *bytes.Buffer) {
	n := p.k.CPUs()
	for i := range n {
		for _, l := range p.cpu.Info {
			v := l.Value
			switch strings.TrimRight(l.Key, "\t") {
			case "processor", "core id", "apicid", "initial apicid":
				v = strconv.Itoa(i)
			case "physical id":
				v = "0"
			case "siblings", "cpu cores":
				v = strconv.Itoa(n)
			}
			b.WriteString(l.Key)
			b.WriteByte(':')
			if v != "" {
				b.WriteByte(' ')
				b.WriteString(v)
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
}

// cpuAccount keeps what /proc/stat told from going backwards: processor time is counted while it passes.
type cpuAccount struct {
	mu                 sync.Mutex
	user, system, idle int64
}

// look is user, system and idle time of all processors since the host began, in nanoseconds; and how many
// tasks are blocked.
func (s *shared) look() (user, system, idle int64, blocked int) {
	u, sys, blocked := s.k.CPUTimes()
	total := int64(bootTime()) * int64(s.k.CPUs())
	c := &s.cpus
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user, c.system = max(c.user, int64(u)), max(c.system, int64(sys))
	c.idle = max(c.idle, total-c.user-c.system)
	return c.user, c.system, c.idle, blocked
}

// stat is proc_stat(5).
func (p *fs) stat(_ vfs.Context, b *bytes.Buffer) {
	user, system, idle, blocked := p.look()
	n := int64(p.k.CPUs())
	fmt.Fprintf(b, "cpu  %d 0 %d %d 0 0 0 0 0 0\n", ticks(user), ticks(system), ticks(idle))
	for i := range n {
		// The host moves guest threads between processors without telling: each has its share.
		part := func(v int64) int64 { return v*(i+1)/n - v*i/n }
		fmt.Fprintf(b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, part(ticks(user)), part(ticks(system)), part(ticks(idle)))
	}
	_, running, forks, switches := p.k.Counts()
	now := time.Now().Add(-bootTime())
	b.WriteString("intr 0\n")
	fmt.Fprintf(b, "ctxt %d\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked %d\n", switches, now.Unix(), forks,
		max(running, 1), blocked)
	b.WriteString("softirq 0 0 0 0 0 0 0 0 0 0 0\n")
}

func (p *fs) uptime(ctx vfs.Context, b *bytes.Buffer) {
	_, _, idle, _ := p.look()
	up := bootTime()
	ns := p.namespaces(ctx)
	_, offset := ns.Time.Offsets()
	ns.DecRef()
	up += offset
	hundredths := func(ns int64) string { return fmt.Sprintf("%d.%02d", ns/1e9, ns%1e9/1e7) }
	fmt.Fprintf(b, "%s %s\n", hundredths(int64(up)), hundredths(idle))
}

func (p *fs) loadavg(_ vfs.Context, b *bytes.Buffer) {
	l := p.k.LoadAverage()
	tasks, running, _, _ := p.k.Counts()
	fmt.Fprintf(b, "%.2f %.2f %.2f %d/%d %d\n", l[0], l[1], l[2], max(running, 1), tasks, p.k.LastPIDIn(p.ns))
}

func (p *fs) devices(_ vfs.Context, b *bytes.Buffer) {
	list := p.k.VFS.Devices()
	sort.SliceStable(list, func(i, j int) bool { return list[i].Major < list[j].Major })
	for _, block := range []bool{false, true} {
		if block {
			b.WriteString("\nBlock devices:\n")
		} else {
			b.WriteString("Character devices:\n")
		}
		for _, d := range list {
			if d.Block == block {
				fmt.Fprintf(b, "%3d %s\n", d.Major, d.Name)
			}
		}
	}
}

func (p *fs) filesystems(_ vfs.Context, b *bytes.Buffer) {
	for _, t := range p.k.VFS.All() {
		if t.NoDev {
			b.WriteString("nodev")
		}
		fmt.Fprintf(b, "\t%s\n", t.Name)
	}
}

// cpuHead is the heading with a column for each processor.
func (p *fs) cpuHead(b *bytes.Buffer, indent int) {
	b.WriteString(strings.Repeat(" ", indent))
	for i := range p.k.CPUs() {
		fmt.Fprintf(b, "CPU%-8d", i)
	}
	b.WriteByte('\n')
}

func (p *fs) interrupts(_ vfs.Context, b *bytes.Buffer) {
	p.cpuHead(b, 11)
	b.WriteString("ERR:          0\nMIS:          0\n")
}

func (p *fs) softirqs(_ vfs.Context, b *bytes.Buffer) {
	p.cpuHead(b, 20)
	for _, n := range []string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"} {
		fmt.Fprintf(b, "%12s:", n)
		b.WriteString(strings.Repeat(" "+fmt.Sprintf("%10d", 0), p.k.CPUs()))
		b.WriteByte('\n')
	}
}

func (p *fs) locks(_ vfs.Context, b *bytes.Buffer) {
	root := p.k.RootPIDNS()
	b.WriteString(p.k.VFS.Locks(func(n int32) int32 {
		if pr := p.k.Process(root, n); pr != nil {
			return pr.PID().In(p.ns)
		}
		return 0
	}))
}

// sysvipc is a file of /proc/sysvipc: messages, semaphores or shared memory of the reader's ipc namespace.
func (p *fs) sysvipc(which int) *kernfs.File {
	return &kernfs.File{Read: func(ctx vfs.Context, b *bytes.Buffer) error {
		n, err := p.ipcOf(ctx)
		if err != nil {
			return unix.ENOENT
		}
		switch which {
		case 0:
			b.Write(n.ProcMsg(ctx))
		case 1:
			b.Write(n.ProcSem(ctx))
		case 2:
			b.Write(n.ProcShm(ctx))
		}
		return nil
	}}
}

// pageCounts are the numbers of vmstat that have a meaning here, in pages.
func (p *fs) pageCounts() map[string]uint64 {
	st := p.k.Memory.Stats()
	const page = 4096
	file := st.Cached - min(st.Shmem, st.Cached)
	activeFile := min(st.Mapped, file)
	return map[string]uint64{
		"nr_free_pages": st.Free / page, "nr_zone_inactive_anon": st.Shmem / page, "nr_zone_active_anon": st.Anon / page,
		"nr_zone_inactive_file": (file - activeFile) / page, "nr_zone_active_file": activeFile / page,
		"nr_zone_unevictable": st.Mlocked / page, "nr_mlock": st.Mlocked / page,
		"nr_zone_write_pending": (st.Dirty + st.Writeback) / page,
		"nr_inactive_anon":      st.Shmem / page, "nr_active_anon": st.Anon / page, "nr_inactive_file": (file - activeFile) / page,
		"nr_active_file": activeFile / page, "nr_unevictable": st.Mlocked / page, "nr_slab_unreclaimable": st.Other / page,
		"nr_anon_pages": st.Anon / page, "nr_mapped": st.Mapped / page, "nr_file_pages": st.Cached / page,
		"nr_dirty": st.Dirty / page, "nr_writeback": st.Writeback / page, "nr_shmem": st.Shmem / page,
		"nr_page_table_pages": st.PageTables / page, "pgalloc_normal": st.PgAlloc, "pgfree": st.PgFree,
		"pgfault": st.PgFault, "pgmajfault": st.PgMajFault, "oom_kill": uint64(p.k.OOMKills()),
		"numa_hit": st.PgAlloc, "numa_local": st.PgAlloc,
	}
}

// zoneNames are the counters that a zone has, nodeNames those of a node.
var (
	zoneNames = []string{"nr_free_pages", "nr_zone_inactive_anon", "nr_zone_active_anon", "nr_zone_inactive_file",
		"nr_zone_active_file", "nr_zone_unevictable", "nr_zone_write_pending", "nr_mlock", "nr_bounce", "nr_zspages", "nr_free_cma",
		"numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"}
	nodeNames = []string{"nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable",
		"nr_slab_reclaimable", "nr_slab_unreclaimable", "nr_isolated_anon", "nr_isolated_file", "workingset_nodes",
		"workingset_refault_anon", "workingset_refault_file", "workingset_activate_anon", "workingset_activate_file",
		"workingset_restore_anon", "workingset_restore_file", "workingset_nodereclaim", "nr_anon_pages", "nr_mapped",
		"nr_file_pages", "nr_dirty", "nr_writeback", "nr_writeback_temp", "nr_shmem", "nr_shmem_hugepages", "nr_shmem_pmdmapped",
		"nr_file_hugepages", "nr_file_pmdmapped", "nr_anon_transparent_hugepages", "nr_vmscan_write",
		"nr_vmscan_immediate_reclaim", "nr_dirtied", "nr_written", "nr_throttled_written", "nr_kernel_misc_reclaimable",
		"nr_foll_pin_acquired", "nr_foll_pin_released", "nr_kernel_stack", "nr_page_table_pages", "nr_sec_page_table_pages",
		"nr_swapcached"}
	eventNames = []string{"nr_dirty_threshold", "nr_dirty_background_threshold", "pgpgin", "pgpgout", "pswpin", "pswpout",
		"pgalloc_dma", "pgalloc_dma32", "pgalloc_normal", "pgalloc_movable", "allocstall_dma", "allocstall_dma32",
		"allocstall_normal", "allocstall_movable", "pgskip_dma", "pgskip_dma32", "pgskip_normal", "pgskip_movable", "pgfree",
		"pgactivate", "pgdeactivate", "pglazyfree", "pgfault", "pgmajfault", "pglazyfreed", "pgrefill", "pgreuse",
		"pgsteal_kswapd", "pgsteal_direct", "pgsteal_khugepaged", "pgscan_kswapd", "pgscan_direct", "pgscan_khugepaged",
		"pgscan_direct_throttle", "pgscan_anon", "pgscan_file", "pgsteal_anon", "pgsteal_file", "zone_reclaim_failed",
		"pginodesteal", "slabs_scanned", "kswapd_inodesteal", "kswapd_low_wmark_hit_quickly", "kswapd_high_wmark_hit_quickly",
		"pageoutrun", "pgrotated", "drop_pagecache", "drop_slab", "oom_kill", "pgmigrate_success", "pgmigrate_fail",
		"compact_stall", "compact_fail", "compact_success", "unevictable_pgs_culled", "unevictable_pgs_scanned",
		"unevictable_pgs_rescued", "unevictable_pgs_mlocked", "unevictable_pgs_munlocked", "unevictable_pgs_cleared",
		"unevictable_pgs_stranded", "thp_fault_alloc", "thp_fault_fallback", "thp_collapse_alloc", "thp_split_page",
		"thp_zero_page_alloc", "swap_ra", "swap_ra_hit", "nr_unstable"}
)

func (p *fs) vmstat(_ vfs.Context, b *bytes.Buffer) {
	v := p.pageCounts()
	for _, n := range slices.Concat(zoneNames, nodeNames, eventNames) {
		fmt.Fprintf(b, "%s %d\n", n, v[n])
	}
}

// zoneinfo shows all memory as one zone.
func (p *fs) zoneinfo(_ vfs.Context, b *bytes.Buffer) {
	v := p.pageCounts()
	total := p.k.Memory.Stats().Total / 4096
	b.WriteString("Node 0, zone   Normal\n  per-node stats\n")
	for _, n := range nodeNames {
		fmt.Fprintf(b, "      %-12s %d\n", n, v[n])
	}
	fmt.Fprintf(b, "  pages free     %d\n        boost    0\n        min      %d\n        low      %d\n        high     %d\n", v["nr_free_pages"],
		total/1000, total/800, total/667)
	fmt.Fprintf(b, "        spanned  %d\n        present  %d\n        managed  %d\n        cma      0\n        protection: (0, 0, 0, 0)\n", total, total, total)
	for _, n := range zoneNames {
		fmt.Fprintf(b, "      %-12s %d\n", n, v[n])
	}
	b.WriteString("  pagesets\n")
	for i := range p.k.CPUs() {
		fmt.Fprintf(b, "    cpu: %d\n              count:    0\n              high:     0\n              batch:    63\n  vm stats threshold: 0\n", i)
	}
	b.WriteString("  node_unreclaimable:  0\n  start_pfn:           0\n")
}

// buddyinfo shows the free memory as the fewest blocks that it could be.
func (p *fs) buddyinfo(_ vfs.Context, b *bytes.Buffer) {
	free := p.k.Memory.Stats().Free / 4096
	b.WriteString("Node 0, zone   Normal ")
	for order := range 11 {
		n := free >> order & 1
		if order == 10 {
			n = min(free>>10, math.MaxInt32)
		}
		fmt.Fprintf(b, "%6d ", n)
	}
	b.WriteByte('\n')
}
