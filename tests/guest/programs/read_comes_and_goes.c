// A thread reads a page that is read-only, again and again at one instruction, while the page goes and comes: no fault of it is one of writing.
#include "check.h"
static volatile char *p;
static volatile int stop, sum;
static void *reader(void *a) {
	while (!stop) {
		MUST(madvise((void *)p, PAGE, MADV_DONTNEED));
		for (int i = 0; i < 20; i++)
			sum += *p;
	}
	return NULL;
}
int main(void) {
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	int fd = open("/proc/self/mem", O_RDWR);
	pthread_t t;
	pthread_create(&t, NULL, reader, NULL);
	int wrong = 0;
	for (int i = 0; i < 3000; i++) {
		char c = 3;
		MUST(madvise((void *)p, PAGE, MADV_DONTNEED));
		wrong += pwrite(fd, &c, 1, (off_t)p) != 1;
		wrong += *p != 3 && *p != 0;
	}
	stop = 1;
	pthread_join(t, NULL);
	printf("wrong: %d\n", wrong);
	return 0;
}
