// arch_prctl: FS and GS bases, limits, and the bases per thread.
#include "check.h"
#include <asm/prctl.h>
static long ap(int c, unsigned long a) { return syscall(SYS_arch_prctl, c, a); }
static unsigned long mem[2] = {0x1111, 0x2222};
static void *body(void *a) {
	unsigned long g = 1;
	ap(ARCH_GET_GS, (unsigned long)&g);
	printf("a new thread's gs is the creator's: %d\n", g == (unsigned long)mem);
	ap(ARCH_SET_GS, (unsigned long)(mem + 1));
	__asm__ volatile("movq %%gs:0, %0" : "=r"(g));
	printf("thread reads %lx\n", g);
	return NULL;
}
int main(void) {
	unsigned long fs = 0, gs = 1, v;
	RET(ap(ARCH_GET_FS, (unsigned long)&fs));
	IS(fs == (unsigned long)__builtin_thread_pointer());
	RET(ap(ARCH_GET_GS, (unsigned long)&gs));
	printf("gs %lx\n", gs);
	RET(ap(ARCH_SET_GS, (unsigned long)mem));
	__asm__ volatile("movq %%gs:8, %0" : "=r"(v));
	printf("%lx\n", v);
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	__asm__ volatile("movq %%gs:0, %0" : "=r"(v));
	printf("mine still %lx\n", v);
	reap("child", CHILD({ __asm__ volatile("movq %%gs:8, %0" : "=r"(v)); printf("child %lx\n", v); }));
	RET(ap(ARCH_SET_GS, 0xffff800000000000));
	RET(ap(ARCH_GET_GS, 8));
	RET(ap(0x1234, 0));
	RET(ap(ARCH_SET_GS, 0));
	return 0;
}
