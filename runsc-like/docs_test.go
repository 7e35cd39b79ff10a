package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform/flat"
	"gosv.dev/runsc-like/sandbox"
	"gosv.dev/syscalls"
)

var update = flag.Bool("update", false, "write the tables of host calls in docs/security.md")

// hostCallTable is the rules as docs/security.md shows them. A call marked * is allowed with certain arguments only.
func hostCallTable(rules []sandbox.Rule) string {
	type call struct{ why, name string }
	conditional := map[call]bool{}
	var whys []string
	for _, r := range rules {
		c := call{r.Why, syscalls.Name(uint64(r.Nr))}
		if !slices.Contains(whys, r.Why) {
			whys = append(whys, r.Why)
		}
		before, seen := conditional[c]
		conditional[c] = len(r.Args) > 0 && (!seen || before)
	}
	var b strings.Builder
	b.WriteString("| for | calls |\n| --- | --- |\n")
	for _, why := range whys {
		var names []string
		for c, args := range conditional {
			if c.why == why {
				if args {
					c.name += "*"
				}
				names = append(names, c.name)
			}
		}
		slices.Sort(names)
		fmt.Fprintf(&b, "| %s | %s |\n", why, strings.Join(names, ", "))
	}
	return b.String()
}

// flatRules are what the platform flat adds to hostRules, with either way of interception. Its descriptors have other numbers in a sandbox.
func flatRules() []sandbox.Rule {
	const memory, text, windows = 10, 11, 12
	rules := flat.HostSyscalls(memory, text, windows, flat.Dispatch)
	for _, r := range flat.HostSyscalls(memory, text, windows, flat.Seccomp) {
		if !slices.ContainsFunc(rules, func(other sandbox.Rule) bool { return reflect.DeepEqual(r, other) }) {
			rules = append(rules, r)
		}
	}
	return rules
}

// TestSecurityPage: the lists in the documentation are the lists in force. -update writes them.
func TestSecurityPage(t *testing.T) {
	const name, end = "../docs/security.md", "<!-- end -->\n"
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	page := string(b)
	for begin, rules := range map[string][]sandbox.Rule{
		"<!-- host calls: go test ./runsc-like -update -->\n":         hostRules(),
		"<!-- host calls of flat: go test ./runsc-like -update -->\n": flatRules(),
	} {
		before, rest, ok := strings.Cut(page, begin)
		require.True(t, ok, begin)
		table, after, ok := strings.Cut(rest, end)
		require.True(t, ok, begin)
		want := hostCallTable(rules)
		page = before + begin + want + end + after
		if !*update {
			require.Equal(t, want, table, "run go test ./runsc-like -update")
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(page), 0o644))
	}
}

// never is what no part of the sentry may ask for, whatever the platform.
var never = strings.Fields(`open openat2 creat socket connect bind accept accept4 socketpair sendto recvmsg execve execveat fork vfork clone3
	mount umount2 open_tree move_mount fsopen pivot_root chroot chdir setns unshare mprotect pkey_mprotect mremap remap_file_pages shmat
	process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal perf_event_open bpf userfaultfd io_uring_setup seccomp keyctl add_key
	init_module kexec_load setuid setgid capset setrlimit prlimit64 name_to_handle_at open_by_handle_at memfd_create memfd_secret dup2 dup3
	sched_setscheduler ioperm iopl modify_ldt arch_prctl symlink link rename unlink mkdir stat lstat chmod chown access readlink`)

// noWayOut asks that none of the rules allows what is never allowed, but for some calls, and that no dangerous call is without a condition.
func noWayOut(t *testing.T, rules []sandbox.Rule, but ...string) {
	t.Helper()
	for _, r := range rules {
		if name := syscalls.Name(uint64(r.Nr)); !slices.Contains(but, name) {
			require.NotContains(t, never, name)
		}
		switch r.Nr {
		case unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_PTRACE, unix.SYS_PRCTL, unix.SYS_IOCTL, unix.SYS_FCNTL, unix.SYS_CLONE, unix.SYS_MMAP,
			unix.SYS_WAIT4, unix.SYS_OPENAT, unix.SYS_SENDMSG, unix.SYS_MADVISE:
			require.NotEmpty(t, r.Args, "%s without a condition", syscalls.Name(uint64(r.Nr)))
		}
	}
}

// TestNoWayOut: whatever packages ask for, these calls are not among them. What flat adds is looked at in detail: each mmap is of one
// descriptor, shared and at a fixed address, and rewritten text is never writable; the only prctl is of Syscall User Dispatch, and arch_prctl
// is of the thread's segment bases.
func TestNoWayOut(t *testing.T) {
	noWayOut(t, hostRules())
	noWayOut(t, flatRules(), "mprotect", "arch_prctl")
	value := func(r sandbox.Rule, arg int, bits uint64) (uint64, bool) {
		for _, c := range r.Args {
			if c.Arg == arg && !c.Not && (c.Mask == 0 || c.Mask&bits == bits) {
				return c.Value & bits, true
			}
		}
		return 0, false
	}
	const all = 0xffffffff
	var names []string
	for _, r := range flatRules() {
		names = append(names, syscalls.Name(uint64(r.Nr)))
		switch r.Nr {
		case unix.SYS_MMAP:
			flags, ok := value(r, 3, all&^unix.MAP_POPULATE)
			require.True(t, ok)
			require.EqualValues(t, unix.MAP_SHARED|unix.MAP_FIXED, flags)
			fd, ok := value(r, 4, all)
			require.True(t, ok)
			prot, ok := value(r, 2, all)
			switch fd {
			case 10: // the flat memory
			case 11: // rewritten text
				require.True(t, ok)
				require.EqualValues(t, unix.PROT_READ|unix.PROT_EXEC, prot)
			default:
				t.Fatalf("mmap of descriptor %d", fd)
			}
		case unix.SYS_PRCTL:
			const setSyscallUserDispatch = 59
			option, ok := value(r, 0, all)
			require.True(t, ok)
			require.EqualValues(t, setSyscallUserDispatch, option)
		case unix.SYS_ARCH_PRCTL:
			const setGS, setFS, getGS = 0x1001, 0x1002, 0x1004
			code, ok := value(r, 0, all)
			require.True(t, ok)
			require.Contains(t, []uint64{setGS, setFS, getGS}, code)
		}
	}
	slices.Sort(names)
	require.Equal(t, strings.Fields("arch_prctl getcpu gettimeofday ioctl mmap mprotect prctl set_tid_address time"), slices.Compact(names))
	// With the filter as the way of interception flat needs less, not more.
	for _, r := range flat.HostSyscalls(10, 11, 12, flat.Seccomp) {
		require.Contains(t, []uintptr{unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_ARCH_PRCTL, unix.SYS_IOCTL, unix.SYS_SET_TID_ADDRESS}, r.Nr)
	}
}
