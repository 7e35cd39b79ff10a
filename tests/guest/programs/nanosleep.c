// nanosleep and clock_nanosleep: the remaining time after interruption, absolute time, and errors.
#include "check.h"
static void h(int s) {}
int main(void) {
	struct timespec t = {5, 0}, rem = {0}, bad = {0, 1000000000}, neg = {-1, 0}, zero = {0, 0};
	handle(SIGALRM, h, SA_RESTART);
	ualarm(20000, 0);
	RET(nanosleep(&t, &rem));
	IS(rem.tv_sec == 4 && rem.tv_nsec > 0);
	ualarm(20000, 0);
	rem = zero;
	printf("%s\n", ename(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &rem)));
	IS(rem.tv_sec == 4);
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += 5;
	rem.tv_sec = 77;
	ualarm(20000, 0);
	printf("%s\n", ename(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &rem)));
	printf("absolute leaves it alone: %ld\n", (long)rem.tv_sec);
	long a = now_ms();
	t = (struct timespec){0, 30000000};
	RET(nanosleep(&t, NULL));
	IS(now_ms() - a >= 30);
	t = (struct timespec){1, 0};
	RET(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
	RET(nanosleep(&zero, NULL));
	RET(nanosleep(&bad, NULL));
	RET(nanosleep(&neg, NULL));
	RET(nanosleep(BAD, NULL));
	printf("%s\n", ename(clock_nanosleep(999, 0, &zero, NULL)));
	printf("%s\n", ename(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &zero, NULL)));
	// A stop and continue do not interrupt a sleep.
	pid_t c = CHILD({ t = (struct timespec){0, 200000000}; RET(nanosleep(&t, NULL)); });
	ms(40);
	kill(c, SIGSTOP);
	ms(20);
	kill(c, SIGCONT);
	reap("stopped sleeper", c);
	return 0;
}
