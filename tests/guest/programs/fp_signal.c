// x87, SSE and MXCSR state survives a handler that uses floating point, in a loop under a timer.
#include "check.h"
#include <math.h>
static volatile int n;
static volatile double sink;
static void h(int s) {
	n++;
	unsigned mx = 0x1fc0; // another rounding of denormals, must not leak
	__asm__ volatile("ldmxcsr %0\n fninit\n fldz\n fld1" ::"m"(mx));
	float f[4] = {1, 2, 3, 4};
	__asm__ volatile("movups %0, %%xmm0\n movups %0, %%xmm7\n movups %0, %%xmm15" ::"m"(f) : "xmm0", "xmm7", "xmm15");
	sink = n * 1.5;
}
int main(void) {
	handle(SIGALRM, h, SA_RESTART);
	struct itimerval it = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &it, NULL);
	int bad = 0;
	unsigned short cw = 0x0a7f, cw2; // rounding up, 53 bits
	unsigned mx = 0x9f80, mx2;
	__asm__ volatile("fldcw %0\n ldmxcsr %1" ::"m"(cw), "m"(mx));
	while (n < 50) {
		double a = 0.1, r;
		uint64_t in[2] = {0x1122334455667788, 0x99aabbccddeeff00}, out[2];
		__asm__ volatile(
			"movups %2, %%xmm15\n movups %2, %%xmm7\n fldl %3\n"
			"movl $20000, %%ecx\n 1: decl %%ecx\n jnz 1b\n"
			"fstpl %0\n movups %%xmm15, %1\n"
			: "=m"(r), "=m"(out) : "m"(in), "m"(a) : "ecx", "xmm7", "xmm15", "memory");
		bad += r != a || memcmp(in, out, 16) != 0;
	}
	__asm__ volatile("fnstcw %0\n stmxcsr %1" : "=m"(cw2), "=m"(mx2));
	printf("wrong %d, control word kept %d, mxcsr kept %d\n", bad, cw == cw2, (mx & ~0x3f) == (mx2 & ~0x3f));
	return 0;
}
