// SECCOMP_FILTER_FLAG_TSYNC puts a filter on all threads; without it the others keep theirs.
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static pthread_barrier_t bar;
static long install(int nr, int err, int flags) {
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog p = {4, f};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
static void *other(void *a) {
	pthread_barrier_wait(&bar);
	pthread_barrier_wait(&bar);
	printf("other thread: getppid %s, getpgrp %s\n", syscall(SYS_getppid) < 0 ? ename(errno) : "allowed", syscall(SYS_getpgrp) < 0 ? ename(errno) : "allowed");
	return NULL;
}
int main(void) {
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	pthread_barrier_init(&bar, NULL, 2);
	pthread_t t;
	pthread_create(&t, NULL, other, NULL);
	pthread_barrier_wait(&bar);
	RET(install(SYS_getppid, EDOM, SECCOMP_FILTER_FLAG_TSYNC));
	RET(install(SYS_getpgrp, ERANGE, 0));
	RET(syscall(SYS_getppid));
	RET(syscall(SYS_getpgrp));
	pthread_barrier_wait(&bar);
	pthread_join(t, NULL);
	return 0;
}
