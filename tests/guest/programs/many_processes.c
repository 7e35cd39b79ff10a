// Forking a tree of processes and a hundred in a row; statuses all arrive.
#include "check.h"
static int tree(int depth) {
	if (depth == 0)
		return 1;
	int total = 1;
	for (int i = 0; i < 2; i++) {
		pid_t p = MUST(fork());
		if (p == 0)
			_exit(tree(depth - 1));
		int st;
		MUST(waitpid(p, &st, 0));
		total += WEXITSTATUS(st);
	}
	return total;
}
int main(void) {
	printf("tree of %d\n", tree(4));
	int sum = 0, n = 0, st;
	for (int i = 0; i < 50; i++)
		if (MUST(fork()) == 0)
			_exit(i);
	while (wait(&st) > 0) {
		n++;
		sum += WEXITSTATUS(st);
	}
	printf("%d children, sum %d\n", n, sum);
	struct rlimit r = {0, 0};
	become_nobody();
	setrlimit(RLIMIT_NPROC, &r);
	RET(fork());
	return 0;
}
