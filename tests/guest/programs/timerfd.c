// timerfd: expirations, blocking and non-blocking reads, polling, gettime, absolute times, errors.
#include "check.h"
#include <sys/timerfd.h>
int main(void) {
	int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	uint64_t v = 0;
	RET(read(fd, &v, 8));
	struct itimerspec it = {{0, 0}, {0, 10000000}}, got;
	RET(timerfd_settime(fd, 0, &it, NULL));
	struct pollfd p = {fd, POLLIN};
	RET(poll(&p, 1, 1000));
	RET(read(fd, &v, 7));
	RET(read(fd, &v, 8));
	printf("expirations %lu\n", v);
	RET(read(fd, &v, 8));
	RET(timerfd_gettime(fd, &got));
	printf("disarmed %d\n", got.it_value.tv_nsec == 0);
	it = (struct itimerspec){{0, 5000000}, {0, 5000000}};
	timerfd_settime(fd, 0, &it, NULL);
	ms(50);
	RET(read(fd, &v, 8));
	IS(v >= 5);
	it = (struct itimerspec){{0, 0}, {100, 0}};
	RET(timerfd_settime(fd, 0, &it, &got));
	printf("old interval %ld\n", got.it_interval.tv_nsec);
	RET(read(fd, &v, 8));
	timerfd_gettime(fd, &got);
	IS(got.it_value.tv_sec >= 98 && got.it_value.tv_sec <= 100);
	it = (struct itimerspec){{0, 0}, {1, 0}};
	RET(timerfd_settime(fd, TFD_TIMER_ABSTIME, &it, NULL));
	RET(read(fd, &v, 8));
	printf("past: %lu\n", v);
	int b = MUST(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
	it = (struct itimerspec){{0, 0}, {0, 20000000}};
	timerfd_settime(b, 0, &it, NULL);
	RET(read(b, &v, 8));
	printf("blocking: %lu\n", v);
	RET(timerfd_create(999, 0));
	RET(timerfd_create(CLOCK_MONOTONIC, 0x1));
	it.it_value.tv_nsec = -1;
	RET(timerfd_settime(fd, 0, &it, NULL));
	RET(timerfd_settime(0, 0, &it, NULL));
	RET(timerfd_settime(99, 0, &it, NULL));
	RET(timerfd_settime(fd, 0x80, &it, NULL));
	RET(timerfd_settime(fd, 0, BAD, NULL));
	RET(timerfd_gettime(fd, BAD));
	RET(write(fd, &v, 8));
	RET(lseek(fd, 0, SEEK_SET));
	return 0;
}
