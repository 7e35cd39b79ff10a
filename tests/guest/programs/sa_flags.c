// SA_NODEFER, SA_RESETHAND and sa_mask: what is blocked while a handler runs.
#include "check.h"
static volatile int depth, max, left;
static void h(int s) {
	sigset_t m;
	if (++depth > max)
		max = depth;
	sigprocmask(SIG_BLOCK, NULL, &m);
	printf("in %s: blocked USR1 %d USR2 %d\n", sname(s), sigismember(&m, SIGUSR1), sigismember(&m, SIGUSR2));
	if (left-- > 0 && s == SIGUSR1)
		raise(SIGUSR1);
	depth--;
}
int main(void) {
	left = 2;
	handle(SIGUSR1, h, 0);
	raise(SIGUSR1);
	printf("depth %d\n", max);
	max = 0;
	left = 2;
	handle(SIGUSR1, h, SA_NODEFER);
	raise(SIGUSR1);
	printf("depth with NODEFER %d\n", max);
	struct sigaction sa = {.sa_handler = h};
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR2);
	sigset_t m;
	sigprocmask(SIG_BLOCK, NULL, &m);
	printf("after: USR1 %d USR2 %d\n", sigismember(&m, SIGUSR1), sigismember(&m, SIGUSR2));
	handle(SIGUSR2, h, SA_RESETHAND);
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &sa);
	IS(sa.sa_handler == SIG_DFL);
	reap("the second one kills", CHILD({ handle(SIGUSR2, h, SA_RESETHAND); raise(SIGUSR2); raise(SIGUSR2); }));
	return 0;
}
