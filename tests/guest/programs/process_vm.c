// process_vm_readv and writev reach a child's memory, stop at the first bad piece, and check their arguments.
#include "check.h"
static char buf[3 * PAGE] __attribute__((aligned(4096)));
int main(void) {
	strcpy(buf, "parent's");
	strcpy(buf + PAGE, "second");
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({
		strcpy(buf, "child's");
		munmap(buf + 2 * PAGE, PAGE);
		gate_open(g);
		gate_wait(h);
		printf("child now: %s\n", buf);
	});
	gate_wait(g);
	char a[16] = "", b[16] = "";
	struct iovec l[2] = {{a, 8}, {b, 7}}, r[3] = {{buf, 8}, {buf + PAGE, 7}, {buf + 2 * PAGE, 8}};
	RET(process_vm_readv(c, l, 2, r, 2, 0));
	printf("%s %s\n", a, b);
	struct iovec one = {a, 5};
	struct iovec split[2] = {{buf, 2}, {buf + PAGE, 3}};
	RET(process_vm_readv(c, &one, 1, split, 2, 0));
	printf("%.5s\n", a);
	RET(process_vm_readv(c, l, 1, &r[2], 1, 0));
	struct iovec mix[2] = {{buf, 4}, {buf + 2 * PAGE, 4}};
	RET(process_vm_readv(c, l, 1, mix, 2, 0));
	strcpy(a, "patched");
	RET(process_vm_writev(c, l, 1, r, 1, 0));
	RET(process_vm_writev(c, l, 1, r, 1, 1));
	RET(process_vm_readv(c, NULL, 0, r, 1, 0));
	RET(process_vm_readv(c, l, 2000, r, 1, 0));
	RET(process_vm_readv(c, BAD, 1, r, 1, 0));
	gate_open(h);
	reap("child", c);
	RET(process_vm_readv(c, l, 1, r, 1, 0));
	return 0;
}
