// mprotect: which accesses fault, with which code, and that restoring the right lets them pass.
#include "check.h"
int main(void) {
	catch_faults();
	char *p = anon(4);
	p[PAGE] = 11;
	int prots[] = {PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC};
	for (int i = 0; i < 5; i++) {
		RET(mprotect(p + PAGE, PAGE, prots[i]));
		int r = FAULTS(PEEK(p + PAGE));
		int rc = fault_code;
		int w = FAULTS(POKE(p + PAGE));
		printf("prot %d: load %s %d store %s %d\n", prots[i], sname(r), rc, sname(w), w ? fault_code : 0);
	}
	printf("neighbours: %s %s\n", sname(FAULTS(POKE(p))), sname(FAULTS(POKE(p + 2 * PAGE))));
	RET(mprotect(p + 1, PAGE, PROT_READ));
	RET(mprotect(p, 0, PROT_READ));
	RET(mprotect(p, PAGE, 0x40));
	RET(mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
	MUST(munmap(p + 2 * PAGE, PAGE));
	RET(mprotect(p, 4 * PAGE, PROT_READ));
	printf("up to the hole it was done: %s, after it not: %s\n", sname(FAULTS(POKE(p))), sname(FAULTS(POKE(p + 3 * PAGE))));
	int fd = file_with("f", "text");
	close(fd);
	fd = open("f", O_RDONLY);
	char *m = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	RET(mprotect(m, PAGE, PROT_READ | PROT_WRITE));
	m = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	RET(mprotect(m, PAGE, PROT_READ | PROT_WRITE));
	return 0;
}
