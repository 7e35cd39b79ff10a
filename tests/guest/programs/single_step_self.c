// The trap flag: each instruction raises SIGTRAP with TRAP_TRACE, across a system call too.
#include "check.h"
static volatile int n, code;
static void h(int s, siginfo_t *i, void *u) {
	n++;
	code = i->si_code;
}
int main(void) {
	handle_info(SIGTRAP, h, 0);
	long pid;
	__asm__ volatile(
		"subq $128, %%rsp\n"
		"pushfq\n orq $0x100, (%%rsp)\n popfq\n"
		"nop\n nop\n nop\n"
		"pushfq\n andq $~0x100, (%%rsp)\n popfq\n"
		"addq $128, %%rsp\n" ::: "memory", "cc");
	printf("traps %d code %d\n", n, code);
	n = 0;
	__asm__ volatile(
		"subq $128, %%rsp\n"
		"pushfq\n orq $0x100, (%%rsp)\n popfq\n"
		"movl $39, %%eax\n syscall\n"
		"movq %%rax, %%rdx\n"
		"pushfq\n andq $~0x100, (%%rsp)\n popfq\n"
		"addq $128, %%rsp\n" : "=d"(pid)::"rax", "rcx", "r11", "memory", "cc");
	printf("call worked %d, traps %d\n", pid == getpid(), n);
	return 0;
}
