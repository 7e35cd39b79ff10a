// MREMAP_FIXED moves over whatever is there; MREMAP_DONTUNMAP leaves an empty mapping behind.
#include "check.h"
int main(void) {
	catch_faults();
	char *a = anon(4), *b = anon(4);
	memset(a, 'a', 4 * PAGE);
	memset(b, 'b', 4 * PAGE);
	IS(mremap(a, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b + PAGE) == b + PAGE);
	printf("%c%c%c%c\n", b[0], b[PAGE], b[2 * PAGE], b[3 * PAGE]);
	printf("source: %s\n", sname(FAULTS(PEEK(a))));
	printf("rest of source: %c\n", a[2 * PAGE]);
	char *c = mremap(b + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	IS(c != MAP_FAILED);
	printf("moved %c, left behind %d\n", c[0], b[PAGE]);
	// Moving and resizing at once.
	char *d = anon(8);
	IS(mremap(c, 2 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, d) == d);
	printf("%c %d\n", d[PAGE], d[5 * PAGE]);
	return 0;
}
