package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/runsc-like/sandbox"
	"gosv.dev/syscalls"
)

var update = flag.Bool("update", false, "write the table of host calls in docs/security.md")

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

// TestSecurityPage: the list in the documentation is the list in force. -update writes it.
func TestSecurityPage(t *testing.T) {
	const name, begin, end = "../docs/security.md", "<!-- host calls: go test ./runsc-like -update -->\n", "<!-- end -->\n"
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), begin)
	require.True(t, ok)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := hostCallTable(hostRules())
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, table, "run go test ./runsc-like -update")
}

// TestNoWayOut: whatever packages ask for, these calls are not among them.
func TestNoWayOut(t *testing.T) {
	never := strings.Fields(`open openat2 creat socket connect bind accept accept4 socketpair sendto recvmsg execve execveat fork vfork clone3
		mount umount2 open_tree move_mount fsopen pivot_root chroot chdir setns unshare mprotect mremap shmat process_vm_readv process_vm_writev
		pidfd_open pidfd_getfd pidfd_send_signal perf_event_open bpf userfaultfd io_uring_setup seccomp keyctl add_key init_module kexec_load setuid setgid
		capset setrlimit prlimit64 name_to_handle_at open_by_handle_at memfd_create memfd_secret dup2 dup3 sched_setscheduler ioperm iopl modify_ldt arch_prctl
		symlink link rename unlink mkdir stat lstat chmod chown access readlink`)
	for _, r := range hostRules() {
		require.NotContains(t, never, syscalls.Name(uint64(r.Nr)))
		switch r.Nr {
		case unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_PTRACE, unix.SYS_PRCTL, unix.SYS_IOCTL, unix.SYS_FCNTL, unix.SYS_CLONE, unix.SYS_MMAP,
			unix.SYS_WAIT4, unix.SYS_OPENAT, unix.SYS_SENDMSG, unix.SYS_MADVISE:
			require.NotEmpty(t, r.Args, "%s without a condition", syscalls.Name(uint64(r.Nr)))
		}
	}
}
