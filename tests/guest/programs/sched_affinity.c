// CPU affinity: kept, inherited, cut to the machine's CPUs, and its errors.
#include "check.h"
int main(void) {
	cpu_set_t all, one, got;
	MUST(sched_getaffinity(0, sizeof all, &all));
	IS(CPU_COUNT(&all) >= 1);
	int first = 0;
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	RET(sched_setaffinity(0, sizeof one, &one));
	MUST(sched_getaffinity(0, sizeof got, &got));
	IS(CPU_EQUAL(&one, &got));
	IS(sched_getcpu() == first);
	reap("inherited", CHILD({ sched_getaffinity(0, sizeof got, &got); IS(CPU_EQUAL(&one, &got)); }));
	CPU_ZERO(&got);
	RET(sched_setaffinity(0, sizeof got, &got));
	CPU_SET(1000, &got);
	RET(sched_setaffinity(0, sizeof got, &got));
	RET(sched_setaffinity(0, sizeof all, &all));
	RET(sched_setaffinity(999999, sizeof all, &all));
	RET(sched_setaffinity(0, 8, BAD));
	RET(syscall(SYS_sched_getaffinity, 0, 3, &got));
	IS(syscall(SYS_sched_getaffinity, 0, sizeof got, &got) > 0);
	IS(sysconf(_SC_NPROCESSORS_ONLN) >= CPU_COUNT(&all));
	return 0;
}
