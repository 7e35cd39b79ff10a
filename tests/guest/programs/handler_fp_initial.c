// A handler begins with the processor's initial floating point state, whichever parts of it are in use where it interrupts, and what it
// does to the state is gone when it returns.
#include "check.h"

static volatile int got;
static unsigned mxcsr_in;
static unsigned short fcw_in;
static unsigned char x_in[32], x_out[32];
static int avx;

static void handler(int s) {
	got = s;
	__asm__ volatile("stmxcsr %0\nfnstcw %1" : "=m"(mxcsr_in), "=m"(fcw_in));
	if (avx)
		__asm__ volatile("vmovdqu %%ymm13, %0" : "=m"(x_in));
	else
		__asm__ volatile("movdqu %%xmm13, %0" : "=m"(x_in));
	unsigned m = 0x5f80;
	unsigned short w = 0x27f;
	__asm__ volatile("ldmxcsr %0\nfldcw %1\npcmpeqd %%xmm13, %%xmm13" : : "m"(m), "m"(w) : "xmm13");
	if (avx)
		__asm__ volatile("vcmptrueps %%ymm13, %%ymm13, %%ymm13" : : : "xmm13");
}

static int all(const unsigned char *p, int n, unsigned char v) {
	for (int i = 0; i < n; i++)
		if (p[i] != v) return 0;
	return 1;
}

static void once(const char *what, int sig) {
	static unsigned char x[32];
	unsigned m = 0x3fa0, mo;
	unsigned short w = 0x77f, wo;
	memset(x, 0x5a, sizeof x);
	memset(x_in, 1, sizeof x_in);
	memset(x_out, 1, sizeof x_out);
	got = 0;
	long r, pid = getpid();
	if (avx)
		__asm__ volatile("vmovdqu %0, %%ymm13" : : "m"(x) : "xmm13");
	else
		__asm__ volatile("movdqu %0, %%xmm13" : : "m"(x) : "xmm13");
	__asm__ volatile("ldmxcsr %0\nfldcw %1" : : "m"(m), "m"(w));
	__asm__ volatile("syscall" : "=a"(r) : "a"((long)SYS_kill), "D"(pid), "S"((long)sig) : "rcx", "r11", "memory");
	if (avx)
		__asm__ volatile("vmovdqu %%ymm13, %0\nvzeroupper" : "=m"(x_out));
	else
		__asm__ volatile("movdqu %%xmm13, %0" : "=m"(x_out));
	__asm__ volatile("stmxcsr %0\nfnstcw %1" : "=m"(mo), "=m"(wo));
	m = 0x1f80, w = 0x37f;
	__asm__ volatile("ldmxcsr %0\nfldcw %1" : : "m"(m), "m"(w));
	int n = avx ? 32 : 16;
	printf("%s: got %d mxcsr %x fcw %x register %s; after mxcsr %x fcw %x register %s\n", what, got == sig, mxcsr_in, fcw_in,
	       all(x_in, n, 0) ? "zero" : "not zero", mo, wo, all(x_out, n, 0x5a) ? "kept" : "lost");
}

int main(void) {
	signal(SIGUSR1, handler);
	for (int i = 0; i < 3; i++) {
		avx = 0;
		if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroall" : : : "memory");
		once("sse", SIGUSR1);
		if (!__builtin_cpu_supports("avx")) continue;
		avx = 1;
		once("avx", SIGUSR1);
	}
	return 0;
}
