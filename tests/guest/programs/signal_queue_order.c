// Pending signals: real-time ones queue with their values in order, others only once; low numbers first.
#include "check.h"
static int log_[32], vals[32], n;
static void h(int s, siginfo_t *i, void *u) {
	log_[n] = s;
	vals[n++] = i->si_value.sival_int;
}
int main(void) {
	sigset_t all, old;
	int sigs[] = {SIGRTMIN + 5, SIGRTMIN + 1, SIGUSR2, SIGRTMIN + 5, SIGUSR1, SIGRTMIN + 1, SIGUSR2, SIGRTMIN + 5};
	for (int i = 0; i < 8; i++) {
		struct sigaction sa = {.sa_sigaction = h, .sa_flags = SA_SIGINFO};
		sigfillset(&sa.sa_mask);
		sigaction(sigs[i], &sa, NULL);
	}
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < 8; i++)
		MUST(sigqueue(getpid(), sigs[i], (union sigval){.sival_int = i}));
	sigprocmask(SIG_SETMASK, &old, NULL);
	for (int i = 0; i < n; i++)
		printf("%s value %d\n", sname(log_[i]), vals[i]);
	return 0;
}
