// rseq: registration is there (glibc's), the cpu id is kept, a critical section is aborted by a signal.
// build: -static
#include "check.h"
#include <sys/rseq.h>
#include <linux/rseq.h>
static volatile int hits;
static void h(int s) { hits++; }
int main(void) {
	printf("registered by the C library: %d\n", __rseq_size > 0);
	struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	IS(r->cpu_id < 100000);
	IS(r->cpu_id == r->cpu_id_start);
	RET(syscall(SYS_rseq, r, 32, 0, RSEQ_SIG));
	RET(syscall(SYS_rseq, r, 32, 0, 0x1234));
	RET(syscall(SYS_rseq, r, 31, 0, RSEQ_SIG));
	RET(syscall(SYS_rseq, r, 32, 2, RSEQ_SIG));
	RET(syscall(SYS_rseq, r, 32, RSEQ_FLAG_UNREGISTER, 0x1234));
	// Spin inside a section until a timer's signal comes: control must arrive at the abort label.
	handle(SIGALRM, h, 0);
	struct itimerval it = {.it_value = {0, 20000}};
	setitimer(ITIMER_REAL, &it, NULL);
	int aborted = 0;
	__asm__ volatile(
		".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\n\t.long 0, 0\n\t.quad 1f, 2f-1f, 4f\n\t.popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\t"
		"movq %%rax, 8(%1)\n\t"
		"1:\n\tpause\n\tjmp 1b\n\t"
		"2:\n\t"
		".pushsection .text.abort, \"ax\"\n\t.byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n4:\n\tmovl $1, %0\n\tjmp 5f\n\t.popsection\n\t"
		"5:\n\t"
		: "+r"(aborted) : "r"(r) : "rax", "memory");
	printf("aborted %d, section cleared %d\n", aborted, r->rseq_cs == 0);
	return 0;
}
