// Hints that change nothing that a program can read: THP switches, COLD, PAGEOUT.
#include "check.h"
int main(void) {
	RET(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	RET(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	reap("child", CHILD({ RET(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)); }));
	RET(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	RET(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	char *p = anon(4);
	RET(madvise(p, 4 * PAGE, MADV_COLD));
	RET(madvise(p, 4 * PAGE, MADV_PAGEOUT));
	memset(p, 1, PAGE);
	RET(madvise(p, 4 * PAGE, MADV_COLD));
	printf("kept %d\n", p[0]);
	return 0;
}
