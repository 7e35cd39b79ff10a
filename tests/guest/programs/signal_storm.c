// Many signals between two processes while both compute: none is lost that queues, nothing breaks.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	sigset_t m, o;
	sigemptyset(&m);
	sigaddset(&m, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &m, &o);
	handle(SIGRTMIN, h, SA_RESTART);
	pid_t me = getpid();
	pid_t c = CHILD({
		for (int i = 0; i < 200; i++)
			while (sigqueue(me, SIGRTMIN, (union sigval){0}) != 0)
				usleep(1000);
	});
	sigprocmask(SIG_SETMASK, &o, NULL);
	double x = 1;
	while (n < 200)
		for (int i = 0; i < 1000; i++)
			x = x * 1.0000001 + 0.5;
	reap("sender", c);
	printf("handled %d, computed %d\n", n, x >= 1);
	return 0;
}
