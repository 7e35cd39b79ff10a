// MADV_POPULATE_READ and _WRITE make pages present, as mincore shows, and fail on what cannot be touched.
#include "check.h"
static int resident(char *p, int n) {
	unsigned char v[64];
	int k = 0;
	MUST(mincore(p, n * PAGE, v));
	for (int i = 0; i < n; i++)
		k += v[i] & 1;
	return k;
}
int main(void) {
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	RET(madvise(p, 8 * PAGE, MADV_POPULATE_READ));
	printf("resident %d\n", resident(p, 8));
	char *q = anon(8);
	RET(madvise(q, 8 * PAGE, MADV_POPULATE_WRITE));
	printf("resident %d, zero %d\n", resident(q, 8), q[5 * PAGE]);
	MUST(mprotect(q, PAGE, PROT_READ));
	RET(madvise(q, 2 * PAGE, MADV_POPULATE_WRITE));
	RET(madvise(q, 2 * PAGE, MADV_POPULATE_READ));
	MUST(mprotect(q, PAGE, PROT_NONE));
	RET(madvise(q, PAGE, MADV_POPULATE_READ));
	MUST(munmap(q + 2 * PAGE, PAGE));
	RET(madvise(q + PAGE, 3 * PAGE, MADV_POPULATE_READ));
	int fd = file_with("f", "x");
	char *m = mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	RET(madvise(m, PAGE, MADV_POPULATE_READ));
	RET(madvise(m, 3 * PAGE, MADV_POPULATE_READ));
	char *r = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	printf("MAP_POPULATE: %d\n", resident(r, 4));
	return 0;
}
