// Mutexes, condition variables, barriers, read-write locks, keys, cancellation, under contention.
#include "check.h"
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cv = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static int count, queue, taken;
static __thread int tls = 5;
static pthread_key_t key;
static int destroyed;
static void destroy(void *v) { __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST); }
static void *adder(void *a) {
	pthread_setspecific(key, a);
	tls += (int)(long)a;
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&mu);
		count++;
		pthread_mutex_unlock(&mu);
		if (i % 100 == 0) {
			pthread_rwlock_rdlock(&rw);
			pthread_rwlock_unlock(&rw);
		}
	}
	return (void *)(long)tls;
}
static void *taker(void *a) {
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&mu);
		while (queue == 0)
			pthread_cond_wait(&cv, &mu);
		queue--;
		taken++;
		pthread_mutex_unlock(&mu);
	}
	return NULL;
}
static void cleanup(void *a) { *(int *)a = 1; }
static int cleaned;
static void *sleeper(void *a) {
	pthread_cleanup_push(cleanup, &cleaned);
	for (;;)
		sleep(100);
	pthread_cleanup_pop(0);
	return NULL;
}
int main(void) {
	pthread_t t[4];
	void *r;
	pthread_key_create(&key, destroy);
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, adder, (void *)(i + 1));
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		printf("thread-local %ld\n", (long)r);
	}
	printf("count %d destroyed %d\n", count, destroyed);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, taker, NULL);
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mu);
		queue++;
		pthread_cond_signal(&cv);
		pthread_mutex_unlock(&mu);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("taken %d\n", taken);
	pthread_create(&t[0], NULL, sleeper, NULL);
	ms(20);
	pthread_cancel(t[0]);
	pthread_join(t[0], &r);
	printf("cancelled %d cleaned %d\n", r == PTHREAD_CANCELED, cleaned);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	pthread_mutex_lock(&mu);
	printf("%s\n", ename(pthread_cond_timedwait(&cv, &mu, &ts)));
	pthread_mutexattr_t ma;
	pthread_mutex_t e;
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&e, &ma);
	pthread_mutex_lock(&e);
	printf("%s\n", ename(pthread_mutex_lock(&e)));
	return 0;
}
