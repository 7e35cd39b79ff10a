// A system call that writes to a page shared after fork breaks the sharing, as a store would.
#include "check.h"
int main(void) {
	char *p = anon(2);
	strcpy(p, "before");
	int fd = file_with("f", "after!");
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({
		MUST(pread(fd, p, 6, 0));
		printf("child: %s\n", p);
		gate_open(g);
		gate_wait(h);
		printf("child still: %s\n", p);
	});
	gate_wait(g);
	printf("parent: %s\n", p);
	struct iovec v[2] = {{p, 3}, {p + PAGE - 1, 3}};
	RET(preadv(fd, v, 2, 0));
	printf("parent: %s, across pages: %.3s\n", p, p + PAGE - 1);
	gate_open(h);
	reap("child", c);
	return 0;
}
