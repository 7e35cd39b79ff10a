// MAP_GROWSDOWN: a touch just below the mapping extends it, but never to within the gap above another mapping.
#include "check.h"
int main(void) {
	catch_faults();
	char *area = mmap(NULL, 2048 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *top = area + 2047 * PAGE;
	MUST(munmap(area + PAGE, 2047 * PAGE));
	char *g = mmap(top, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	IS(g == top);
	printf("the page: %s\n", sname(FAULTS(POKE(g))));
	printf("one below: %s\n", sname(FAULTS(POKE(g - PAGE))));
	printf("100 below: %s\n", sname(FAULTS(POKE(g - 100 * PAGE))));
	printf("between: %s\n", sname(FAULTS(POKE(g - 50 * PAGE))));
	// A mapping with rights, then growth towards it: 256 pages must stay free.
	char *m = mmap(top - 1500 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	IS(m == top - 1500 * PAGE);
	printf("gap kept: %s\n", sname(FAULTS(POKE(g - 1300 * PAGE))));
	printf("above the gap: %s\n", sname(FAULTS(POKE(g - 1200 * PAGE))));
	RET(write(open("/dev/null", O_WRONLY), g - 1210 * PAGE, 1));
	return 0;
}
