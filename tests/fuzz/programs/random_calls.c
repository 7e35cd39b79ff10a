// Makes random system calls with random arguments from a seed, for some seconds, in children that are replaced when they
// die or block. Arguments are a mix of small numbers, descriptors, valid and invalid addresses, structures with random
// contents, flags and extremes. Usage: program SEED SECONDS [CHILDREN]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static uint64_t rnd(void) { // xorshift64*
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 2685821657736338717ULL;
}
static unsigned below(unsigned n) { return rnd() % n; }

#define AREA (64 * 4096UL)
static char *area; // memory that arguments point to; its last page cannot be touched

// Calls that would end the game for reasons that show nothing: the process's own end, other processes, sleeping for good.
static int unwanted(long nr) {
	switch (nr) {
	case SYS_exit:
	case SYS_exit_group:
	case SYS_kill:
	case SYS_tkill:
	case SYS_tgkill:
	case SYS_rt_sigqueueinfo:
	case SYS_rt_tgsigqueueinfo:
	case SYS_pidfd_send_signal:
	case SYS_reboot:
	case SYS_pause:
	case SYS_rt_sigsuspend:
	case SYS_rt_sigreturn:
	case SYS_fork: // no fork bombs
	case SYS_vfork:
	case SYS_clone:
	case SYS_clone3:
	case SYS_setrlimit:
	case SYS_prlimit64:
	case SYS_sync:
		return 1;
	}
	return 0;
}

static const char *paths[] = {"", ".", "..", "/", "f", "d", "d/f", "/proc/self/mem", "/proc/self/maps", "/proc/self/fd/0", "/dev/null", "/dev/zero", "/dev/full", "/dev/ptmx", "/dev/tty", "/etc/passwd", "/proc/self/exe", "/tmp", "link", "/proc/self/ns/mnt", "/sys", "/proc/sys/kernel/ostype", "nothing/at/all", "/dev/shm/x"};

static void fill(char *p, size_t n) {
	switch (below(4)) {
	case 0:
		memset(p, 0, n);
		break;
	case 1:
		memset(p, 0xff, n);
		break;
	case 2:
		for (size_t i = 0; i + 8 <= n; i += 8) {
			uint64_t v = below(2) ? below(64) : (uintptr_t)(area + below(AREA));
			memcpy(p + i, &v, 8);
		}
		break;
	default:
		for (size_t i = 0; i + 8 <= n; i += 8) {
			uint64_t v = rnd();
			memcpy(p + i, &v, 8);
		}
	}
}

static uint64_t argument(void) {
	switch (below(16)) {
	case 0:
		return 0;
	case 1:
		return -1;
	case 2:
	case 3:
	case 4:
		return below(40); // a descriptor, a small flag or number
	case 5: {
		char *p = area + below(AREA - 512) / 8 * 8;
		fill(p, 256);
		return (uintptr_t)p;
	}
	case 6:
		return (uintptr_t)(area + AREA - 4096 - below(64)); // up to the edge
	case 7: {
		char *p = area + below(AREA - 8192);
		strcpy(p, paths[below(sizeof paths / sizeof *paths)]);
		return (uintptr_t)p;
	}
	case 8:
		return 8; // never mapped
	case 9:
		return 1ULL << below(64);
	case 10:
		return (1ULL << below(64)) - 1;
	case 11:
		return rnd();
	case 12:
		return (uint32_t)rnd();
	case 13:
		return 4096ULL * below(1 << 20);
	case 14:
		return (uint64_t)-(int64_t)below(200);
	default:
		return 0x7ffffffff000ULL - 4096ULL * below(4);
	}
}

static void child(uint64_t seed, long seconds) {
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct rlimit as = {1UL << 30, 1UL << 30}, proc = {64, 64}, size = {16 << 20, 16 << 20}, core = {0, 0};
	setrlimit(RLIMIT_AS, &as);
	setrlimit(RLIMIT_NPROC, &proc);
	setrlimit(RLIMIT_FSIZE, &size);
	setrlimit(RLIMIT_CORE, &core);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(area + AREA - 4096, 4096, PROT_NONE);
	// Descriptors of many kinds, from 3 up.
	int p[2];
	open("f", O_RDWR | O_CREAT, 0644);
	open(".", O_RDONLY | O_DIRECTORY);
	pipe(p);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p);
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p);
	eventfd(0, EFD_NONBLOCK);
	epoll_create1(0);
	timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	syscall(SYS_memfd_create, "m", 3);
	open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	open("/proc/self/maps", O_RDONLY);
	syscall(SYS_inotify_init1, O_NONBLOCK);
	time_t end = time(NULL) + seconds;
	for (unsigned i = 0; time(NULL) <= end; i++) {
		long nr = below(8) ? below(470) : (long)rnd();
		if (unwanted((uint32_t)nr))
			continue;
		uint64_t a[6];
		for (int k = 0; k < 6; k++)
			a[k] = argument();
		if (nr == SYS_execve || nr == SYS_execveat)
			a[0] = 8; // would succeed too rarely to matter and lose the child
		alarm(2); // ends a child that blocks; it is replaced
		syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (i % 64 == 0)
			mprotect(area, AREA - 4096, PROT_READ | PROT_WRITE);
	}
	_exit(0);
}

int main(int argc, char **argv) {
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	long seconds = argc > 2 ? atol(argv[2]) : 2;
	int children = argc > 3 ? atoi(argv[3]) : 2;
	mkdir("d", 0755);
	symlink("f", "link");
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	time_t end = time(NULL) + seconds;
	unsigned started = 0;
	int running = 0;
	for (;;) {
		while (running < children && time(NULL) < end) {
			pid_t p = fork();
			if (p == 0) {
				setsid();
				child(seed + started, end - time(NULL));
			}
			if (p < 0)
				break;
			started++;
			running++;
		}
		if (running == 0)
			break;
		int st;
		pid_t p = waitpid(-1, &st, __WALL | (time(NULL) > end + 3 ? WNOHANG : 0));
		if (p > 0)
			running--;
		else if (time(NULL) > end + 3 || errno == ECHILD)
			break;
	}
	printf("done, children started %s\n", started > 0 ? "yes" : "no");
	return 0;
}
