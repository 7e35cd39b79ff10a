package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// RuntimeRules are the host calls that the Go runtime makes in a sentry that has started, and those that every part
// of the sentry makes on memory, time and descriptors that it has. What a package alone needs it lists itself.
func RuntimeRules() []Rule {
	const (
		threads = "Go runtime: threads"
		signals = "Go runtime: signals"
		memory  = "memory of the sentry"
		clocks  = "time and random numbers"
		files   = "descriptors the sentry has"
	)
	self := uint64(os.Getpid())
	rules := allow(threads, unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP, unix.SYS_GETTID, unix.SYS_GETPID,
		unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
		unix.SYS_RESTART_SYSCALL) // what the kernel makes of a sleep that a stop has interrupted
	rules = append(rules, rule(unix.SYS_CLONE, threads, exactly(0, unix.CLONE_VM|unix.CLONE_FS|unix.CLONE_FILES|
		unix.CLONE_SIGHAND|unix.CLONE_SYSVSEM|unix.CLONE_THREAD|unix.CLONE_SETTLS)))

	rules = append(rules, allow(signals,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK)...)
	rules = append(rules, rule(unix.SYS_TGKILL, signals, is(0, self)))

	// Memory that can be executed is never needed any more, nor are files mapped.
	for _, prot := range []uint64{unix.PROT_NONE, unix.PROT_READ | unix.PROT_WRITE} {
		rules = append(rules, rule(unix.SYS_MMAP, memory, exactly(2, prot), with(3, unix.MAP_ANONYMOUS)))
	}
	rules = append(rules, allow(memory, unix.SYS_MUNMAP)...)
	for _, advice := range []uint64{unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE} {
		rules = append(rules, rule(unix.SYS_MADVISE, memory, is(2, advice)))
	}
	rules = append(rules,
		rule(unix.SYS_PRCTL, memory, exactly(0, unix.PR_SET_VMA), exactly(1, unix.PR_SET_VMA_ANON_NAME)),
		rule(unix.SYS_FALLOCATE, "freeing flat memory", is(1, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)))

	// Where the vDSO falls back. adjtimex only tells: changing the clock needs a capability.
	rules = append(rules, allow(clocks, unix.SYS_CLOCK_GETTIME, unix.SYS_ADJTIMEX, unix.SYS_GETRANDOM)...)
	rules = append(rules, allow("timers that are on time", unix.SYS_TIMERFD_SETTIME)...)

	rules = append(rules, allow(files,
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_CLOSE,
		unix.SYS_POLL, unix.SYS_PPOLL, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2)...)
	return append(rules, rule(unix.SYS_FCNTL, files, is(1, unix.F_GETFL)))
}
