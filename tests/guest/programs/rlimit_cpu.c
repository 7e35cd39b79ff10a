// RLIMIT_CPU: SIGXCPU at the soft limit, SIGKILL at the hard one.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	struct rlimit c = {0, 0};
	setrlimit(RLIMIT_CORE, &c);
	pid_t p = CHILD({
		struct rlimit r = {1, 3};
		handle(SIGXCPU, h, 0);
		setrlimit(RLIMIT_CPU, &r);
		while (!n)
			;
		struct rusage u;
		getrusage(RUSAGE_SELF, &u);
		long t = u.ru_utime.tv_sec * 1000 + u.ru_utime.tv_usec / 1000 + u.ru_stime.tv_sec * 1000 + u.ru_stime.tv_usec / 1000;
		printf("signalled, not at once: %d\n", t >= 500);
	});
	reap("soft", p);
	return 0;
}
