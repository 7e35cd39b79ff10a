// RLIMIT_SIGPENDING bounds queued signals; sigqueue and rt_sigqueueinfo check their arguments.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	struct rlimit r = {5, 5};
	if (geteuid() == 0) // a user of our own, so that nobody else's signals count
		MUST(setresuid(54321, 54321, 54321));
	sigset_t m, old;
	sigemptyset(&m);
	sigaddset(&m, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &m, &old);
	signal(SIGRTMIN, h);
	if (getuid() == 54321) {
		MUST(setrlimit(RLIMIT_SIGPENDING, &r));
		int k = 0;
		while (sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
			k++;
		printf("queued %d, then %s\n", k, ename(errno));
		printf("kill still works: %d\n", kill(getpid(), SIGRTMIN));
		sigprocmask(SIG_SETMASK, &old, NULL);
		printf("handled %d\n", n);
	}
	siginfo_t i = {.si_signo = SIGUSR1, .si_code = SI_USER};
	RET(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &i));
	i.si_code = SI_TKILL;
	RET(syscall(SYS_rt_sigqueueinfo, getppid(), 0, &i));
	i.si_code = SI_QUEUE;
	RET(syscall(SYS_rt_sigqueueinfo, getpid(), 65, &i));
	RET(syscall(SYS_rt_sigqueueinfo, getpid(), 0, &i));
	RET(syscall(SYS_rt_sigqueueinfo, 999999, 0, &i));
	RET(syscall(SYS_rt_sigqueueinfo, getpid(), 0, BAD));
	RET(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), 0, &i));
	RET(syscall(SYS_rt_tgsigqueueinfo, getpid(), 999999, 0, &i));
	return 0;
}
