// FUTEX_WAIT_BITSET with absolute time-outs, WAKE_BITSET by mask, and WAKE_OP.
#include "check.h"
#include <linux/futex.h>
static int a, b;
static volatile int by[3];
static long fx(void *u, int op, long v, void *v2, void *u2, long v3) { return syscall(SYS_futex, u, op, v, v2, u2, v3); }
static void *waiter(void *x) {
	long bit = (long)x;
	fx(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 1 << bit);
	by[bit] = 1;
	return NULL;
}
static void *on_b(void *x) {
	fx(&b, FUTEX_WAIT_PRIVATE, *(int *)x, NULL, NULL, 0);
	return NULL;
}
int main(void) {
	pthread_t w[3];
	for (long i = 0; i < 3; i++)
		pthread_create(&w[i], NULL, waiter, (void *)i);
	ms(100);
	RET(fx(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 8));
	RET(fx(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2));
	pthread_join(w[1], NULL);
	printf("%d%d%d\n", by[0], by[1], by[2]);
	RET(fx(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
	pthread_join(w[0], NULL);
	pthread_join(w[2], NULL);
	RET(fx(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0));
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	RET(fx(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, -1));
	clock_gettime(CLOCK_REALTIME, &t);
	RET(fx(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &t, NULL, -1));
	// WAKE_OP: b += 5, wake on a, and on b if its old value was greater than 2.
	b = 3;
	int three = 3;
	pthread_t q;
	pthread_create(&q, NULL, on_b, &three);
	ms(60);
	RET(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_GT, 2)));
	pthread_join(q, NULL);
	printf("b %d\n", b);
	RET(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP((FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_EQ, 8)));
	printf("b %d\n", b);
	RET(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_XOR, 1, FUTEX_OP_CMP_NE, 0)));
	printf("b %d\n", b);
	RET(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_LE, 0)));
	printf("b %d\n", b);
	RET(fx(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, BAD, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)));
	return 0;
}
