// RLIMIT_MEMLOCK of less than a page is a limit like others; only 0 forbids locking.
#include "check.h"
static void try(rlim_t n) {
	struct rlimit r = {n, 8192};
	MUST(setrlimit(RLIMIT_MEMLOCK, &r));
	char *p = anon(1);
	printf("limit %ld\n", (long)n);
	RET(mlock(p, PAGE));
	RET(syscall(SYS_mlock2, p, PAGE, MLOCK_ONFAULT));
	RET(mlockall(MCL_CURRENT));
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
	munmap(p, PAGE);
}
int main(void) {
	become_nobody();
	try(4096);
	try(4095);
	try(1);
	try(0);
	return 0;
}
