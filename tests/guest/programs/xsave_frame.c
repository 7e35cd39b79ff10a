// The signal frame holds an XSAVE image with its magic numbers, and changes to it come back.
// build: -mavx
#include "check.h"
#define FP_XSTATE_MAGIC1 0x46505853U
#define FP_XSTATE_MAGIC2 0x46505845U
static void h(int s, siginfo_t *i, void *u) {
	ucontext_t *c = u;
	char *fp = (char *)c->uc_mcontext.fpregs;
	uint32_t *sw = (uint32_t *)(fp + 464);
	printf("aligned %d magic1 %d\n", ((uintptr_t)fp & 63) == 0, sw[0] == FP_XSTATE_MAGIC1);
	uint32_t ext = sw[1], xsize = sw[4];
	uint64_t feat = *(uint64_t *)(sw + 2);
	printf("sizes in order %d, x87 and sse there %d, magic2 %d\n", ext >= xsize && xsize >= 576, (feat & 3) == 3, *(uint32_t *)(fp + xsize) == FP_XSTATE_MAGIC2);
	printf("xmm3 %x\n", *(uint32_t *)(fp + 160 + 3 * 16));
	*(uint32_t *)(fp + 160 + 3 * 16) = 0x4321;
	IS((c->uc_flags & 1) == 1);
	IS(c->uc_link == NULL);
	*(uint64_t *)(fp + 512) |= 2; // SSE state is in use
	c->uc_mcontext.gregs[REG_RIP] += 2;
}
int main(void) {
	handle_info(SIGILL, h, 0);
	uint32_t v = 0x1234, r;
	__asm__ volatile("movd %1, %%xmm3\n ud2\n movd %%xmm3, %0" : "=r"(r) : "r"(v) : "xmm3");
	printf("xmm3 after %x\n", r);
	return 0;
}
