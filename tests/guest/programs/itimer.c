// setitimer: real, virtual and profiling timers, alarm's relation to them, and errors.
#include "check.h"
static volatile int n[65];
static void h(int s) { n[s]++; }
int main(void) {
	handle(SIGALRM, h, SA_RESTART);
	handle(SIGVTALRM, h, SA_RESTART);
	handle(SIGPROF, h, SA_RESTART);
	struct itimerval it = {{0, 5000}, {0, 5000}}, off = {{0}}, got;
	RET(setitimer(ITIMER_REAL, &it, NULL));
	while (n[SIGALRM] < 3)
		ms(2);
	RET(setitimer(ITIMER_REAL, &off, &got));
	printf("interval %ld\n", got.it_interval.tv_usec);
	RET(setitimer(ITIMER_VIRTUAL, &it, NULL));
	RET(setitimer(ITIMER_PROF, &it, NULL));
	ms(40);
	printf("no CPU time, no signals: %d\n", n[SIGVTALRM] <= 1 && n[SIGPROF] <= 1);
	while (n[SIGVTALRM] < 2 || n[SIGPROF] < 2)
		;
	setitimer(ITIMER_VIRTUAL, &off, NULL);
	setitimer(ITIMER_PROF, &off, NULL);
	RET(alarm(100));
	RET(alarm(200) >= 99);
	getitimer(ITIMER_REAL, &got);
	IS(got.it_value.tv_sec >= 198 && got.it_interval.tv_sec == 0);
	reap("fork clears it", CHILD({ RET(alarm(0)); }));
	RET(alarm(0) >= 199);
	RET(setitimer(9, &it, NULL));
	RET(getitimer(9, &got));
	RET(setitimer(ITIMER_REAL, BAD, NULL));
	RET(getitimer(ITIMER_REAL, BAD));
	it.it_value.tv_usec = 1000000;
	RET(setitimer(ITIMER_REAL, &it, NULL));
	it.it_value.tv_usec = -1;
	RET(setitimer(ITIMER_REAL, &it, NULL));
	return 0;
}
