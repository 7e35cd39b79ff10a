// System call sites that four threads execute for the first time at once, again and again, in all the shapes in which libraries
// write them; and that one thread executes while others are being created.
// long: 60
#include "stress.h"
#define THREADS 4

typedef struct { long a, d; } pair;
typedef pair (*stub)(long nr);

// Each gets the number in RDI, returns the call's result in RAX and 0x1234 in RDX.
#define S(n, code) ".globl stub" #n "\nstub" #n ":\n" code "\n.globl end" #n "\nend" #n ":\n"
__asm__(".section .rodata\n"
	S(0, "mov $0x1234,%edx\nmov $110,%eax\nsyscall\nret")
	S(1, "mov $0x1234,%edx\nmov $110,%rax\nsyscall\nret")
	S(2, "mov %rdi,%rax\nmov %rdi,%r8\nxor %edx,%edx\nsyscall\ncmp $-4095,%rax\njae 1f\nmov $0x1234,%edx\nret\n1: xor %edx,%edx\nret")
	S(3, "push %rdi\npop %rax\nsyscall\nmov $0x1234,%edx\nret")
	S(4, "mov %rdi,%rax\nmov 8(%rsp),%r9\nmov $0x1234,%edx\nsyscall\nret")
	S(5, "mov $0x1234,%dx\nmov %rdi,%rax\nmovzwl %dx,%edx\nsyscall\ntest %rax,%rax\njs 1f\nret\n1: xor %edx,%edx\nret")
	S(6, "mov %rdi,%rax\njmp 1f\nnop\n1: syscall\nxor %edx,%edx\nmov $0x1234,%dx\nret\n.p2align 5\nnopw 0(%rax,%rax)\nnopw 0(%rax,%rax)\n.p2align 3")
	S(7, "push %rbx\nmov %rdi,%rbx\nmov $0x1234,%edx\nmov %ebx,%eax\nsyscall\npop %rbx\nret")
	S(8, "xor %edx,%edx\nmov %edi,%eax\nsyscall\nadd $0x1234,%edx\ncmp $-1,%eax\nje 1f\nret\n1: xor %edx,%edx\nret")
	S(9, "lea 1f(%rip),%rdx\nmov $110,%eax\nsyscall\nmov (%rdx),%edx\nret\n1: .long 0x1234")
	S(10, "mov %rdi,%rax\nstc\nsyscall\nsbb %edx,%edx\nand $0x1234,%edx\nret")
	".text\n");
#define STUBS 11
#define E(n) extern char stub##n[], end##n[];
E(0) E(1) E(2) E(3) E(4) E(5) E(6) E(7) E(8) E(9) E(10)
#define P(n) {stub##n, end##n}
static char *const stubs[STUBS][2] = {P(0), P(1), P(2), P(3), P(4), P(5), P(6), P(7), P(8), P(9), P(10)};

#define SITES 400
static stub sites[SITES];
static char *code;
#define SIZE (SITES * 80 & ~(PAGE - 1))

// lay makes fresh code, in another order and at other offsets each time.
static void lay(uint64_t *seed) {
	char *draft = MUST((char *)mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	code = MUST((char *)mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	memset(draft, 0xf4, SIZE);
	char *at = draft;
	for (int i = 0; i < SITES; i++) {
		uint64_t r = next(seed);
		char *const *s = stubs[r % STUBS];
		int n = s[1] - s[0];
		if (at + n + 64 > draft + SIZE) {
			sites[i] = sites[0];
			continue;
		}
		memcpy(at, s[0], n);
		sites[i] = (stub)(code + (at - draft));
		at += n;
		if (r >> 32 & 1)
			at = (char *)(((uintptr_t)at + 15) & ~15UL);
	}
	MUST(mprotect(draft, SIZE, PROT_READ | PROT_EXEC));
	MUST(mremap(draft, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, code)); // pages that were never writable there
}

static pid_t ppid;
static void run(int from, int to) {
	for (int i = from; i < to; i++) {
		pair p = sites[i](SYS_getppid);
		if (p.a != ppid || p.d != 0x1234)
			WRONG("site %d: result %ld, after it %lx", i, p.a, p.d);
	}
}

static atomic_int round_, ready;
static void *together(void *a) {
	for (int seen = 0;;) {
		ready++;
		while (round_ == seen)
			__builtin_ia32_pause();
		if ((seen = round_) < 0)
			return NULL;
		for (int k = 0; k < 6; k++)
			run(0, SITES);
	}
}

static void *once(void *a) {
	for (int k = 0; k < 3; k++)
		run((long)a, SITES);
	return NULL;
}

static void handler(int s) {}

int main(int argc, char **argv) {
	arguments(argc, argv);
	ppid = getppid();
	uint64_t seed = 1234567;
	pthread_t t[THREADS];
	// Threads that begin while the first one, until then alone, rewrites what they are to execute.
	for (long end = now_ms() + 2 * millis; now_ms() < end;) {
		lay(&seed);
		for (int k = 0; k < 20; k++)
			run(0, SITES / 8);
		for (long i = 0; i < THREADS; i++) {
			// A site is rewritten when it is hot: these become so while the thread begins.
			for (int k = 0; k < 5; k++)
				run(SITES / 8 * (i + 1), SITES / 8 * (i + 2));
			CHECK(pthread_create(&t[i], NULL, once, (void *)(SITES / 8 * (i + 1))) == 0);
			run(SITES / 8 * (i + 1), SITES / 8 * (i + 2));
		}
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		run(0, SITES);
		MUST(munmap(code, SIZE));
	}
	VERDICT("threads that begin");
	handle(SIGUSR1, handler, SA_RESTART);
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;
	MUST(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	struct itimerspec its = {{0, 300000}, {0, 300000}};
	MUST(timer_settime(timer, 0, &its, NULL));
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, together, NULL) == 0);
	int n = 0;
	for (long end = now_ms() + 2 * millis; now_ms() < end;) {
		lay(&seed);
		while (ready < THREADS * (n + 1))
			sched_yield();
		round_ = ++n;
		while (ready < THREADS * (n + 1))
			sched_yield();
		MUST(munmap(code, SIZE));
	}
	round_ = -1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	VERDICT("threads at once");
	return 0;
}
