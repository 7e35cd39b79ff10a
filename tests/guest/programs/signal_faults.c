// Codes and addresses of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP from instructions.
#include "check.h"
static siginfo_t last;
static void *ip;
static void h(int s, siginfo_t *i, void *u) {
	last = *i;
	ip = (void *)((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP];
	siglongjmp(fault_jmp, 1);
}
static volatile int zero;
#define TRY(what, ...)                                                                                \
	do {                                                                                          \
		memset(&last, 0, sizeof last);                                                        \
		if (!sigsetjmp(fault_jmp, 1)) {                                                       \
			__VA_ARGS__;                                                                  \
		}                                                                                     \
		printf("%s: %s code %d addr %s\n", what, sname(last.si_signo), last.si_code,          \
		       last.si_addr == ip ? "ip" : last.si_addr == NULL ? "null" : "other");          \
	} while (0)
int main(void) {
	for (int s = 1; s < 32; s++)
		if (s == SIGSEGV || s == SIGBUS || s == SIGFPE || s == SIGILL || s == SIGTRAP)
			handle_info(s, h, SA_NODEFER);
	TRY("null load", PEEK(NULL));
	TRY("null store", POKE(NULL));
	TRY("non-canonical", PEEK(0x8000000000000000));
	TRY("kernel address", PEEK(0xffffffff80000000));
	TRY("divide", zero = 100 / zero + zero % 7);
	TRY("divide overflow", __asm__ volatile("movl $0x80000000, %%eax\n cltd\n movl $-1, %%ecx\n idivl %%ecx" ::: "eax", "ecx", "edx"));
	TRY("ud2", __asm__ volatile("ud2"));
	TRY("int3", __asm__ volatile("int3"));
	TRY("hlt", __asm__ volatile("hlt"));
	TRY("in", __asm__ volatile("inb $0x80, %%al" ::: "al"));
	TRY("int 0x21", __asm__ volatile("int $0x21"));
	TRY("int1", __asm__ volatile(".byte 0xf1"));
	TRY("unaligned sse", __asm__ volatile("leaq -7(%%rsp), %%rax\n andq $-16, %%rax\n movaps %%xmm0, 1(%%rax)" ::: "rax", "memory"));
	unsigned mx = 0x1f80 & ~0x200; // unmask divide by zero
	TRY("sse divide", {
		__asm__ volatile("ldmxcsr %0\n xorps %%xmm1, %%xmm1\n movl $1, %%eax\n cvtsi2ss %%eax, %%xmm0\n divss %%xmm1, %%xmm0" ::"m"(mx) : "eax", "xmm0", "xmm1");
	});
	mx = 0x1f80;
	__asm__ volatile("ldmxcsr %0" ::"m"(mx));
	return 0;
}
