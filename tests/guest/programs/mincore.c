// mincore tells which pages are resident.
#include "check.h"
int main(void) {
	unsigned char v[16];
	char *p = anon(8);
	MUST(madvise(p, 8 * PAGE, MADV_NOHUGEPAGE));
	RET(mincore(p, 8 * PAGE, v));
	printf("untouched: %d\n", v[0] | v[7]);
	MUST(madvise(p, 8 * PAGE, MADV_POPULATE_WRITE));
	RET(mincore(p, 8 * PAGE, v));
	printf("populated: %d %d\n", v[0], v[7]);
	MUST(madvise(p + 2 * PAGE, 2 * PAGE, MADV_DONTNEED));
	MUST(mincore(p, 8 * PAGE, v));
	for (int i = 0; i < 8; i++)
		printf("%d", v[i] & 1);
	printf("\n");
	RET(mincore(p, 1, v));
	RET(mincore(p + 1, PAGE, v));
	RET(mincore(p, PAGE, BAD));
	MUST(munmap(p + 4 * PAGE, PAGE));
	RET(mincore(p, 8 * PAGE, v));
	RET(mincore(p, 0, v));
	RET(mincore((void *)-PAGE, PAGE, v));
	return 0;
}
