// MADV_DONTFORK leaves a region out of the child, MADV_WIPEONFORK gives it zeroes, and both can be undone.
#include "check.h"
int main(void) {
	catch_faults();
	char *p = anon(4);
	memset(p, 7, 4 * PAGE);
	RET(madvise(p + PAGE, PAGE, MADV_DONTFORK));
	RET(madvise(p + 2 * PAGE, PAGE, MADV_WIPEONFORK));
	reap("child", CHILD({
		printf("%d, %s, %d, %d\n", p[0], sname(FAULTS(PEEK(p + PAGE))), p[2 * PAGE], p[3 * PAGE]);
		p[2 * PAGE] = 3;
		// The mark is inherited: a grandchild finds zeroes again.
		reap("grandchild", CHILD({ printf("grandchild %d\n", p[2 * PAGE]); }));
	}));
	printf("parent keeps %d %d\n", p[PAGE], p[2 * PAGE]);
	RET(madvise(p + PAGE, PAGE, MADV_DOFORK));
	RET(madvise(p + 2 * PAGE, PAGE, MADV_KEEPONFORK));
	reap("child", CHILD({ printf("%d %d\n", p[PAGE], p[2 * PAGE]); }));
	return 0;
}
