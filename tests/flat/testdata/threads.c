// Two thousand threads that are created, wait, all answer and are joined.
// long: 60
#include "stress.h"
#define THREADS 2000
static uint32_t gate_;
static atomic_int waiting, answered;
static void *body(void *a) {
	long x = (long)a;
	waiting++;
	while (__atomic_load_n(&gate_, __ATOMIC_ACQUIRE) == 0)
		futex(&gate_, FUTEX_WAIT_PRIVATE, 0, NULL);
	for (int i = 0; i < 5; i++)
		if (syscall(SYS_getpid) != getpid())
			WRONG("getpid");
	answered++;
	return (void *)(x * 3 + 1);
}
int main(int argc, char **argv) {
	arguments(argc, argv);
	static pthread_t t[THREADS];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	long end = now_ms() + millis;
	do {
		waiting = answered = gate_ = 0;
		for (long i = 0; i < THREADS; i++)
			CHECK(pthread_create(&t[i], &attr, body, (void *)i) == 0);
		while (waiting < THREADS)
			ms(1);
		__atomic_store_n(&gate_, 1, __ATOMIC_RELEASE);
		futex(&gate_, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
		for (long i = 0; i < THREADS; i++) {
			void *r;
			CHECK(pthread_join(t[i], &r) == 0);
			if ((long)r != i * 3 + 1)
				WRONG("thread %ld says %ld", i, (long)r);
		}
		if (answered != THREADS)
			WRONG("%d answers", answered);
	} while (now_ms() < end);
	VERDICT("threads");
	return 0;
}
