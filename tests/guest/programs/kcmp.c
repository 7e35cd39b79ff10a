// kcmp: which resources two processes or descriptors share.
#include "check.h"
#include <linux/kcmp.h>
static long k(pid_t a, pid_t b, int t, long x, long y) { return syscall(SYS_kcmp, a, b, t, x, y); }
static int run(void *a) {
	gate *g = a;
	gate_open(g[0]);
	gate_wait(g[1]);
	return 0;
}
static char stack[65536] __attribute__((aligned(16)));
int main(void) {
	pid_t me = getpid();
	int fd = file_with("f", "x"), same = dup(fd), other = open("f", O_RDWR);
	IS(k(me, me, KCMP_FILE, fd, same) == 0);
	IS(k(me, me, KCMP_FILE, fd, other) > 0);
	IS(k(me, me, KCMP_FILE, fd, other) + k(me, me, KCMP_FILE, other, fd) == 3);
	gate g[2] = {gate_new(), gate_new()};
	pid_t c = MUST(clone(run, stack + sizeof stack, CLONE_FILES | SIGCHLD, g));
	gate_wait(g[0]);
	printf("files %d fs %d vm %d sighand %d file %d\n", k(me, c, KCMP_FILES, 0, 0) == 0, k(me, c, KCMP_FS, 0, 0) == 0, k(me, c, KCMP_VM, 0, 0) == 0, k(me, c, KCMP_SIGHAND, 0, 0) == 0, k(me, c, KCMP_FILE, fd, same) == 0);
	gate_open(g[1]);
	reap("child", c);
	RET(k(me, me, KCMP_FILE, fd, 99));
	RET(k(me, me, 99, 0, 0));
	RET(k(me, 999999, KCMP_VM, 0, 0));
	return 0;
}
