// mremap grows in place where there is room, refuses without MAYMOVE where there is none, else moves with data.
#include "check.h"
int main(void) {
	catch_faults();
	char *p = anon(8);
	memset(p, 1, 2 * PAGE);
	MUST(munmap(p + 4 * PAGE, PAGE));
	memset(p + 5 * PAGE, 2, PAGE);
	// p[0..4) mapped, page 4 free, p[5..8) mapped.
	IS(mremap(p, 4 * PAGE, 5 * PAGE, 0) == p);
	printf("new page is zero: %d\n", p[4 * PAGE]);
	OK(mremap(p, 5 * PAGE, 16 * PAGE, 0));
	MUST(mprotect(p + 5 * PAGE, PAGE, PROT_NONE)); // keep the regions apart
	char *q = mremap(p, 5 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
	IS(q != MAP_FAILED);
	IS(q != p);
	printf("data moved: %d %d %d\n", q[0], q[2 * PAGE - 1], q[4 * PAGE]);
	q[299 * PAGE] = 4;
	printf("old place: %s\n", sname(FAULTS(PEEK(p))));
	IS(mremap(q, 300 * PAGE, PAGE, 0) == q);
	printf("shrunk: %s\n", sname(FAULTS(PEEK(q + PAGE))));
	printf("left: %d\n", q[PAGE - 1]);
	return 0;
}
