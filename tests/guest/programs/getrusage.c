// getrusage: own and children's CPU time and faults count, and children's only after wait.
#include "check.h"
static long used(int who) {
	struct rusage u;
	MUST(getrusage(who, &u));
	return u.ru_utime.tv_sec * 1000 + u.ru_utime.tv_usec / 1000 + u.ru_stime.tv_sec * 1000 + u.ru_stime.tv_usec / 1000;
}
static void burn(int msec) {
	struct timespec t;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	while (t.tv_sec * 1000 + t.tv_nsec / 1000000 < msec);
}
int main(void) {
	burn(60);
	IS(used(RUSAGE_SELF) >= 50);
	IS(used(RUSAGE_THREAD) >= 50);
	IS(used(RUSAGE_CHILDREN) == 0);
	pid_t c = CHILD(burn(60));
	await_state(c, 'Z');
	IS(used(RUSAGE_CHILDREN) == 0);
	struct rusage u;
	int st;
	IS(wait4(c, &st, 0, &u) == c);
	IS(u.ru_utime.tv_usec + u.ru_utime.tv_sec * 1000000 + u.ru_stime.tv_usec >= 50000);
	IS(used(RUSAGE_CHILDREN) >= 50);
	getrusage(RUSAGE_SELF, &u);
	long before = u.ru_minflt;
	char *p = anon(200);
	MUST(madvise(p, 200 * PAGE, MADV_NOHUGEPAGE));
	for (int i = 0; i < 200; i++)
		p[i * PAGE] = 1;
	getrusage(RUSAGE_SELF, &u);
	IS(u.ru_minflt > before);
	IS(u.ru_maxrss > 500);
	RET(getrusage(5, &u));
	RET(getrusage(RUSAGE_SELF, BAD));
	IS(times(NULL) != -1);
	return 0;
}
