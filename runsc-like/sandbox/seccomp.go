package sandbox

import (
	"fmt"
	"sort"

	"golang.org/x/sys/unix"
)

// A Rule allows one host call. With Args it allows it only if each of the conditions holds.
// Several rules of one call are alternatives.
type Rule struct {
	Nr   uintptr
	Args []Cond
	Why  string // for docs/security.md
}

// Cond is a condition on one argument: (arg & Mask) == Value, 64 bits wide. Mask 0 means all bits.
type Cond struct {
	Arg         int
	Mask, Value uint64
}

// Offsets in struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// InstallFilter confines all threads of the process to the calls that rules allow. Any other call
// kills the process, or with log set returns ENOSYS and is left to the audit log.
// no_new_privs must be set.
func InstallFilter(rules []Rule, log bool) error {
	prog, err := assemble(rules, log)
	if err != nil {
		return err
	}
	if err := installFilter(prog); err != nil {
		return fmt.Errorf("installing the seccomp filter: %w", err)
	}
	return nil
}

// assemble builds the program: architecture, then a binary search for the number, then the rules of
// that number one after the other.
func assemble(rules []Rule, log bool) ([]unix.SockFilter, error) {
	byNr := map[uint32][]Rule{}
	var nrs []uint32
	for _, r := range rules {
		n := uint32(r.Nr)
		if _, ok := byNr[n]; !ok {
			nrs = append(nrs, n)
		}
		byNr[n] = append(byNr[n], r)
	}
	sort.Slice(nrs, func(i, j int) bool { return nrs[i] < nrs[j] })
	deny := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if log {
		deny = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	var p []unix.SockFilter
	stmt := func(code uint16, k uint32) { p = append(p, unix.SockFilter{Code: code, K: k}) }
	jump := func(code uint16, k uint32, jt, jf uint8) {
		p = append(p, unix.SockFilter{Code: code, K: k, Jt: jt, Jf: jf})
	}
	const (
		ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		ret = unix.BPF_RET | unix.BPF_K
		jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ja  = unix.BPF_JMP | unix.BPF_JA
		and = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	)
	stmt(ld, dataArch)
	jump(jeq, unix.AUDIT_ARCH_X86_64, 1, 0)
	stmt(ret, unix.SECCOMP_RET_KILL_PROCESS)
	stmt(ld, dataNr)

	// emit writes the code for nrs[lo:hi]; all of its paths return.
	var emit func(lo, hi int)
	emit = func(lo, hi int) {
		if hi-lo > 1 {
			mid := (lo + hi) / 2
			jump(jge, nrs[mid], 0, 1)
			at := len(p)
			stmt(ja, 0) // to the upper half, which comes second
			emit(lo, mid)
			p[at].K = uint32(len(p) - at - 1)
			emit(mid, hi)
			return
		}
		n := nrs[lo]
		jump(jeq, n, 1, 0)
		stmt(ret, deny)
		for _, r := range byNr[n] {
			var fails []int
			for _, c := range r.Args {
				mask := c.Mask
				if mask == 0 {
					mask = ^uint64(0)
				}
				for half := 0; half < 2; half++ {
					m, v := uint32(mask>>(32*half)), uint32(c.Value>>(32*half))
					if m == 0 {
						continue
					}
					stmt(ld, uint32(dataArgs+8*c.Arg+4*half))
					if m != ^uint32(0) {
						stmt(and, m)
					}
					fails = append(fails, len(p))
					jump(jeq, v, 0, 0)
				}
			}
			stmt(ret, unix.SECCOMP_RET_ALLOW)
			for _, at := range fails {
				p[at].Jf = uint8(len(p) - at - 1)
			}
		}
		stmt(ret, deny)
	}
	if len(nrs) == 0 {
		return nil, fmt.Errorf("a seccomp filter without rules")
	}
	emit(0, len(nrs))
	if len(p) > 4096 {
		return nil, fmt.Errorf("the seccomp filter has %d instructions, more than BPF allows", len(p))
	}
	return p, nil
}

// Allow is a Rule for calls without conditions.
func allow(why string, nrs ...uintptr) []Rule {
	rules := make([]Rule, len(nrs))
	for i, n := range nrs {
		rules[i] = Rule{Nr: n, Why: why}
	}
	return rules
}

// RuntimeRules are the calls that the Go runtime and the standard library's clocks and
// goroutines make.
func RuntimeRules() []Rule {
	rules := allow("Go runtime: threads and scheduling",
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTID, unix.SYS_GETPID,
		unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL,
		unix.SYS_SCHED_GETAFFINITY)
	rules = append(rules, allow("Go runtime: its own signals",
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL,
		unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER)...)
	rules = append(rules, allow("Go runtime: memory",
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MPROTECT)...)
	rules = append(rules, allow("time, where the vDSO falls back",
		unix.SYS_CLOCK_GETTIME, unix.SYS_ADJTIMEX, unix.SYS_GETTIMEOFDAY, unix.SYS_TIME, unix.SYS_GETCPU, unix.SYS_GETRANDOM)...)
	rules = append(rules, allow("descriptors the sentry has: waiting, reading, writing, closing",
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_READV, unix.SYS_WRITEV,
		unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD2,
		unix.SYS_PIPE2, unix.SYS_PPOLL, unix.SYS_POLL)...)
	rules = append(rules, Rule{Nr: unix.SYS_FCNTL, Args: []Cond{{Arg: 1, Value: unix.F_GETFL}}, Why: "descriptors"},
		Rule{Nr: unix.SYS_FCNTL, Args: []Cond{{Arg: 1, Value: unix.F_DUPFD_CLOEXEC}}, Why: "descriptors"},
		Rule{Nr: unix.SYS_FALLOCATE, Args: []Cond{{Arg: 1, Value: unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE}}, Why: "freeing flat memory"})
	// Threads only: a process would need other flags.
	const thread = unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND
	rules = append(rules, Rule{Nr: unix.SYS_CLONE, Args: []Cond{{Arg: 0, Mask: thread | unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET, Value: thread}}, Why: "Go runtime: new threads"})
	// Memory that is writable and executable at once is never needed.
	for _, prot := range []uint64{unix.PROT_NONE, unix.PROT_READ, unix.PROT_READ | unix.PROT_WRITE} {
		rules = append(rules, Rule{Nr: unix.SYS_MMAP, Args: []Cond{{Arg: 2, Value: prot}}, Why: "memory of the sentry"})
	}
	rules = append(rules,
		Rule{Nr: unix.SYS_PRCTL, Args: []Cond{{Arg: 0, Value: unix.PR_SET_VMA}}, Why: "Go runtime: names of mappings"})
	return rules
}
