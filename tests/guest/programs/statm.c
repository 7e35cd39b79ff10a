// /proc/self/statm and status follow mappings as they come and go.
#include "check.h"
static void get(long *v) {
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(fscanf(f, "%ld %ld %ld %ld %ld %ld %ld", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6) == 7);
	fclose(f);
}
int main(void) {
	long a[7], b[7];
	get(a);
	get(a);
	char *p = anon(1000);
	get(b);
	printf("size +%ld, data +%ld\n", b[0] - a[0], b[5] - a[5]);
	MUST(madvise(p, 1000 * PAGE, MADV_POPULATE_WRITE));
	get(b);
	printf("resident grew by about 1000 pages: %d\n", labs(b[1] - a[1] - 1000) < 200);
	MUST(munmap(p, 1000 * PAGE));
	get(b);
	printf("size +%ld\n", b[0] - a[0]);
	printf("resident back: %d\n", labs(b[1] - a[1]) < 200);
	printf("lib and dt: %ld %ld\n", b[4], b[6]);
	return 0;
}
