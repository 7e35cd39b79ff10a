// CLONE_PARENT makes the caller's parent the parent of the new process.
#include "check.h"
int main(void) {
	pid_t me = getpid();
	int p[2];
	MUST(pipe(p));
	pid_t c = CHILD({
		long r = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (r == 0) {
			_exit(getppid() == me ? 9 : 1);
		}
		pid_t k = r;
		MUST(write(p[1], &k, sizeof k));
		RET(waitpid(k, NULL, 0));
	});
	pid_t k;
	MUST(read(p[0], &k, sizeof k));
	reap("child", c);
	reap("its sibling", k);
	return 0;
}
