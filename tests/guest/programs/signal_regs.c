// A handler sees and changes the interrupted registers; sigreturn puts them all back.
#include "check.h"
static void h(int s, siginfo_t *i, void *u) {
	greg_t *g = ((ucontext_t *)u)->uc_mcontext.gregs;
	printf("rbx %llx r12 %llx r15 %llx carry %lld\n", g[REG_RBX], g[REG_R12], g[REG_R15], g[REG_EFL] & 1);
	g[REG_RIP] += 2;
	g[REG_R12] = 0x1212;
	g[REG_EFL] &= ~1LL;
}
int main(void) {
	handle_info(SIGILL, h, 0);
	unsigned long rbx, r12, r13, r14, r15, rcx, r11, fl;
	__asm__ volatile(
		"movq $0x1111, %%rbx\n movq $0x2222, %%r12\n movq $0x3333, %%r13\n movq $0x4444, %%r14\n movq $0x5555, %%r15\n"
		"movq $0x6666, %%rcx\n movq $0x7777, %%r11\n stc\n ud2\n pushfq\n popq %7\n"
		"movq %%rbx, %0\n movq %%r12, %1\n movq %%r13, %2\n movq %%r14, %3\n movq %%r15, %4\n movq %%rcx, %5\n movq %%r11, %6\n"
		: "=m"(rbx), "=m"(r12), "=m"(r13), "=m"(r14), "=m"(r15), "=m"(rcx), "=m"(r11), "=a"(fl)
		:
		: "rbx", "rcx", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	printf("%lx %lx %lx %lx %lx %lx %lx carry %ld\n", rbx, r12, r13, r14, r15, rcx, r11, fl & 1);
	return 0;
}
