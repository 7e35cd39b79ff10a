// mmap takes a free hint as it is, ignores an occupied one, and replaces with MAP_FIXED.
#include "check.h"
int main(void) {
	char *p = anon(8);
	MUST(munmap(p, 8 * PAGE));
	char *q = mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	IS(q == p + PAGE);
	*q = 5;
	char *r = mmap(q, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	IS(r != q);
	IS(r != MAP_FAILED);
	// An unaligned hint is rounded down.
	char *s = mmap(p + 4 * PAGE + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	IS(s == p + 4 * PAGE);
	char *f = mmap(q, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	IS(f == q);
	printf("replaced by zero: %d\n", *f);
	// Lengths are rounded up to pages.
	char *t = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t[PAGE - 1] = 1;
	printf("last byte of the page: %d\n", t[PAGE - 1]);
	char *low = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	IS((uintptr_t)low < (1UL << 31));
	return 0;
}
