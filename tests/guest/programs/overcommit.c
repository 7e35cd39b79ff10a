// Overcommit as in mode 0: absurd requests are refused, large ones with MAP_NORESERVE are granted and sparse.
#include "check.h"
int main(void) {
	int rw = PROT_READ | PROT_WRITE, pa = MAP_PRIVATE | MAP_ANONYMOUS;
	OK(mmap(NULL, 100UL << 40, rw, pa, -1, 0));
	char *p = mmap(NULL, 16UL << 40, rw, pa | MAP_NORESERVE, -1, 0);
	IS(p != MAP_FAILED);
	for (unsigned long i = 0; i < 16; i++)
		p[i << 40] = i;
	int ok = 1;
	for (unsigned long i = 0; i < 16; i++)
		ok &= p[i << 40] == (char)i;
	IS(ok);
	char *n = mmap(NULL, 16UL << 40, PROT_NONE, pa, -1, 0);
	IS(n != MAP_FAILED);
	OK(mprotect(n, 16UL << 40, rw));
	OK(mprotect(n, 1UL << 20, rw));
	RET(munmap(p, 16UL << 40));
	RET(munmap(n, 16UL << 40));
	return 0;
}
