// A handler does not touch the 128 bytes below the interrupted stack pointer.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	handle(SIGALRM, h, 0);
	int bad = 0;
	for (int i = 0; i < 5; i++) {
		struct itimerval it = {.it_value = {0, 5000}};
		int before = n, r;
		setitimer(ITIMER_REAL, &it, NULL);
		// Fill the red zone, spin until the handler has run, and look at it again.
		__asm__ volatile(
			"movq $0x5a5a5a5a, %%rax\n"
			"movq $-16, %%rcx\n"
			"1: movq %%rax, (%%rsp,%%rcx,8)\n incq %%rcx\n jnz 1b\n"
			"2: cmpl %2, %1\n je 2b\n"
			"xorl %0, %0\n"
			"movq $-16, %%rcx\n"
			"3: cmpq %%rax, (%%rsp,%%rcx,8)\n je 4f\n incl %0\n"
			"4: incq %%rcx\n jnz 3b\n"
			: "=&r"(r) : "m"(n), "r"(before) : "rax", "rcx", "memory", "cc");
		bad += r;
	}
	printf("words changed: %d\n", bad);
	return 0;
}
