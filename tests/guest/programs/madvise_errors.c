// madvise: argument errors, holes, and hints that are only accepted.
#include "check.h"
int main(void) {
	char *p = anon(6);
	RET(madvise(p + 1, PAGE, MADV_DONTNEED));
	RET(madvise(p, PAGE, 999));
	RET(madvise(p, 0, MADV_DONTNEED));
	RET(madvise(p, -PAGE, MADV_DONTNEED));
	RET(madvise(p, PAGE, MADV_NORMAL));
	RET(madvise(p, PAGE, MADV_RANDOM));
	RET(madvise(p, PAGE, MADV_SEQUENTIAL));
	RET(madvise(p, PAGE, MADV_DONTDUMP));
	RET(madvise(p, PAGE, MADV_DODUMP));
	MUST(munmap(p + 2 * PAGE, PAGE));
	memset(p, 1, 2 * PAGE);
	memset(p + 3 * PAGE, 1, 3 * PAGE);
	RET(madvise(p, 6 * PAGE, MADV_DONTNEED));
	printf("both sides of the hole were done: %d %d\n", p[0], p[5 * PAGE]);
	RET(madvise(p, 6 * PAGE, MADV_NORMAL));
	RET(mlock(p, PAGE));
	RET(madvise(p, PAGE, MADV_DONTNEED));
	RET(madvise(p, PAGE, MADV_FREE));
	char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	RET(madvise(s, PAGE, MADV_FREE));
	RET(madvise(s, PAGE, MADV_WIPEONFORK));
	RET(madvise(p, PAGE, MADV_REMOVE));
	return 0;
}
