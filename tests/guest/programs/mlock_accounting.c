// mlock, munlock, mlockall: what VmLck counts, that the limit holds for the unprivileged, and nesting does not count.
#include "check.h"
static long vmlck(void) {
	FILE *f = fopen("/proc/self/status", "r");
	char l[256];
	long v = -1;
	while (fgets(l, sizeof l, f))
		if (sscanf(l, "VmLck: %ld", &v) == 1)
			break;
	fclose(f);
	return v;
}
int main(void) {
	struct rlimit r = {64 * 1024, 64 * 1024};
	MUST(setrlimit(RLIMIT_MEMLOCK, &r));
	become_nobody();
	char *p = anon(32);
	printf("VmLck %ld\n", vmlck());
	RET(mlock(p, 4 * PAGE));
	printf("VmLck %ld\n", vmlck());
	RET(mlock(p + 2 * PAGE, 4 * PAGE));
	printf("VmLck %ld\n", vmlck());
	RET(mlock(p + 100, 1));
	RET(mlock(p, 32 * PAGE));
	printf("VmLck %ld\n", vmlck());
	RET(munlock(p + PAGE, PAGE));
	printf("VmLck %ld\n", vmlck());
	RET(mlock2(p + 8 * PAGE, PAGE, MLOCK_ONFAULT));
	RET(mlock2(p + 8 * PAGE, PAGE, 8));
	printf("VmLck %ld\n", vmlck());
	RET(mlockall(MCL_CURRENT));
	RET(mlockall(0));
	RET(mlockall(MCL_ONFAULT));
	RET(mlockall(64));
	OK(mmap(NULL, 32 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
	reap("locks are not inherited", CHILD({ printf("VmLck %ld\n", vmlck()); }));
	RET(munmap(p, PAGE));
	printf("VmLck %ld\n", vmlck());
	RET(munlockall());
	printf("VmLck %ld\n", vmlck());
	MUST(munmap(p + 20 * PAGE, PAGE));
	RET(mlock(p + 19 * PAGE, 3 * PAGE));
	r.rlim_cur = r.rlim_max = 0;
	MUST(setrlimit(RLIMIT_MEMLOCK, &r));
	RET(mlock(p + PAGE, PAGE));
	return 0;
}
