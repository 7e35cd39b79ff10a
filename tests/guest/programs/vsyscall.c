// The three calls of the vsyscall page, which old static programs make, at their fixed addresses.
#include "check.h"
#include <sys/time.h>

int main(void) {
	struct timeval tv = {0};
	RET(((int (*)(struct timeval *, void *))0xffffffffff600000)(&tv, NULL));
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	IS(now.tv_sec - tv.tv_sec >= 0 && now.tv_sec - tv.tv_sec < 100);
	time_t t = 0, r = ((time_t(*)(time_t *))0xffffffffff600400)(&t);
	IS(r == t && r - now.tv_sec >= -1 && r - now.tv_sec < 100);
	unsigned cpu = 9999, node = 9999;
	RET(((int (*)(unsigned *, unsigned *, void *))0xffffffffff600800)(&cpu, &node, NULL));
	IS(cpu < 4096 && node < 64);
	reap("elsewhere in the page", CHILD({ ((int (*)(void *, void *))0xffffffffff600010)(NULL, NULL); }));
	return 0;
}
