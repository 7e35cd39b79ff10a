// FUTEX_WAIT and WAKE: counts, values, timeouts, errors and interruption.
#include "check.h"
#include <linux/futex.h>
static int f, woken;
static long fx(void *u, int op, int v, void *t) { return syscall(SYS_futex, u, op, v, t, NULL, 0); }
static void *waiter(void *a) {
	while (f == 0)
		fx(&f, FUTEX_WAIT_PRIVATE, 0, NULL);
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}
static void h(int s) {}
int main(void) {
	struct timespec t = {0, 20000000}, bad = {0, 1000000000}, neg = {-1, 0};
	RET(fx(&f, FUTEX_WAIT, 1, NULL));
	RET(fx(&f, FUTEX_WAIT, 0, &t));
	RET(fx(&f, FUTEX_WAIT, 0, &bad));
	RET(fx(&f, FUTEX_WAIT, 0, &neg));
	RET(fx(&f, FUTEX_WAIT, 0, BAD));
	RET(fx((char *)&f + 1, FUTEX_WAIT, 0, &t));
	RET(fx(BAD, FUTEX_WAIT, 0, &t));
	RET(fx(&f, FUTEX_WAKE, 1, NULL));
	RET(fx(BAD + 8, FUTEX_WAKE_PRIVATE, 1, NULL));
	RET(fx(&f, 77, 1, NULL));
	pthread_t w[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&w[i], NULL, waiter, NULL);
	ms(100);
	f = 1;
	RET(fx(&f, FUTEX_WAKE_PRIVATE, 1, NULL));
	RET(fx(&f, FUTEX_WAKE_PRIVATE, 100, NULL));
	for (int i = 0; i < 3; i++)
		pthread_join(w[i], NULL);
	printf("woken %d\n", woken);
	f = 0;
	handle(SIGALRM, h, 0);
	ualarm(30000, 0);
	RET(fx(&f, FUTEX_WAIT, 0, NULL));
	handle(SIGALRM, h, SA_RESTART);
	ualarm(20000, 0);
	struct timespec long_t = {0, 100000000};
	RET(fx(&f, FUTEX_WAIT, 0, &long_t));
	return 0;
}
