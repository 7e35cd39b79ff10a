// With SIGCHLD ignored or SA_NOCLDWAIT children leave no zombie, and wait blocks until the last is gone.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	signal(SIGCHLD, SIG_IGN);
	CHILD(_exit(1));
	CHILD({ ms(20); _exit(1); });
	RET(wait(NULL));
	struct sigaction sa = {.sa_handler = h, .sa_flags = SA_NOCLDWAIT | SA_RESTART};
	sigaction(SIGCHLD, &sa, NULL);
	CHILD({ ms(20); _exit(1); });
	RET(wait(NULL));
	printf("handled %d\n", n);
	signal(SIGCHLD, SIG_DFL);
	pid_t c = CHILD(_exit(2));
	reap("default", c);
	// SA_NOCLDSTOP: no signal for stops.
	n = 0;
	handle(SIGCHLD, h, SA_NOCLDSTOP | SA_RESTART);
	c = CHILD({ for (;;) pause(); });
	kill(c, SIGSTOP);
	int st;
	waitpid(c, &st, WUNTRACED);
	printf("stops signalled: %d\n", n);
	handle(SIGCHLD, h, SA_RESTART);
	kill(c, SIGCONT);
	waitpid(c, &st, WCONTINUED);
	kill(c, SIGSTOP);
	waitpid(c, &st, WUNTRACED);
	IS(n >= 1);
	kill(c, SIGKILL);
	reap("killed", c);
	return 0;
}
