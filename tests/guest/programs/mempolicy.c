// Memory policies of the task and of mappings, on the one node that every machine has.
#include "check.h"
enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, STATIC = 1 << 15, NODE = 1, ADDR = 2, ALLOWED = 4 };
static long set(int mode, unsigned long nodes) { return syscall(SYS_set_mempolicy, mode, nodes ? &nodes : NULL, 64); }
static long bindto(void *p, size_t n, int mode, unsigned long nodes) {
	return syscall(SYS_mbind, p, n, mode, nodes ? &nodes : NULL, 64, 0);
}
static void tell(const char *what, void *p, int flags) {
	int mode = -1;
	unsigned long nodes[16] = {0};
	long r = syscall(SYS_get_mempolicy, &mode, nodes, 1024, p, flags);
	if (r)
		printf("%s: %s\n", what, ename(errno));
	else
		printf("%s: mode %#x nodes %#lx\n", what, mode, nodes[0]);
}
int main(void) {
	char *p = anon(4);
	tell("task at first", NULL, 0);
	RET(set(BIND, 1));
	tell("task", NULL, 0);
	tell("mapping without a policy", p, ADDR);
	RET(set(PREFERRED, 0));
	tell("preferred nowhere", NULL, 0);
	RET(set(PREFERRED | STATIC, 1));
	tell("static", NULL, 0);
	RET(set(BIND, 0));
	RET(set(DEFAULT, 1));
	RET(set(INTERLEAVE, 1));
	tell("interleaved", NULL, 0);
	tell("next node", NULL, NODE);
	reap("child", CHILD(tell("inherited", NULL, 0)));
	RET(set(DEFAULT, 0));
	tell("default again", NULL, 0);
	tell("no next node", NULL, NODE);
	tell("an address without the flag", p, 0);

	RET(bindto(p + PAGE, 2 * PAGE, BIND, 1));
	tell("before", p, ADDR);
	tell("bound", p + PAGE, ADDR);
	tell("behind", p + 3 * PAGE, ADDR);
	p[PAGE] = 1;
	tell("node of a page", p + PAGE, ADDR | NODE);
	reap("child", CHILD(tell("in the child", p + PAGE, ADDR)));
	RET(syscall(SYS_set_mempolicy_home_node, p, 4 * PAGE, 0, 0));
	RET(syscall(SYS_set_mempolicy_home_node, p, PAGE, 0, 0));
	RET(bindto(p, 4 * PAGE, INTERLEAVE, 1));
	RET(syscall(SYS_set_mempolicy_home_node, p, 4 * PAGE, 0, 0));
	char *q = MUST((char *)mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	tell("moved", q, ADDR);
	RET(bindto(q, 8 * PAGE, DEFAULT, 0));
	tell("back", q, ADDR);
	MUST(munmap(q + PAGE, PAGE));
	RET(bindto(q, 8 * PAGE, BIND, 1));
	tell("unmapped", q + PAGE, ADDR);
	return 0;
}
