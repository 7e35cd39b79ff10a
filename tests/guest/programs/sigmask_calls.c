// rt_sigprocmask, sigsuspend, sigpending and per-thread masks.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
static void *body(void *a) {
	sigset_t m;
	pthread_sigmask(SIG_BLOCK, NULL, &m);
	printf("thread inherits USR1 blocked: %d\n", sigismember(&m, SIGUSR1));
	sigaddset(&m, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	return NULL;
}
int main(void) {
	sigset_t m, o, none;
	sigemptyset(&none);
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	handle(SIGUSR1, h, 0);
	RET(sigprocmask(SIG_BLOCK, &m, &o));
	raise(SIGUSR1);
	printf("blocked: %d\n", n);
	RET(sigsuspend(&none));
	printf("after sigsuspend: %d\n", n);
	sigprocmask(SIG_BLOCK, NULL, &o);
	printf("mask is back: %d\n", sigismember(&o, SIGUSR1));
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	sigprocmask(SIG_BLOCK, NULL, &o);
	printf("mine unchanged: %d\n", sigismember(&o, SIGUSR2));
	sigfillset(&m);
	sigprocmask(SIG_SETMASK, &m, NULL);
	sigprocmask(SIG_BLOCK, NULL, &o);
	printf("KILL %d STOP %d TERM %d\n", sigismember(&o, SIGKILL), sigismember(&o, SIGSTOP), sigismember(&o, SIGTERM));
	RET(syscall(SYS_rt_sigprocmask, 9, &m, NULL, 8));
	RET(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &m, NULL, 4));
	RET(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8));
	RET(syscall(SYS_rt_sigprocmask, 9, NULL, &o, 8));
	RET(syscall(SYS_rt_sigsuspend, BAD, 8));
	RET(syscall(SYS_rt_sigpending, &o, 9));
	RET(syscall(SYS_rt_sigpending, BAD, 8));
	return 0;
}
