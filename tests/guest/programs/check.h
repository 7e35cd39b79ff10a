// Helpers for the differential guest programs. Each program prints lines that are the same on every Linux:
// results, error names and relations, never pids, addresses, times or inode numbers. The harness
// (../diff_test.go) compares what it prints natively with what it prints under gosv.
//
//	RET(e)   prints "e = value", or "e = -1 ENAME"
//	OK(e)    prints "e = ok" for anything but -1: for descriptors and addresses
//	IS(e)    prints "e: yes" or "e: no"
//	MUST(e)  evaluates e, ends the program with the line and errno's name when it is -1
//	CHECK(e) ends the program with the line and errno's name when e is false
//	CHILD(s) forks a child that runs statement s and exits with 0; yields its pid
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wunused-result"
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#pragma GCC diagnostic ignored "-Wreturn-type"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"

#define UNUSED __attribute__((unused))
#define PAGE 4096UL
static void *volatile bad_ UNUSED = (void *)8;
#define BAD ((void *)bad_) // never mapped: below mmap_min_addr

// Lines go out whole, so that a fork never copies a half-printed one and a crash loses none.
__attribute__((constructor)) static void check_init(void) {
	setvbuf(stdout, NULL, _IOLBF, 0);
}

UNUSED static const char *ename(int e) {
#ifdef __GLIBC__
	const char *s = strerrorname_np(e);
	return s ? s : "unknown errno";
#else
	return strerror(e);
#endif
}

UNUSED static const char *sname(int s) {
	static char bufs[4][32];
	static int turn;
	char *buf = bufs[turn++ & 3];
	if (s == 0)
		return "0";
	if (s >= 34 && s <= 64) {
		snprintf(buf, 32, "SIGRTMIN+%d", s - 34);
		return buf;
	}
#ifdef __GLIBC__
	const char *n = sigabbrev_np(s);
	if (n) {
		snprintf(buf, 32, "SIG%s", n);
		return buf;
	}
#endif
	snprintf(buf, 32, "signal %d", s);
	return buf;
}

#define RET(e)                                                            \
	do {                                                              \
		errno = 0;                                                \
		long r_ = (long)(e);                                      \
		if (r_ == -1)                                             \
			printf("%s = -1 %s\n", #e, ename(errno));         \
		else                                                      \
			printf("%s = %ld\n", #e, r_);                     \
	} while (0)

#define OK(e)                                                             \
	do {                                                              \
		errno = 0;                                                \
		long r_ = (long)(e);                                      \
		if (r_ == -1)                                             \
			printf("%s = -1 %s\n", #e, ename(errno));         \
		else                                                      \
			printf("%s = ok\n", #e);                          \
	} while (0)

#define IS(e) printf("%s: %s\n", #e, (e) ? "yes" : "no")

#define CHECK(e)                                                          \
	do {                                                              \
		errno = 0;                                                \
		if (!(e)) {                                               \
			printf("%s:%d: CHECK(%s) failed, errno %s\n",     \
			       __FILE__, __LINE__, #e, ename(errno));     \
			exit(99);                                         \
		}                                                         \
	} while (0)

#define MUST(e)                                                           \
	({                                                                \
		errno = 0;                                                \
		__typeof__(e) m_ = (e);                                   \
		if ((long)m_ == -1) {                                     \
			printf("%s:%d: MUST(%s) failed: %s\n", __FILE__,  \
			       __LINE__, #e, ename(errno));               \
			exit(99);                                         \
		}                                                         \
		m_;                                                       \
	})

#define CHILD(...)                                                        \
	({                                                                \
		pid_t p_ = MUST(fork());                                  \
		if (p_ == 0) {                                            \
			__VA_ARGS__;                                      \
			fflush(stdout);                                   \
			_exit(0);                                         \
		}                                                         \
		p_;                                                       \
	})

// say prints how a wait status reads.
UNUSED static void say_status(const char *what, int st) {
	if (WIFEXITED(st))
		printf("%s: exited %d\n", what, WEXITSTATUS(st));
	else if (WIFSIGNALED(st))
		printf("%s: killed by %s\n", what, sname(WTERMSIG(st)));
	else if (WIFSTOPPED(st))
		printf("%s: stopped by %s\n", what, sname(WSTOPSIG(st)));
	else if (WIFCONTINUED(st))
		printf("%s: continued\n", what);
	else
		printf("%s: status %x\n", what, st);
}

// reap waits for a child and prints how it ended.
UNUSED static void reap(const char *what, pid_t p) {
	int st = 0;
	MUST(waitpid(p, &st, __WALL));
	say_status(what, st);
}

UNUSED static void ms(int n) {
	struct timespec ts = {n / 1000, (n % 1000) * 1000000L};
	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

UNUSED static long now_ms(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// handle installs a handler without SA_RESTART or with the given flags.
UNUSED static void handle(int sig, void (*f)(int), int flags) {
	struct sigaction sa = {0};
	sa.sa_handler = f;
	sa.sa_flags = flags;
	MUST(sigaction(sig, &sa, NULL));
}

UNUSED static void handle_info(int sig, void (*f)(int, siginfo_t *, void *), int flags) {
	struct sigaction sa = {0};
	sa.sa_sigaction = f;
	sa.sa_flags = flags | SA_SIGINFO;
	MUST(sigaction(sig, &sa, NULL));
}

// gate: a pipe that one process waits on until another opens it.
typedef struct { int fd[2]; } gate;
UNUSED static gate gate_new(void) {
	gate g;
	MUST(pipe(g.fd));
	return g;
}
UNUSED static void gate_open(gate g) { MUST(write(g.fd[1], "g", 1)); }
UNUSED static void gate_wait(gate g) {
	char c;
	while (read(g.fd[0], &c, 1) != 1)
		;
}

// state_of yields the letter of a process's state in /proc/PID/stat, 0 when it is not there.
UNUSED static char state_of(pid_t pid) {
	char path[64], buf[512];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	char *p = strrchr(buf, ')');
	return p ? p[2] : 0;
}

// await_state waits up to 2 s until the process is in the state.
UNUSED static int await_state(pid_t pid, char state) {
	for (int i = 0; i < 400; i++) {
		if (state_of(pid) == state)
			return 1;
		ms(5);
	}
	return 0;
}

// A place to jump to when a handler is to leave a fault.
#include <setjmp.h>
static sigjmp_buf fault_jmp UNUSED;
static volatile int fault_sig UNUSED, fault_code UNUSED;
static void *volatile fault_addr UNUSED;
UNUSED static void fault_handler(int s, siginfo_t *i, void *u) {
	fault_sig = s;
	fault_code = i->si_code;
	fault_addr = i->si_addr;
	siglongjmp(fault_jmp, 1);
}
UNUSED static void catch_faults(void) {
	handle_info(SIGSEGV, fault_handler, SA_NODEFER);
	handle_info(SIGBUS, fault_handler, SA_NODEFER);
	handle_info(SIGILL, fault_handler, SA_NODEFER);
	handle_info(SIGFPE, fault_handler, SA_NODEFER);
}
// FAULTS(s) runs statement s; yields the signal it raised, or 0.
#define FAULTS(...)                                                       \
	({                                                                \
		fault_sig = 0;                                            \
		fault_code = 0;                                           \
		if (sigsetjmp(fault_jmp, 1) == 0) {                       \
			__VA_ARGS__;                                      \
		}                                                         \
		fault_sig;                                                \
	})
#define PEEK(p) ((void)*(volatile char *)(p))
#define POKE(p) (*(volatile char *)(p) = 1)

// anon maps n pages of private anonymous memory.
UNUSED static char *anon(size_t pages) {
	return MUST((char *)mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

// file_with creates a file with the text and yields an O_RDWR descriptor at offset 0.
UNUSED static int file_with(const char *name, const char *text) {
	int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
	MUST(write(fd, text, strlen(text)));
	MUST(lseek(fd, 0, SEEK_SET));
	return fd;
}

// slurp prints a file's contents, for short text files.
UNUSED static void show_file(const char *name) {
	char buf[512];
	int fd = open(name, O_RDONLY);
	if (fd < 0) {
		printf("%s: %s\n", name, ename(errno));
		return;
	}
	ssize_t n = read(fd, buf, sizeof buf - 1);
	if (n < 0) {
		printf("%s: read: %s\n", name, ename(errno));
	} else {
		buf[n] = 0;
		printf("%s: \"%s\"\n", name, buf);
	}
	close(fd);
}

// put writes text to an existing file such as one of /proc, yields 0 or -1.
UNUSED static int put(const char *name, const char *text) {
	int fd = open(name, O_WRONLY);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n < 0 ? -1 : 0;
}

// become_nobody gives up root for good, when we are root.
UNUSED static void become_nobody(void) {
	if (geteuid() == 0) {
		MUST(syscall(SYS_setgroups, 0, NULL));
		MUST(setresgid(65534, 65534, 65534));
		MUST(setresuid(65534, 65534, 65534));
	}
}

// private_mounts enters a mount namespace of its own whose changes do not leave it. A program that cannot
// (no root, no user namespaces) says so and ends.
UNUSED static void private_mounts(void) {
	if (geteuid() != 0) {
		printf("not root\n");
		exit(0);
	}
	MUST(unshare(CLONE_NEWNS));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}
#endif
