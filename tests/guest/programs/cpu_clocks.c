// CPU-time clocks of threads and processes, own and of others.
#include "check.h"
static int64_t ns(clockid_t c) {
	struct timespec t;
	if (clock_gettime(c, &t))
		return -1;
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void burn(int msec) {
	int64_t a = ns(CLOCK_THREAD_CPUTIME_ID);
	while (ns(CLOCK_THREAD_CPUTIME_ID) - a < msec * 1000000LL)
		;
}
static volatile int stop;
static void *body(void *a) {
	burn(40);
	while (!stop)
		ms(2);
	return NULL;
}
int main(void) {
	int64_t a = ns(CLOCK_PROCESS_CPUTIME_ID);
	ms(50);
	IS(ns(CLOCK_PROCESS_CPUTIME_ID) - a < 40000000);
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	clockid_t tc, pc;
	RET(pthread_getcpuclockid(t, &tc));
	while (ns(tc) < 40000000)
		ms(5);
	IS(ns(CLOCK_PROCESS_CPUTIME_ID) >= ns(tc));
	IS(ns(CLOCK_THREAD_CPUTIME_ID) < ns(CLOCK_PROCESS_CPUTIME_ID));
	stop = 1;
	pthread_join(t, NULL);
	IS(ns(CLOCK_PROCESS_CPUTIME_ID) >= 40000000);
	gate g = gate_new();
	pid_t c = CHILD({ burn(30); gate_open(g); for (;;) pause(); });
	RET(clock_getcpuclockid(c, &pc));
	gate_wait(g);
	IS(ns(pc) >= 30000000);
	kill(c, SIGKILL);
	reap("child", c);
	RET(ns(pc));
	RET(clock_getcpuclockid(c, &pc) == ESRCH);
	clock_t tk = times(NULL);
	IS(tk > 0);
	return 0;
}
