// Wait statuses of deaths by signal: which signals kill, and that the core bit is off without a core limit.
#include "check.h"
int main(void) {
	struct rlimit r = {0, 0};
	setrlimit(RLIMIT_CORE, &r);
	int st;
	for (int s = 1; s <= 31; s++) {
		pid_t c = CHILD({ raise(s); _exit(55); });
		waitpid(c, &st, WUNTRACED);
		printf("%s raw %x core %d\n", sname(s), st, WIFSIGNALED(st) && WCOREDUMP(st));
		if (WIFSTOPPED(st)) {
			kill(c, SIGKILL);
			waitpid(c, &st, 0);
		}
	}
	int rt[] = {32, 33, 34, 64};
	for (int i = 0; i < 4; i++) {
		pid_t c = CHILD({ syscall(SYS_tgkill, getpid(), gettid(), rt[i]); _exit(55); });
		waitpid(c, &st, 0);
		printf("%d raw %x\n", rt[i], st);
	}
	return 0;
}
