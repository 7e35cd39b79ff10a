// munmap in the middle of a mapping leaves both ends usable, and the hole faults with SEGV_MAPERR.
#include "check.h"
int main(void) {
	catch_faults();
	char *p = anon(5);
	memset(p, 3, 5 * PAGE);
	RET(munmap(p + 2 * PAGE, PAGE));
	printf("ends: %d %d %d %d\n", p[0], p[PAGE], p[3 * PAGE], p[4 * PAGE]);
	printf("hole: %s\n", sname(FAULTS(PEEK(p + 2 * PAGE))));
	IS(fault_code == SEGV_MAPERR);
	IS(fault_addr == p + 2 * PAGE);
	OK(mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	printf("filled: %d\n", p[2 * PAGE]);
	printf("store: %s\n", sname(FAULTS(POKE(p + 2 * PAGE))));
	IS(fault_code == SEGV_ACCERR);
	// One munmap over several mappings and a hole.
	RET(munmap(p + PAGE, PAGE));
	RET(munmap(p, 5 * PAGE));
	printf("gone: %s\n", sname(FAULTS(PEEK(p + 4 * PAGE))));
	return 0;
}
