// CLONE_CHILD_CLEARTID and set_tid_address: the word is cleared and woken when the task ends.
#include "check.h"
#include <linux/futex.h>
static int child(void *w) { return *(int *)w != syscall(SYS_getpid); }
int main(void) {
	int *w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	w[0] = 5;
	char *stack = anon(4);
	pid_t c = MUST(clone(child, stack + 4 * PAGE, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_VM | SIGCHLD, w, NULL, NULL, w));
	while (w[0] != 0)
		syscall(SYS_futex, w, FUTEX_WAIT, w[0], NULL, NULL, 0);
	printf("cleared\n");
	reap("child", c);
	w[1] = 77;
	pid_t k = CHILD({ IS(syscall(SYS_set_tid_address, &w[1]) == getpid()); });
	reap("child without sharing", k);
	printf("kept %d\n", w[1]);
	return 0;
}
