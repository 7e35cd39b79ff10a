// brk: the program break grows, holds data, shrinks, and gives zeroes when it grows again.
#include "check.h"
int main(void) {
	char *b = (char *)syscall(SYS_brk, 0);
	IS(b == sbrk(0));
	char *n = (char *)syscall(SYS_brk, b + 10 * PAGE);
	IS(n == b + 10 * PAGE);
	memset(b, 7, 10 * PAGE);
	IS(b[10 * PAGE - 1] == 7);
	IS((char *)syscall(SYS_brk, b + PAGE) == b + PAGE);
	IS((char *)syscall(SYS_brk, b + 4 * PAGE) == b + 4 * PAGE);
	printf("kept %d, fresh %d\n", b[0], b[3 * PAGE]);
	// A break below the start of the heap, or absurdly high, changes nothing and yields the present one.
	IS((char *)syscall(SYS_brk, 4096) == b + 4 * PAGE);
	IS((char *)syscall(SYS_brk, (char *)0x7fffffffffff) == b + 4 * PAGE);
	IS((char *)syscall(SYS_brk, (char *)-1) == b + 4 * PAGE);
	// A mapping in the way stops the break.
	void *m = mmap((void *)(((uintptr_t)b + 20 * PAGE) & ~(PAGE - 1)), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	IS(m != MAP_FAILED);
	IS((char *)syscall(SYS_brk, b + 40 * PAGE) == b + 4 * PAGE);
	return 0;
}
