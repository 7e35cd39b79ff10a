// clone and clone3: combinations that are refused.
#include "check.h"
#include <linux/sched.h>
static long c(unsigned long flags) {
	long r = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (r == 0)
		_exit(0);
	int e = errno;
	if (r > 0) {
		waitpid(r, NULL, __WALL);
		return 0;
	}
	errno = e;
	return r;
}
static long c3(struct clone_args *a, size_t n) {
	long r = syscall(SYS_clone3, a, n);
	if (r == 0)
		_exit(0);
	int e = errno;
	if (r > 0) {
		waitpid(r, NULL, __WALL);
		return 0;
	}
	errno = e;
	return r;
}
int main(void) {
	RET(c(0));
	RET(c(CLONE_SIGHAND));
	RET(c(CLONE_THREAD));
	RET(c(CLONE_THREAD | CLONE_SIGHAND));
	RET(c(CLONE_NEWNS | CLONE_FS));
	RET(c(CLONE_NEWIPC | CLONE_SYSVSEM));
	RET(c(CLONE_PIDFD | CLONE_PARENT_SETTID));
	struct clone_args a = {.exit_signal = SIGCHLD};
	RET(c3(&a, sizeof a));
	RET(c3(&a, 64));
	RET(c3(&a, 63));
	RET(c3(&a, 8));
	RET(c3(&a, 5000));
	RET(c3(BAD, sizeof a));
	a.exit_signal = 65;
	RET(c3(&a, sizeof a));
	a.exit_signal = SIGCHLD;
	a.flags = 0xff;
	RET(c3(&a, sizeof a));
	a.flags = CLONE_DETACHED;
	RET(c3(&a, sizeof a));
	a.flags = 0;
	a.stack = 0x1000;
	RET(c3(&a, sizeof a));
	a.stack = 0;
	a.stack_size = 0x1000;
	RET(c3(&a, sizeof a));
	a.stack_size = 0;
	pid_t want[1] = {0};
	a.set_tid = (uintptr_t)want;
	a.set_tid_size = 1;
	RET(c3(&a, sizeof a));
	a.set_tid_size = 100;
	RET(c3(&a, sizeof a));
	a.set_tid = 0;
	RET(c3(&a, sizeof a));
	// A newer, longer structure is taken as long as the rest is zero.
	struct { struct clone_args a; uint64_t more; } big = {{.exit_signal = SIGCHLD}, 0};
	RET(c3(&big.a, sizeof big));
	big.more = 1;
	RET(c3(&big.a, sizeof big));
	return 0;
}
