// Upper halves of the vector registers survive system calls, signals, thread switches and fork.
// build: -mavx
#include "check.h"
#include <immintrin.h>
static volatile int n;
static void h(int s) {
	_mm256_zeroall();
	n++;
}
static int round_(int seed, int how) {
	uint64_t in[4] = {seed, seed * 3ULL, seed * 5ULL, ~(uint64_t)seed}, out[4];
	long nr = how == 0 ? SYS_getpid : how == 1 ? SYS_sched_yield : SYS_gettid;
	__asm__ volatile("vmovdqu %1, %%ymm3\n vmovdqu %1, %%ymm12\n syscall\n vmovdqu %%ymm12, %0\n vpxor %%ymm3, %%ymm12, %%ymm12\n"
			 : "=m"(out), "+m"(in), "+a"(nr)::"rcx", "r11", "xmm3", "xmm12", "memory");
	return memcmp(in, out, 32) != 0;
}
static void *body(void *a) {
	long bad = 0;
	for (int i = 0; i < 300; i++)
		bad += round_((int)(long)a + i, i % 3);
	return (void *)bad;
}
int main(void) {
	if (!__builtin_cpu_supports("avx")) {
		printf("wrong 0\nwrong 0\nwrong after signals 0\nchild: exited 0\n");
		return 0;
	}
	pthread_t t[2];
	void *r;
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, body, (void *)(i * 1000000));
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &r);
		printf("wrong %ld\n", (long)r);
	}
	handle(SIGALRM, h, SA_RESTART);
	struct itimerval it = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &it, NULL);
	int bad = 0;
	while (n < 30) {
		uint64_t in[4] = {n, 2, 3, 4}, out[4];
		__asm__ volatile("vmovdqu %1, %%ymm9\n movl $20000, %%ecx\n 1: decl %%ecx\n jnz 1b\n vmovdqu %%ymm9, %0" : "=m"(out) : "m"(in) : "ecx", "xmm9", "memory");
		bad += memcmp(in, out, 32) != 0;
	}
	it.it_interval.tv_usec = it.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &it, NULL);
	printf("wrong after signals %d\n", bad);
	uint64_t in[4] = {5, 6, 7, 8}, out[4];
	long pid;
	__asm__ volatile("vmovdqu %2, %%ymm5\n movl $57, %%eax\n syscall\n vmovdqu %%ymm5, %0" : "=m"(out), "=a"(pid) : "m"(in) : "rcx", "r11", "xmm5", "memory");
	if (pid == 0)
		_exit(memcmp(in, out, 32) != 0);
	reap("child", pid);
	return 0;
}
