// Threads of one process fault on the same fresh pages, unmap and protect at the same time.
#include "check.h"
static char *p;
static int sum;
static pthread_barrier_t bar;
static void *work(void *a) {
	long id = (long)a;
	for (int round = 0; round < 20; round++) {
		pthread_barrier_wait(&bar);
		for (int i = 0; i < 64; i++)
			__atomic_add_fetch((int *)(p + i * PAGE), 1, __ATOMIC_SEQ_CST);
		pthread_barrier_wait(&bar);
		if (id == 0) {
			for (int i = 0; i < 64; i++)
				sum += *(int *)(p + i * PAGE);
			MUST(round % 2 ? munmap(p, 64 * PAGE) : madvise(p, 64 * PAGE, MADV_DONTNEED));
			if (round % 2)
				CHECK(mmap(p, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
		}
	}
	return NULL;
}
int main(void) {
	p = anon(64);
	pthread_barrier_init(&bar, NULL, 4);
	pthread_t t[4];
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, work, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("every add arrived: %d\n", sum == 4 * 64 * 20);
	return 0;
}
