// Two hundred threads, created and joined, each with a stack of its own that it uses.
#include "check.h"
static int sum;
static void *body(void *a) {
	char big[20000];
	memset(big, (int)(long)a, sizeof big);
	__atomic_add_fetch(&sum, big[19999] & 1, __ATOMIC_SEQ_CST);
	usleep(1000);
	return a;
}
int main(void) {
	pthread_t t[200];
	int ok = 0;
	for (long i = 0; i < 200; i++)
		MUST(pthread_create(&t[i], NULL, body, (void *)i));
	for (long i = 0; i < 200; i++) {
		void *r;
		pthread_join(t[i], &r);
		ok += r == (void *)i;
	}
	printf("joined %d sum %d\n", ok, sum);
	return 0;
}
