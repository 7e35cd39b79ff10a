// seccomp filters: errno by call and by argument, stacking, inheritance, and the lowest action wins.
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#define LD(off) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, off)
#define EQ(v, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, t, f)
#define R(v) BPF_STMT(BPF_RET | BPF_K, v)
static long install(struct sock_filter *f, int n) {
	struct sock_fprog p = {n, f};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}
int main(void) {
	struct sock_filter a[] = {LD(offsetof(struct seccomp_data, nr)), EQ(SYS_getppid, 0, 1), R(SECCOMP_RET_ERRNO | 77), EQ(SYS_dup, 0, 3), LD(offsetof(struct seccomp_data, args[0])), EQ(100, 0, 1), R(SECCOMP_RET_ERRNO | ENETDOWN), R(SECCOMP_RET_ALLOW)};
	become_nobody();
	RET(install(a, 8));
	RET(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	struct sock_filter bad[] = {LD(offsetof(struct seccomp_data, nr))}, far[] = {EQ(1, 5, 5), R(0)}, odd[] = {LD(3), R(SECCOMP_RET_ALLOW)};
	RET(install(bad, 1));
	RET(install(far, 2));
	RET(install(odd, 2));
	RET(install(a, 0));
	RET(install(BAD, 3));
	RET(syscall(SYS_seccomp, 99, 0, NULL));
	RET(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0x100, NULL));
	unsigned act = SECCOMP_RET_ERRNO;
	RET(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &act));
	act = 0x12340000;
	RET(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &act));
	RET(install(a, 8));
	RET(prctl(PR_GET_SECCOMP));
	errno = 0;
	printf("getppid %ld errno %d\n", syscall(SYS_getppid), errno);
	RET(dup(100));
	RET(dup(101));
	reap("child", CHILD({ RET(syscall(SYS_getppid)); }));
	struct sock_filter b[] = {LD(offsetof(struct seccomp_data, nr)), EQ(SYS_getppid, 0, 1), R(SECCOMP_RET_ERRNO | EDOM), EQ(SYS_uname, 0, 1), R(SECCOMP_RET_ERRNO | 5000), R(SECCOMP_RET_ALLOW)};
	RET(install(b, 6));
	RET(syscall(SYS_getppid)); // equal actions: the newest filter's data
	errno = 0;
	printf("uname %ld", syscall(SYS_uname, NULL));
	printf(" errno is cut to %d\n", errno);
	return 0;
}
