// Package sysfs is the sys file system: a tree of package kernfs with what programs look for there:
// processors and their caches, the one memory node, the loopback interface, huge pages. Everything
// that a machine without devices does not have is missing.
package sysfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
	"gosv.dev/sentry/proc/hostcpu"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

const magic = 0x62656572 // SYSFS_MAGIC

// NewType returns the file system type. cpu describes the host's processors.
func NewType(k *sentry.Kernel, cpu *hostcpu.CPU) *vfs.FileSystemType {
	s := &sys{k: k, cpu: cpu, root: kernfs.NewDir()}
	s.build()
	return kernfs.NewFS("sysfs", magic, s.root)
}

type sys struct {
	k    *sentry.Kernel
	cpu  *hostcpu.CPU
	root *kernfs.Dir
}

// dir is the directory at a path, which is made if it is missing.
func (s *sys) dir(path string) *kernfs.Dir {
	d := s.root
	for _, n := range strings.Split(path, "/") {
		d = d.Sub(n)
	}
	return d
}

// put enters a node at a path.
func (s *sys) put(path string, n kernfs.Node) {
	i := strings.LastIndexByte(path, '/')
	s.dir(path[:i]).Add(path[i+1:], n)
}

// text is a file with one line.
func (s *sys) text(path, line string) { s.put(path, kernfs.Text(line+"\n")) }

// list prints the processors 0 to n-1 as a list, mask as hexadecimal words.
func list(n int) string {
	if n == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", n-1)
}

func mask(lo, hi, n int) string {
	var words []string
	for w := (n - 1) / 32; w >= 0; w-- {
		var v uint32
		for i := max(lo, w*32); i < min(hi, w*32+32); i++ {
			v |= 1 << (i % 32)
		}
		digits := 8
		if w == (n-1)/32 {
			digits = ((n-1)%32)/4 + 1
		}
		words = append(words, fmt.Sprintf("%0*x", digits, v))
	}
	return strings.Join(words, ",")
}

func (s *sys) build() {
	for _, d := range []string{"block", "bus", "class/block", "class/tty", "class/mem", "class/misc", "dev/block", "dev/char",
		"firmware", "fs/cgroup", "fs/fuse/connections", "module", "power", "devices/virtual", "kernel/debug", "kernel/tracing",
		"kernel/security", "kernel/config", "bus/cpu/devices", "bus/node/devices", "bus/pci/devices", "hypervisor"} {
		s.dir(d)
	}
	s.root.Remove("hypervisor")
	s.processors()
	s.nodes()
	s.network()
	s.kernel()
}

// processors is /sys/devices/system/cpu.
func (s *sys) processors() {
	const base = "devices/system/cpu/"
	n := s.k.CPUs()
	all := list(n)
	for _, f := range []string{"online", "possible", "present", "enabled"} {
		s.text(base+f, all)
	}
	s.text(base+"offline", "")
	s.text(base+"isolated", "")
	s.text(base+"kernel_max", strconv.Itoa(sentry.MaxCPUs-1))
	s.text(base+"smt/active", "0")
	s.text(base+"smt/control", "notsupported")
	for _, v := range s.cpu.Vulnerabilities {
		s.text(base+"vulnerabilities/"+v.Key, v.Value)
	}
	for i := range n {
		id := strconv.Itoa(i)
		own, one := id, mask(i, i+1, n)
		cpu := base + "cpu" + id + "/"
		s.put("bus/cpu/devices/cpu"+id, kernfs.Link("../../../devices/system/cpu/cpu"+id))
		s.put(cpu+"node0", kernfs.Link("../../node/node0"))
		s.put(cpu+"subsystem", kernfs.Link("../../../../bus/cpu"))
		if i > 0 {
			s.text(cpu+"online", "1")
		}
		t := cpu + "topology/"
		s.text(t+"physical_package_id", "0")
		s.text(t+"die_id", "0")
		s.text(t+"cluster_id", "65535")
		s.text(t+"core_id", id)
		for _, f := range []string{"thread_siblings", "core_cpus", "cluster_cpus"} {
			s.text(t+f, one)
			s.text(t+f+"_list", own)
		}
		for _, f := range []string{"core_siblings", "package_cpus", "die_cpus"} {
			s.text(t+f, mask(0, n, n))
			s.text(t+f+"_list", all)
		}
		for j, c := range s.cpu.Caches {
			dir := fmt.Sprintf("%scache/index%d/", cpu, j)
			for _, f := range c.Files {
				s.text(dir+f.Key, f.Value)
			}
			if c.Shared {
				s.text(dir+"id", "0")
				s.text(dir+"shared_cpu_map", mask(0, n, n))
				s.text(dir+"shared_cpu_list", all)
			} else {
				s.text(dir+"id", id)
				s.text(dir+"shared_cpu_map", one)
				s.text(dir+"shared_cpu_list", own)
			}
		}
	}
}

// nodes is /sys/devices/system/node: one node with all processors and memory.
func (s *sys) nodes() {
	const base = "devices/system/node/"
	for _, f := range []string{"online", "possible", "has_cpu", "has_memory", "has_normal_memory"} {
		s.text(base+f, "0")
	}
	n := s.k.CPUs()
	node := base + "node0/"
	s.text(node+"cpulist", list(n))
	s.text(node+"cpumap", mask(0, n, n))
	s.text(node+"distance", "10")
	s.put("bus/node/devices/node0", kernfs.Link("../../../devices/system/node/node0"))
	for i := range n {
		s.put(fmt.Sprintf("%scpu%d", node, i), kernfs.Link(fmt.Sprintf("../../cpu/cpu%d", i)))
	}
	s.put(node+"meminfo", kernfs.Func(func(vfs.Context) string { return s.nodeMemory() }))
	s.put(node+"numastat", kernfs.Func(func(vfs.Context) string {
		hit := s.k.Memory.Stats().PgAlloc
		return fmt.Sprintf("numa_hit %d\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node %d\nother_node 0\n", hit, hit)
	}))
	hugePages(s.dir(node+"hugepages/hugepages-2048kB"), false)
}

func (s *sys) nodeMemory() string {
	st := s.k.Memory.Stats()
	file := st.Cached - min(st.Shmem, st.Cached)
	active := min(st.Mapped, file)
	var b bytes.Buffer
	row := func(name string, bytes uint64) { fmt.Fprintf(&b, "Node 0 %-15s%8d kB\n", name+":", bytes/1024) }
	row("MemTotal", st.Total)
	row("MemFree", st.Free)
	row("MemUsed", st.Total-st.Free)
	row("SwapCached", 0)
	row("Active", st.Anon+active)
	row("Inactive", st.Shmem+file-active)
	row("Active(anon)", st.Anon)
	row("Inactive(anon)", st.Shmem)
	row("Active(file)", active)
	row("Inactive(file)", file-active)
	row("Unevictable", st.Mlocked)
	row("Mlocked", st.Mlocked)
	row("Dirty", st.Dirty)
	row("Writeback", st.Writeback)
	row("FilePages", st.Cached)
	row("Mapped", st.Mapped)
	row("AnonPages", st.Anon)
	row("Shmem", st.Shmem)
	row("KernelStack", 0)
	row("PageTables", st.PageTables)
	for _, n := range []string{"SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp", "KReclaimable"} {
		row(n, 0)
	}
	row("Slab", st.Other)
	row("SReclaimable", 0)
	row("SUnreclaim", st.Other)
	for _, n := range []string{"AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped"} {
		row(n, 0)
	}
	for _, n := range []string{"Total", "Free", "Surp"} {
		fmt.Fprintf(&b, "Node 0 HugePages_%s: %5d\n", n, 0)
	}
	return b.String()
}

// hugePages are the files of a directory for a size of which there are no pages.
func hugePages(d *kernfs.Dir, system bool) {
	names := []string{"nr_hugepages", "free_hugepages", "surplus_hugepages"}
	if system {
		names = append(names, "nr_hugepages_mempolicy", "nr_overcommit_hugepages", "resv_hugepages")
	}
	for _, n := range names {
		d.Add(n, kernfs.Text("0\n"))
	}
}

// network is the loopback interface in /sys/class/net.
func (s *sys) network() {
	const lo = "devices/virtual/net/lo/"
	s.put("class/net/lo", kernfs.Link("../../devices/virtual/net/lo"))
	s.put(lo+"subsystem", kernfs.Link("../../../../class/net"))
	for _, f := range [][2]string{{"addr_assign_type", "0"}, {"addr_len", "6"}, {"address", "00:00:00:00:00:00"},
		{"broadcast", "00:00:00:00:00:00"}, {"carrier", "1"}, {"carrier_changes", "0"}, {"carrier_down_count", "0"},
		{"carrier_up_count", "0"}, {"dev_id", "0x0"}, {"dev_port", "0"}, {"dormant", "0"}, {"flags", "0x9"},
		{"gro_flush_timeout", "0"}, {"ifalias", ""}, {"ifindex", "1"}, {"iflink", "1"}, {"link_mode", "0"}, {"mtu", "65536"},
		{"name_assign_type", "2"}, {"netdev_group", "0"}, {"operstate", "unknown"}, {"proto_down", "0"}, {"testing", "0"},
		{"threaded", "0"}, {"tx_queue_len", "1000"}, {"type", "772"}, {"uevent", "INTERFACE=lo\nIFINDEX=1"}} {
		s.text(lo+f[0], f[1])
	}
	for _, f := range []string{"duplex", "speed"} {
		s.put(lo+f, &kernfs.File{Read: func(vfs.Context, *bytes.Buffer) error { return unix.EINVAL }})
	}
	for _, dir := range []string{"rx", "tx"} {
		for _, f := range []string{"bytes", "packets", "errors", "dropped", "fifo_errors", "compressed"} {
			s.text(lo+"statistics/"+dir+"_"+f, "0")
		}
	}
	for _, f := range []string{"collisions", "multicast", "rx_crc_errors", "rx_frame_errors", "rx_length_errors",
		"rx_missed_errors", "rx_over_errors", "rx_nohandler", "tx_aborted_errors", "tx_carrier_errors",
		"tx_heartbeat_errors", "tx_window_errors"} {
		s.text(lo+"statistics/"+f, "0")
	}
	s.dir(lo + "queues/rx-0")
	s.dir(lo + "queues/tx-0")
}

// kernel is /sys/kernel.
func (s *sys) kernel() {
	const thp = "kernel/mm/transparent_hugepage/"
	// Guest memory is not made of huge pages.
	s.text(thp+"enabled", "always madvise [never]")
	s.text(thp+"defrag", "always defer defer+madvise madvise [never]")
	s.text(thp+"shmem_enabled", "always within_size advise [never] deny force")
	s.text(thp+"hpage_pmd_size", "2097152")
	s.text(thp+"use_zero_page", "0")
	s.text(thp+"khugepaged/defrag", "0")
	hugePages(s.dir("kernel/mm/hugepages/hugepages-2048kB"), true)
	s.text("kernel/mm/ksm/run", "0")
	s.text("kernel/address_bits", "64")
	s.text("kernel/cpu_byteorder", "little")
	s.text("kernel/fscaps", "1")
	s.text("kernel/profiling", "0")
	s.text("kernel/uevent_seqnum", "0")
	s.text("kernel/kexec_loaded", "0")
	s.text("kernel/kexec_crash_loaded", "0")
	s.text("devices/system/clocksource/clocksource0/available_clocksource", "tsc")
	s.text("devices/system/clocksource/clocksource0/current_clocksource", "tsc")
	s.text("power/state", "")
}
