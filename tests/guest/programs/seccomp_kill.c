// seccomp: killing a thread or process, strict mode, and the trap signal with its siginfo.
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
static void on(int nr, unsigned action) {
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog p = {4, f};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p));
}
static void h(int s, siginfo_t *i, void *u) {
	ucontext_t *c = u;
	printf("%s code %d errno %d call %d arch %d rax is the number %d\n", sname(s), i->si_code, i->si_errno, i->si_syscall == SYS_getppid, i->si_arch == AUDIT_ARCH_X86_64, c->uc_mcontext.gregs[REG_RAX] == SYS_getppid);
	c->uc_mcontext.gregs[REG_RAX] = 1234;
}
static void *call(void *a) {
	on(SYS_getppid, SECCOMP_RET_KILL_THREAD);
	syscall(SYS_getppid);
	printf("not reached\n");
	return NULL;
}
int main(void) {
	struct rlimit r = {0, 0};
	setrlimit(RLIMIT_CORE, &r);
	reap("kill process", CHILD({ on(SYS_getppid, SECCOMP_RET_KILL_PROCESS); getppid(); }));
	reap("kill only thread", CHILD({ on(SYS_getppid, SECCOMP_RET_KILL_THREAD); getppid(); }));
	reap("kill one of two threads", CHILD({
		pthread_t t;
		pthread_create(&t, NULL, call, NULL);
		ms(50);
		printf("survived\n");
		_exit(5);
	}));
	reap("trap", CHILD({ handle_info(SIGSYS, h, 0); on(SYS_getppid, SECCOMP_RET_TRAP | 42); printf("result %d\n", getppid()); }));
	reap("trap without handler", CHILD({ on(SYS_getppid, SECCOMP_RET_TRAP); getppid(); }));
	reap("log", CHILD({ on(SYS_getppid, SECCOMP_RET_LOG); IS(getppid() > 0); }));
	reap("unknown action", CHILD({ on(SYS_getppid, 0x11110000); getppid(); }));
	reap("trace without tracer", CHILD({ on(SYS_getppid, SECCOMP_RET_TRACE); RET(getppid()); }));
	reap("strict", CHILD({ MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)); syscall(SYS_write, 1, "strict write\n", 13); syscall(SYS_exit, 3); }));
	reap("strict, other call", CHILD({ MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)); syscall(SYS_getpid); }));
	return 0;
}
