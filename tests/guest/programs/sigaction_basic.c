// sigaction: returns the old action, refuses KILL and STOP, bad numbers and bad addresses.
#include "check.h"
static volatile int n;
static void h(int s) { n += s; }
int main(void) {
	struct sigaction sa = {.sa_handler = h, .sa_flags = SA_RESTART}, old;
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaddset(&sa.sa_mask, SIGKILL);
	RET(sigaction(SIGUSR1, &sa, &old));
	IS(old.sa_handler == SIG_DFL);
	RET(sigaction(SIGUSR1, NULL, &old));
	IS(old.sa_handler == h);
	IS(old.sa_flags & SA_RESTART);
	IS(sigismember(&old.sa_mask, SIGUSR2));
	printf("KILL is taken out of the mask: %d\n", !sigismember(&old.sa_mask, SIGKILL));
	RET(sigaction(SIGKILL, &sa, NULL));
	RET(sigaction(SIGSTOP, &sa, NULL));
	RET(sigaction(SIGKILL, NULL, &old));
	RET(sigaction(0, &sa, NULL));
	RET(sigaction(65, &sa, NULL));
	RET(syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8));
	RET(syscall(SYS_rt_sigaction, SIGUSR1, NULL, BAD, 8));
	RET(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16));
	raise(SIGUSR1);
	printf("handled %d\n", n);
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	printf("ignored %d\n", n);
	// Setting a pending blocked signal to "ignore" discards it.
	sigset_t m, p;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR2);
	sigprocmask(SIG_BLOCK, &m, NULL);
	raise(SIGUSR2);
	sigpending(&p);
	IS(sigismember(&p, SIGUSR2));
	signal(SIGUSR2, SIG_IGN);
	sigpending(&p);
	IS(sigismember(&p, SIGUSR2));
	return 0;
}
