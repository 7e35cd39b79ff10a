// clock_nanosleep: a clock that nobody can sleep on is told before anything else is looked at.
#include "check.h"
static void try(const char *name, int id) {
	struct timespec good = {0, 1000}, bad = {0, -1};
	printf("%s\n", name);
	if (id != CLOCK_PROCESS_CPUTIME_ID)
		RET(syscall(SYS_clock_nanosleep, id, 0, &good, NULL));
	RET(syscall(SYS_clock_nanosleep, id, 0, &bad, NULL));
	RET(syscall(SYS_clock_nanosleep, id, 0, BAD, NULL));
}
int main(void) {
	try("realtime", CLOCK_REALTIME);
	try("monotonic", CLOCK_MONOTONIC);
	try("processor time of the process", CLOCK_PROCESS_CPUTIME_ID);
	try("processor time of the thread", CLOCK_THREAD_CPUTIME_ID);
	try("monotonic, raw", CLOCK_MONOTONIC_RAW);
	try("realtime, coarse", CLOCK_REALTIME_COARSE);
	try("boot time", CLOCK_BOOTTIME);
	try("international atomic time", CLOCK_TAI);
	try("none", 12);
	try("processor time of the thread, by its id", -2);
	try("a clock of a descriptor", -5);
	return 0;
}
