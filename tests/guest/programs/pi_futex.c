// Priority-inheritance futexes: lock, trylock, unlock, deadlock, time-outs and owner death.
#include "check.h"
#include <linux/futex.h>
static unsigned w;
static long fx(int op, void *t) { return syscall(SYS_futex, &w, op | FUTEX_PRIVATE_FLAG, 0, t, NULL, 0); }
static void *other(void *a) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	RET(fx(FUTEX_TRYLOCK_PI, NULL));
	RET(fx(FUTEX_LOCK_PI, &t));
	RET(fx(FUTEX_UNLOCK_PI, NULL));
	gate_open(*(gate *)a);
	RET(fx(FUTEX_LOCK_PI, NULL));
	IS((w & FUTEX_TID_MASK) == gettid());
	RET(fx(FUTEX_UNLOCK_PI, NULL));
	return NULL;
}
int main(void) {
	gate g = gate_new();
	RET(fx(FUTEX_LOCK_PI, NULL));
	IS(w == gettid());
	RET(fx(FUTEX_LOCK_PI, NULL));
	pthread_t t;
	pthread_create(&t, NULL, other, &g);
	gate_wait(g);
	ms(50);
	IS(w & FUTEX_WAITERS);
	MUST(fx(FUTEX_UNLOCK_PI, NULL));
	pthread_join(t, NULL);
	IS(w == 0);
	RET(fx(FUTEX_UNLOCK_PI, NULL));
	w = 999999;
	RET(fx(FUTEX_LOCK_PI, NULL));
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	RET(pthread_mutex_init(&m, &a));
	RET(pthread_mutex_lock(&m));
	printf("%s\n", ename(pthread_mutex_lock(&m)));
	RET(pthread_mutex_unlock(&m));
	return 0;
}
