// SIGEV_THREAD_ID sends a timer's signal to one thread; CPU-time timers count only CPU time.
#include "check.h"
static volatile pid_t where;
static volatile int n;
static void h(int s) {
	where = gettid();
	n++;
}
static void *body(void *a) {
	*(pid_t *)a = gettid();
	while (!n)
		usleep(2000);
	return NULL;
}
int main(void) {
	handle(SIGUSR1, h, SA_RESTART);
	volatile pid_t tid = 0;
	pthread_t t;
	pthread_create(&t, NULL, body, (void *)&tid);
	while (!tid)
		usleep(1000);
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	e._sigev_un._tid = tid;
	timer_t tm;
	MUST(timer_create(CLOCK_MONOTONIC, &e, &tm));
	struct itimerspec it = {{0, 0}, {0, 10000000}};
	MUST(timer_settime(tm, 0, &it, NULL));
	pthread_join(t, NULL);
	printf("in that thread: %d\n", where == tid);
	e._sigev_un._tid = 999999;
	RET(timer_create(CLOCK_MONOTONIC, &e, &tm));
	n = 0;
	struct sigevent c = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	MUST(timer_create(CLOCK_PROCESS_CPUTIME_ID, &c, &tm));
	it.it_value.tv_nsec = 40000000;
	MUST(timer_settime(tm, 0, &it, NULL));
	ms(100);
	printf("asleep: %d\n", n);
	while (!n)
		;
	printf("busy: %d\n", n);
	return 0;
}
