// POSIX timers: siginfo, one-shot and interval, overruns, gettime, absolute time, deletion, errors.
#include "check.h"
static volatile int n, over;
static siginfo_t last;
static void h(int s, siginfo_t *i, void *u) {
	last = *i;
	n++;
}
int main(void) {
	timer_t t, u;
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 33};
	struct itimerspec one = {{0, 0}, {0, 10000000}}, every = {{0, 5000000}, {0, 5000000}}, off = {{0}}, got;
	handle_info(SIGUSR1, h, SA_RESTART);
	RET(timer_create(CLOCK_MONOTONIC, &e, &t));
	RET(timer_settime(t, 0, &one, NULL));
	while (n < 1)
		ms(2);
	printf("%s code %d value %d overrun %d\n", sname(last.si_signo), last.si_code, last.si_value.sival_int, last.si_overrun);
	RET(timer_gettime(t, &got));
	printf("disarmed: %d\n", got.it_value.tv_sec == 0 && got.it_value.tv_nsec == 0);
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m, NULL);
	n = 0;
	RET(timer_settime(t, 0, &every, NULL));
	ms(60);
	sigprocmask(SIG_UNBLOCK, &m, NULL);
	IS(n >= 1);
	RET(timer_settime(t, 0, &off, &got));
	printf("interval was %ld\n", got.it_interval.tv_nsec);
	sigprocmask(SIG_BLOCK, &m, NULL);
	n = 0;
	timer_settime(t, 0, &every, NULL);
	ms(60);
	siginfo_t i;
	sigwaitinfo(&m, &i);
	IS(i.si_overrun >= 5);
	IS(timer_getoverrun(t) >= 5);
	timer_settime(t, 0, &off, NULL);
	struct timespec zero = {0, 0};
	while (sigtimedwait(&m, NULL, &zero) > 0)
		;
	// An absolute time in the past fires at once.
	struct itimerspec past = {{0, 0}, {1, 0}};
	timer_settime(t, TIMER_ABSTIME, &past, NULL);
	RET(sigwaitinfo(&m, NULL));
	RET(timer_delete(t));
	RET(timer_delete(t));
	RET(syscall(SYS_timer_gettime, 12345, &got));
	e.sigev_signo = 65;
	RET(timer_create(CLOCK_MONOTONIC, &e, &u));
	e.sigev_signo = SIGUSR1;
	RET(timer_create(999, &e, &u));
	e.sigev_notify = 77;
	RET(timer_create(CLOCK_MONOTONIC, &e, &u));
	RET(timer_create(CLOCK_MONOTONIC, NULL, &u));
	one.it_value.tv_nsec = 1000000000;
	RET(timer_settime(u, 0, &one, NULL));
	e.sigev_notify = SIGEV_NONE;
	RET(timer_create(CLOCK_BOOTTIME, &e, &t));
	reap("not inherited", CHILD({ RET(timer_gettime(u, &got)); }));
	return 0;
}
