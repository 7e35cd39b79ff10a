// SIGEV_THREAD: a timer's function runs in a thread of the C library.
#include "check.h"
static gate g;
static volatile int hits;
static void fn(union sigval v) {
	if (++hits == 3)
		gate_open(g);
}
int main(void) {
	g = gate_new();
	struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 7};
	e.sigev_notify_function = fn;
	timer_t t;
	MUST(timer_create(CLOCK_MONOTONIC, &e, &t));
	struct itimerspec it = {{0, 5000000}, {0, 5000000}};
	MUST(timer_settime(t, 0, &it, NULL));
	gate_wait(g);
	timer_delete(t);
	printf("three times\n");
	return 0;
}
