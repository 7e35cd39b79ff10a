// MAP_FIXED_NOREPLACE fails with EEXIST over anything mapped and never replaces.
#include "check.h"
int main(void) {
	int f = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	char *p = anon(6);
	p[2 * PAGE] = 9;
	OK(mmap(p, PAGE, PROT_READ, f, -1, 0));
	MUST(munmap(p, 2 * PAGE));
	MUST(munmap(p + 4 * PAGE, 2 * PAGE));
	OK(mmap(p, 3 * PAGE, PROT_READ, f, -1, 0));
	OK(mmap(p + 3 * PAGE, 3 * PAGE, PROT_READ, f, -1, 0));
	IS(mmap(p, 2 * PAGE, PROT_READ, f, -1, 0) == p);
	IS(mmap(p + 4 * PAGE, 2 * PAGE, PROT_READ, f, -1, 0) == p + 4 * PAGE);
	printf("kept: %d\n", p[2 * PAGE]);
	OK(mmap(p + 1, PAGE, PROT_READ, f, -1, 0));
	return 0;
}
