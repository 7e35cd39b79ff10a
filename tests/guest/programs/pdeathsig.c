// PR_SET_PDEATHSIG: the signal comes when the parent's thread dies, is cleared by fork, and can be read.
#include "check.h"
int main(void) {
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	gate ready = gate_new();
	int p[2];
	MUST(pipe(p));
	pid_t c = CHILD({
		pid_t gc = CHILD({
			int s = -1;
			RET(prctl(PR_SET_PDEATHSIG, SIGUSR1));
			RET(prctl(PR_GET_PDEATHSIG, &s));
			printf("%s\n", sname(s));
			reap("forked", CHILD({ prctl(PR_GET_PDEATHSIG, &s); printf("after fork %d\n", s); }));
			gate_open(ready);
			for (;;)
				pause();
		});
		MUST(write(p[1], &gc, sizeof gc));
		gate_wait(ready);
	});
	pid_t gc;
	MUST(read(p[0], &gc, sizeof gc));
	reap("parent", c);
	reap("its child", gc);
	RET(prctl(PR_SET_PDEATHSIG, 65));
	RET(prctl(PR_GET_PDEATHSIG, BAD));
	return 0;
}
