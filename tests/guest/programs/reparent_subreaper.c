// Orphans go to the nearest subreaper; a child of a dying process gets its new parent's pid from getppid.
#include "check.h"
int main(void) {
	int v = -1;
	RET(prctl(PR_GET_CHILD_SUBREAPER, &v));
	printf("subreaper %d\n", v);
	RET(prctl(PR_SET_CHILD_SUBREAPER, 1));
	RET(prctl(PR_GET_CHILD_SUBREAPER, &v));
	printf("subreaper %d\n", v);
	pid_t me = getpid();
	gate g = gate_new();
	int p[2];
	MUST(pipe(p));
	pid_t c = CHILD({
		int w;
		prctl(PR_GET_CHILD_SUBREAPER, &w);
		printf("inherited by fork: %d\n", w);
		pid_t gc = CHILD({
			gate_wait(g);
			IS(getppid() == me);
			_exit(33);
		});
		MUST(write(p[1], &gc, sizeof gc));
	});
	pid_t gc;
	MUST(read(p[0], &gc, sizeof gc));
	reap("child", c);
	gate_open(g);
	reap("orphan", gc);
	RET(waitpid(-1, NULL, 0));
	return 0;
}
