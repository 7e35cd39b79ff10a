// mremap: the argument errors.
#include "check.h"
int main(void) {
	char *p = anon(8);
	OK(mremap(p + 1, PAGE, PAGE, 0));
	OK(mremap(p, PAGE, 0, 0));
	OK(mremap(p, PAGE, PAGE, 64));
	OK(mremap(p, PAGE, PAGE, MREMAP_FIXED, p + 4 * PAGE));
	OK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE));
	OK(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * PAGE + 5));
	OK(mremap(p, 0, PAGE, MREMAP_MAYMOVE));
	OK(mremap(p, PAGE, 1UL << 48, MREMAP_MAYMOVE));
	MUST(munmap(p + 4 * PAGE, 4 * PAGE));
	OK(mremap(p + 4 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	OK(mremap(p + 3 * PAGE, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE));
	OK(mremap(p, PAGE, 2 * PAGE, MREMAP_DONTUNMAP));
	OK(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	// An old size of 0 duplicates a shared mapping.
	char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *t = mremap(s, 0, PAGE, MREMAP_MAYMOVE);
	IS(t != MAP_FAILED && t != s);
	s[5] = 6;
	printf("both: %d\n", t[5]);
	return 0;
}
