// Clocks: they run, agree with each other, have resolutions, and setting needs privilege and sense.
#include "check.h"
static int64_t ns(clockid_t c) {
	struct timespec t;
	MUST(clock_gettime(c, &t));
	CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(void) {
	clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_TAI};
	int64_t a[7];
	for (int i = 0; i < 7; i++)
		a[i] = ns(ids[i]);
	ms(20);
	for (int i = 0; i < 7; i++) {
		struct timespec r;
		int64_t d = ns(ids[i]) - a[i];
		MUST(clock_getres(ids[i], &r));
		printf("clock %d advanced %d, resolution positive %d\n", ids[i], d >= 10000000, r.tv_nsec > 0);
	}
	int back = 0;
	int64_t last = 0;
	for (int i = 0; i < 100000; i++) {
		int64_t now = ns(CLOCK_MONOTONIC);
		back += now < last;
		last = now;
	}
	printf("went back %d times\n", back);
	struct timespec v, s;
	clock_gettime(CLOCK_MONOTONIC, &v);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &s);
	IS((s.tv_sec - v.tv_sec) * 1000000000LL + s.tv_nsec - v.tv_nsec >= 0);
	IS(labs(time(NULL) - ns(CLOCK_REALTIME) / 1000000000) <= 1);
	struct timeval tv;
	RET(gettimeofday(&tv, NULL));
	IS(labs(tv.tv_sec - time(NULL)) <= 1);
	IS(llabs(syscall(SYS_time, NULL) - time(NULL)) <= 1);
	struct timespec t;
	RET(clock_gettime(999, &t));
	RET(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD));
	RET(clock_getres(999, &t));
	RET(clock_getres(CLOCK_MONOTONIC, NULL));
	become_nobody();
	t = (struct timespec){1000000000, 0};
	RET(clock_settime(CLOCK_REALTIME, &t));
	RET(clock_settime(CLOCK_MONOTONIC, &t));
	RET(clock_settime(999, &t));
	return 0;
}
