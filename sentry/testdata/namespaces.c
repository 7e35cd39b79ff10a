// Namespaces: pid, user, uts, mnt, time; setns, and what nsfs tells.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
#include "check.h"

static long clone3(struct clone_args *a) { return syscall(SYS_clone3, a, sizeof *a); }

int main(void) {
	int status;
	// A pid namespace: its init is 1, its death kills the rest.
	struct clone_args a = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t p = clone3(&a);
	if (p == 0) {
		if (getpid() != 1 || getppid() != 0) _exit(1);
		for (int i = 0; i < 5; i++)
			if (fork() == 0) { if (getpid() < 2 || getppid() != 1) _exit(1); pause(); }
		pid_t q = fork();
		if (q == 0) { if (fork() == 0) { usleep(20000); shared[0] = getppid(); _exit(0); } _exit(7); }
		int st;
		if (waitpid(q, &st, 0) != q || WEXITSTATUS(st) != 7) _exit(2);
		if (waitpid(-1, &st, 0) < 0) _exit(3);
		// init is not killed by what it has no handler for
		kill(1, SIGTERM);
		kill(1, SIGKILL);
		_exit(55);
	}
	CHECK(p > 1);
	CHECK(waitpid(p, &status, 0) == p);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 55);
	CHECK(shared[0] == 1);

	// From outside it is killed.
	p = clone3(&a);
	if (p == 0) { if (fork() == 0) pause(); pause(); _exit(0); }
	usleep(10000);
	CHECK(kill(p, SIGKILL) == 0 && waitpid(p, &status, 0) == p && WTERMSIG(status) == SIGKILL);

	// unshare: the next child is init; a second one too, until init dies
	p = fork();
	if (p == 0) {
		if (unshare(CLONE_NEWPID)) _exit(1);
		pid_t q = fork();
		if (q == 0) { usleep(20000); _exit(getpid()); }
		int st;
		if (waitpid(q, &st, 0) != q || WEXITSTATUS(st) != 1) _exit(2);
		_exit(fork() == -1 && errno == ENOMEM ? 0 : 3);
	}
	CHECK(waitpid(p, &status, 0) == p && status == 0);

	// set_tid
	pid_t tid[1] = {4321};
	struct clone_args s = {.exit_signal = SIGCHLD, .set_tid = (unsigned long)tid, .set_tid_size = 1};
	p = clone3(&s);
	if (p == 0) _exit(getpid() == 4321 ? 0 : 1);
	CHECK(p == 4321 && clone3(&s) == -1 && errno == EEXIST);
	CHECK(waitpid(p, &status, 0) == p && status == 0);

	// pidfd, parent_tid
	int pidfd = -1;
	pid_t ptid = 0;
	struct clone_args f = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .exit_signal = SIGCHLD,
		.pidfd = (unsigned long)&pidfd, .parent_tid = (unsigned long)&ptid};
	p = clone3(&f);
	if (p == 0) _exit(6);
	CHECK(p > 0 && ptid == p && pidfd >= 0);
	siginfo_t si;
	CHECK(waitid(P_PIDFD, pidfd, &si, WEXITED) == 0 && si.si_pid == p && si.si_status == 6);
	CHECK(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == -1 && errno == ESRCH);
	close(pidfd);

	// host names
	struct utsname u;
	p = fork();
	if (p == 0) {
		if (unshare(CLONE_NEWUTS) || sethostname("inner", 5) || uname(&u) || strcmp(u.nodename, "inner")) _exit(1);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p && status == 0);
	CHECK(uname(&u) == 0 && strcmp(u.nodename, "inner"));
	CHECK(!strcmp(u.sysname, "Linux") && !strcmp(u.machine, "x86_64"));

	// mounts in a mount namespace are not seen outside
	p = fork();
	if (p == 0) {
		if (unshare(CLONE_NEWNS)) _exit(1);
		if (mount("none", "/tmp", "tmpfs", 0, NULL)) _exit(2);
		int fd = open("/tmp/inside", O_CREAT | O_RDWR, 0600);
		_exit(fd < 0 ? 3 : 0);
	}
	CHECK(waitpid(p, &status, 0) == p && status == 0);
	CHECK(access("/tmp/inside", F_OK) == -1);

	// a user namespace: nobody, with all capabilities
	p = fork();
	if (p == 0) {
		if (setresuid(1000, 1000, 1000)) _exit(1);
		if (unshare(CLONE_NEWNS) != -1 || errno != EPERM) _exit(2);
		if (unshare(CLONE_NEWUSER)) _exit(3);
		if (getuid() != 65534) _exit(4);
		if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)) _exit(5);
		if (sethostname("x", 1)) _exit(6);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p && status == 0);

	// flags that contradict each other
	CHECK(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EINVAL);
	a.flags = CLONE_INTO_CGROUP;
	CHECK(clone3(&a) == -1);
	printf("ok\n");
	return 0;
}
