// getrlimit, setrlimit, prlimit: soft and hard, inheritance, and errors.
#include "check.h"
int main(void) {
	struct rlimit r = {100, 200}, o;
	become_nobody();
	RET(setrlimit(RLIMIT_NOFILE, &r));
	RET(getrlimit(RLIMIT_NOFILE, &o));
	printf("%ld %ld\n", (long)o.rlim_cur, (long)o.rlim_max);
	r.rlim_cur = 201;
	RET(setrlimit(RLIMIT_NOFILE, &r));
	r.rlim_max = 201;
	RET(setrlimit(RLIMIT_NOFILE, &r));
	r = (struct rlimit){50, 60};
	RET(prlimit(0, RLIMIT_NOFILE, &r, &o));
	printf("old %ld %ld\n", (long)o.rlim_cur, (long)o.rlim_max);
	reap("child", CHILD({ getrlimit(RLIMIT_NOFILE, &o); printf("child %ld %ld\n", (long)o.rlim_cur, (long)o.rlim_max); }));
	RET(prlimit(getpid(), RLIMIT_NOFILE, NULL, &o));
	printf("%ld %ld\n", (long)o.rlim_cur, (long)o.rlim_max);
	RET(getrlimit(99, &o));
	RET(getrlimit(RLIMIT_NOFILE, BAD));
	RET(setrlimit(RLIMIT_NOFILE, BAD));
	RET(prlimit(999999, RLIMIT_NOFILE, NULL, &o));
	RET(prlimit(1, RLIMIT_NOFILE, NULL, &o) < 0 || getpid() == 1);
	// The limit is on descriptor numbers.
	RET(dup2(0, 50));
	RET(dup2(0, 49));
	RET(fcntl(0, F_DUPFD, 50));
	int n = 0;
	while (open("/dev/null", O_RDONLY) >= 0)
		n++;
	printf("then %s\n", ename(errno));
	IS(n > 30 && n < 50);
	return 0;
}
