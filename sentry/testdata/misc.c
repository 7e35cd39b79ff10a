// Limits, scheduling, prctl, ids, pidfds, memory of other processes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <grp.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

int main(int argc, char **argv) {
	int status;
	if (argc > 1 && !strcmp(argv[1], "one two")) {
		char comm[16];
		CHECK(argc == 4 && !strcmp(argv[0], "/prog") && !strcmp(argv[2], "/tmp/script") && !strcmp(argv[3], "x"));
		CHECK(prctl(PR_GET_NAME, comm) == 0 && !strcmp(comm, "script"));
		_exit(0);
	}
	struct rlimit r;
	CHECK(getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur == 8 << 20);
	r.rlim_cur = 4 << 20;
	CHECK(setrlimit(RLIMIT_STACK, &r) == 0);
	r.rlim_cur = 2; r.rlim_max = 1;
	CHECK(setrlimit(RLIMIT_CPU, &r) == -1 && errno == EINVAL);
	CHECK(getrlimit(99, &r) == -1 && errno == EINVAL);

	CHECK(getpriority(PRIO_PROCESS, 0) == 0);
	CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0 && getpriority(PRIO_PROCESS, 0) == 5);
	struct sched_param sp = {.sched_priority = 10};
	CHECK(sched_setscheduler(0, SCHED_FIFO, &sp) == 0 && sched_getscheduler(0) == SCHED_FIFO);
	sp.sched_priority = 0;
	CHECK(sched_setscheduler(0, SCHED_FIFO, &sp) == -1 && errno == EINVAL);
	CHECK(sched_setscheduler(0, SCHED_OTHER, &sp) == 0);
	cpu_set_t set;
	CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= 1);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(sched_setaffinity(0, sizeof set, &set) == 0 && sched_getcpu() == 0);

	char name[16];
	CHECK(prctl(PR_SET_NAME, "a-name-that-is-too-long") == 0 && prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a-name-that-is-"));
	CHECK(prctl(PR_GET_DUMPABLE) == 1 && prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 2) == -1 && errno == EINVAL && prctl(PR_SET_DUMPABLE, 1) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(prctl(12345) == -1 && errno == EINVAL);
	CHECK(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 1);

	struct sysinfo si;
	CHECK(sysinfo(&si) == 0 && si.totalram > 0 && si.procs == 1);
	unsigned char rnd[5000];
	CHECK(getrandom(rnd, sizeof rnd, 0) == sizeof rnd);
	struct tms tms;
	CHECK(times(&tms) > 0);
	struct timespec ts;
	volatile long x = 0;
	for (long i = 0; i < 100000000; i++) x += i;
	CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0 && (ts.tv_sec > 0 || ts.tv_nsec > 10000000));
	struct rusage ru;
	CHECK(getrusage(RUSAGE_SELF, &ru) == 0 && (ru.ru_utime.tv_sec > 0 || ru.ru_utime.tv_usec > 10000) && ru.ru_maxrss > 100);

	// ids
	pid_t p = fork();
	if (p == 0) {
		gid_t g[3] = {5, 3, 4}, got[5];
		if (setgroups(3, g) || getgroups(5, got) != 3 || got[0] != 3) _exit(1);
		if (setresgid(100, 100, 100) || setresuid(1000, 1001, 1002)) _exit(2);
		uid_t a, b, c;
		if (getresuid(&a, &b, &c) || a != 1000 || b != 1001 || c != 1002) _exit(3);
		if (setuid(0) != -1 || errno != EPERM || setuid(1002) || geteuid() != 1002) _exit(4);
		if (prctl(PR_GET_DUMPABLE) != 0) _exit(5);
		if (setpriority(PRIO_PROCESS, 0, -5) != -1 || errno != EACCES) _exit(6);
		if (kill(1, SIGTERM) != -1 || errno != EPERM) _exit(7);
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct d[2];
		if (syscall(SYS_capget, &h, d) || d[0].effective || d[0].permitted) _exit(8);
		if (setgroups(0, NULL) != -1 || errno != EPERM) _exit(9);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p);
	CHECK(status == 0);

	// pidfds and memory of a child
	static char word[6] = "hello";
	int fds[2];
	CHECK(pipe(fds) == 0);
	p = fork();
	if (p == 0) { char c; read(fds[0], &c, 1); _exit(strcmp(word, "world")); }
	int fd = syscall(SYS_pidfd_open, p, 0);
	CHECK(fd >= 0);
	struct pollfd pf = {fd, POLLIN};
	CHECK(poll(&pf, 1, 0) == 0);
	char buf[6];
	struct iovec l = {buf, 6}, rm = {word, 6};
	CHECK(process_vm_readv(p, &l, 1, &rm, 1, 0) == 6 && !strcmp(buf, "hello"));
	strcpy(buf, "world");
	CHECK(process_vm_writev(p, &l, 1, &rm, 1, 0) == 6);
	int nfd = syscall(SYS_pidfd_getfd, fd, fds[1], 0);
	CHECK(nfd >= 0 && write(nfd, "x", 1) == 1);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, nfd, fds[1]) == 0);
	CHECK(syscall(SYS_kcmp, getpid(), p, 1, 0, 0) > 0);
	CHECK(poll(&pf, 1, 5000) == 1);
	CHECK(waitpid(p, &status, 0) == p && status == 0);
	CHECK(poll(&pf, 1, 0) == 1 && pf.revents & POLLHUP);
	CHECK(syscall(SYS_pidfd_open, 99999, 0) == -1 && errno == ESRCH);

	// RLIMIT_NPROC counts
	p = fork();
	if (p == 0) {
		struct rlimit n = {3, 3};
		if (setrlimit(RLIMIT_NPROC, &n) || setresuid(2000, 2000, 2000)) _exit(1);
		int made = 0;
		pid_t q;
		while ((q = fork()) > 0) made++;
		if (q == 0) { pause(); }
		if (errno != EAGAIN || made != 2) _exit(2);
		kill(0, 0);
		signal(SIGTERM, SIG_IGN);
		kill(-1, SIGTERM);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p);
	CHECK(status == 0);
	while (wait(NULL) > 0) ;

	// exec: scripts, limits, busy files
	int s = open("/tmp/script", O_CREAT | O_WRONLY, 0755);
	write(s, "#! /prog one two \nrest\n", 23);
	p = fork();
	if (p == 0) { execl("/tmp/script", "script", "x", NULL); _exit(errno); }
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == ETXTBSY);
	close(s);
	p = fork();
	if (p == 0) { execl("/tmp/script", "script", "x", NULL); _exit(errno); }
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 0);
	CHECK(open("/prog", O_WRONLY) == -1 && errno == ETXTBSY);
	static char big[200000];
	memset(big, 'a', sizeof big - 1);
	CHECK(execl("/prog", "prog", big, NULL) == -1 && errno == E2BIG);
	s = open("/tmp/junk", O_CREAT | O_WRONLY, 0755);
	write(s, "junk", 4);
	close(s);
	CHECK(execl("/tmp/junk", "junk", NULL) == -1 && errno == ENOEXEC);
	chmod("/tmp/junk", 0644);
	CHECK(execl("/tmp/junk", "junk", NULL) == -1 && errno == EACCES);
	s = open("/tmp/script", O_RDONLY | O_CLOEXEC);
	p = fork();
	if (p == 0) {
		char *av[] = {"prog", NULL}, *ev[] = {NULL};
		av[0] = "one";
		syscall(SYS_execveat, s, "", av, ev, 0);
		_exit(errno);
	}
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == ENOENT);
	printf("ok\n");
	return 0;
}
