// A system call changes only rax, rcx and r11; the direction and other flags are as before.
#include "check.h"
int main(void) {
	unsigned long r[11], rcx_is_rip, r11_is_flags;
	__asm__ volatile(
		"movq $1, %%rbx\n movq $2, %%rdi\n movq $3, %%rsi\n movq $4, %%rdx\n movq $5, %%r8\n movq $6, %%r9\n movq $7, %%r10\n movq $8, %%r12\n movq $9, %%r13\n movq $10, %%r14\n"
		"movl $39, %%eax\n std\n stc\n syscall\n1: pushfq\n popq %%rax\n cld\n movq %%rax, 80(%0)\n"
		"movq %%rbx, (%0)\n movq %%rdi, 8(%0)\n movq %%rsi, 16(%0)\n movq %%rdx, 24(%0)\n movq %%r8, 32(%0)\n movq %%r9, 40(%0)\n movq %%r10, 48(%0)\n movq %%r12, 56(%0)\n movq %%r13, 64(%0)\n movq %%r14, 72(%0)\n"
		: : "r"(r) : "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc");
	__asm__ volatile("movl $39, %%eax\n syscall\n1: leaq 1b(%%rip), %%rax\n xorl %%edx, %%edx\n cmpq %%rax, %%rcx\n sete %%dl\n pushfq\n popq %%rax\n xorq %%r11, %%rax\n andq $0x400, %%rax"
			 : "=d"(rcx_is_rip), "=a"(r11_is_flags)::"rcx", "r11", "memory", "cc");
	for (int i = 0; i < 10; i++)
		printf("%ld ", r[i]);
	printf("\ndirection %d carry %d\n", (int)(r[10] >> 10 & 1), (int)(r[10] & 1));
	printf("rcx is the return address %ld, r11 has the flags %d\n", rcx_is_rip, r11_is_flags == 0);
	long v = -1;
	__asm__ volatile("syscall" : "=a"(v) : "a"(9999) : "rcx", "r11", "memory");
	printf("no such call: %s\n", ename(-v));
	__asm__ volatile("syscall" : "=a"(v) : "a"(-1L) : "rcx", "r11", "memory");
	printf("-1: %s\n", ename(-v));
	// Only the low 32 bits of the number count.
	__asm__ volatile("syscall" : "=a"(v) : "a"(0x100000000L | SYS_getpid) : "rcx", "r11", "memory");
	printf("high bits: %d\n", v == getpid());
	return 0;
}
