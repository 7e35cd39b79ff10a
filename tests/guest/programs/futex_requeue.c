// FUTEX_REQUEUE and CMP_REQUEUE move waiters to another word.
#include "check.h"
#include <linux/futex.h>
static int a, b, woken;
static long fx(void *u, int op, long v, long v2, void *u2, long v3) { return syscall(SYS_futex, u, op, v, v2, u2, v3); }
static void *waiter(void *x) {
	fx(&a, FUTEX_WAIT_PRIVATE, 0, 0, NULL, 0);
	__atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}
int main(void) {
	pthread_t w[5];
	for (int i = 0; i < 5; i++)
		pthread_create(&w[i], NULL, waiter, NULL);
	ms(150);
	RET(fx(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, 100, &b, 7));
	RET(fx(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, 2, &b, 0));
	RET(fx(&a, FUTEX_WAKE_PRIVATE, 1, 0, NULL, 0));
	RET(fx(&b, FUTEX_WAKE_PRIVATE, 1, 0, NULL, 0));
	RET(fx(&a, FUTEX_REQUEUE_PRIVATE, 0, 100, &b, 0));
	RET(fx(&a, FUTEX_WAKE_PRIVATE, 100, 0, NULL, 0));
	RET(fx(&b, FUTEX_WAKE_PRIVATE, 100, 0, NULL, 0));
	for (int i = 0; i < 5; i++)
		pthread_join(w[i], NULL);
	printf("woken %d\n", woken);
	RET(fx(&a, FUTEX_REQUEUE_PRIVATE, -1, 0, &b, 0));
	RET(fx(&a, FUTEX_REQUEUE_PRIVATE, 0, -1, &b, 0));
	RET(fx(&a, FUTEX_CMP_REQUEUE_PRIVATE, 0, 1, BAD, 0));
	return 0;
}
