// clone3: pidfd, parent_tid, child_tid, a stack, and an exit signal other than SIGCHLD.
#include "check.h"
#include <linux/sched.h>
static volatile int got;
static void h(int s) { got = s; }
int main(void) {
	int pidfd = -1;
	pid_t ptid = 0;
	static pid_t ctid;
	struct clone_args a = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, .exit_signal = SIGUSR1, .pidfd = (uintptr_t)&pidfd, .parent_tid = (uintptr_t)&ptid, .child_tid = (uintptr_t)&ctid};
	handle(SIGUSR1, h, 0);
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0) {
		_exit(ctid == getpid() ? 7 : 1);
	}
	IS(ptid == r);
	IS(ctid == 0);
	IS(pidfd >= 0);
	int st;
	RET(waitpid(r, &st, 0) == -1);
	RET(waitpid(r, &st, __WCLONE) == r);
	say_status("child", st);
	printf("signal %s\n", sname(got));
	RET(fcntl(pidfd, F_GETFD));
	// Without an exit signal nothing is sent, and __WCLONE or __WALL is needed too.
	got = 0;
	struct clone_args b = {0};
	r = syscall(SYS_clone3, &b, sizeof b);
	if (r == 0)
		_exit(8);
	RET(waitpid(r, &st, __WALL) == r);
	say_status("child", st);
	printf("signal %s\n", sname(got));
	// CLONE_CLEAR_SIGHAND resets handlers but not what is ignored.
	signal(SIGUSR2, SIG_IGN);
	struct clone_args c = {.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
	r = syscall(SYS_clone3, &c, sizeof c);
	if (r == 0) {
		struct sigaction sa;
		sigaction(SIGUSR1, NULL, &sa);
		IS(sa.sa_handler == SIG_DFL);
		sigaction(SIGUSR2, NULL, &sa);
		IS(sa.sa_handler == SIG_IGN);
		_exit(0);
	}
	reap("cleared", r);
	return 0;
}
