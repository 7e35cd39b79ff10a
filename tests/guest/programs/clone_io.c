// CLONE_IO: an I/O priority is shared with it, and copied without.
#include "check.h"
#include <linux/kcmp.h>
#define BE(n) (2 << 13 | (n))
static long get(int pid) { return syscall(SYS_ioprio_get, 1, pid); }
static long set(int pid, int v) { return syscall(SYS_ioprio_set, 1, pid, v); }
static int same(pid_t a, pid_t b) { return syscall(SYS_kcmp, a, b, KCMP_IO, 0, 0) == 0; }
static gate in, out;
static int run(void *a) {
	gate_open(in);
	gate_wait(out);
	return 0;
}
static char stack[65536] __attribute__((aligned(16)));
static void child(const char *what, int flags) {
	pid_t c = MUST(clone(run, stack + sizeof stack, flags | SIGCHLD, NULL));
	gate_wait(in);
	printf("%s: priority %lx\n", what, get(c));
	MUST(set(c, BE(6)));
	printf("the parent's: %lx\n", get(0));
	IS(same(getpid(), c));
	MUST(set(c, BE(3)));
	gate_open(out);
	reap(what, c);
}
int main(void) {
	in = gate_new(), out = gate_new();
	MUST(set(0, BE(3)));
	child("copied", 0);
	child("shared", CLONE_IO);
	printf("afterwards: %lx\n", get(0));
	return 0;
}
