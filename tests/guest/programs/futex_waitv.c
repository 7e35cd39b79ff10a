// futex_waitv waits on several words and tells which one woke it.
#include "check.h"
#include <linux/futex.h>
static int w[3];
static struct futex_waitv v[3];
static void *waker(void *a) {
	ms(50);
	w[2] = 1;
	syscall(SYS_futex, &w[2], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}
static long wv(int n, int flags, struct timespec *t, int clock) { return syscall(SYS_futex_waitv, v, n, flags, t, clock); }
int main(void) {
	for (int i = 0; i < 3; i++)
		v[i] = (struct futex_waitv){.val = 0, .uaddr = (uintptr_t)&w[i], .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
	pthread_t t;
	pthread_create(&t, NULL, waker, NULL);
	RET(wv(3, 0, NULL, 0));
	pthread_join(t, NULL);
	RET(wv(3, 0, NULL, 0));
	w[2] = 0;
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	RET(wv(3, 0, &ts, CLOCK_MONOTONIC));
	clock_gettime(CLOCK_REALTIME, &ts);
	RET(wv(3, 0, &ts, CLOCK_REALTIME));
	RET(wv(3, 0, &ts, CLOCK_BOOTTIME));
	RET(wv(0, 0, NULL, 0));
	RET(wv(129, 0, NULL, 0));
	RET(wv(3, 1, NULL, 0));
	v[1].flags = 0;
	RET(wv(3, 0, NULL, 0));
	v[1].flags = FUTEX_32;
	v[1].__reserved = 1;
	RET(wv(3, 0, NULL, 0));
	return 0;
}
