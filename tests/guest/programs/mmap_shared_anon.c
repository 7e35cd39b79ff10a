// Shared anonymous memory stays shared between relatives after fork, and after the maker has gone.
#include "check.h"
int main(void) {
	int *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 4; i++)
		reap("child", CHILD({ __atomic_add_fetch(p, i + 1, __ATOMIC_SEQ_CST); p[1024 * i + 1] = i; }));
	printf("sum %d, marks %d %d %d %d\n", p[0], p[1], p[1025], p[2049], p[3073]);
	// The mapping can be moved or partly dropped in one process only.
	reap("child", CHILD({ munmap(p + 1024, PAGE); p[2048] = 77; }));
	printf("after: %d %d\n", p[1025], p[2048]);
	RET(mprotect(p, PAGE, PROT_READ));
	reap("child", CHILD({ p[0] = 1; }));
	return 0;
}
