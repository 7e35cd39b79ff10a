// Thousands of small mappings with alternating rights, then random access, unmapping and one large munmap.
#include "check.h"
#define N 2000
int main(void) {
	catch_faults();
	char *p = anon(N);
	for (int i = 0; i < N; i += 2)
		MUST(mprotect(p + i * PAGE, PAGE, PROT_READ));
	int faults = 0, zero = 1;
	unsigned x = 1;
	for (int i = 0; i < 500; i++) {
		x = x * 1103515245 + 12345;
		int k = (x >> 8) % N;
		int s = FAULTS(POKE(p + k * PAGE));
		faults += s == SIGSEGV;
		if ((s == SIGSEGV) != (k % 2 == 0))
			printf("page %d: %s\n", k, sname(s));
		zero &= k % 2 || p[k * PAGE] == 0;
	}
	printf("faults %d zero %d\n", faults, zero);
	for (int i = 0; i < N; i += 4)
		MUST(munmap(p + i * PAGE, PAGE));
	printf("%s %s\n", sname(FAULTS(PEEK(p))), sname(FAULTS(PEEK(p + PAGE))));
	RET(munmap(p, N * PAGE));
	printf("%s\n", sname(FAULTS(PEEK(p + PAGE))));
	return 0;
}
