// Every floating point, vector and mask register, MXCSR, the x87 control word and the x87 stack, with known contents, over every way
// out of the guest and back: calls from rewritten sites and from trapping ones, blocking calls that go on in another host thread, faults, signals with
// handlers that clobber everything, and other threads that take the processor. Sometimes all is in use, sometimes x87 is not, or only SSE.
// long: 60
#include "stress.h"
#include <cpuid.h>
#define THREADS 4
#define AREA 8192

static uint64_t mask;                // components that are looked at
static unsigned off[8], len[8], all; // of an XSAVE image
static struct image { unsigned char b[AREA]; } blank __attribute__((aligned(64)));

struct op { long nr, a[4]; volatile char *touch; long spin, ret; };

// roundtrip loads all registers from in, does what op says and stores them to out.
// rdi: in, rsi: out, rdx: mask, rcx: op
void roundtrip(struct image *in, struct image *out, uint64_t mask, struct op *op);
#define SITE(n) "cmp $" #n ",%eax\njne 2f\nmov $" #n ",%eax\nsyscall\njmp 7f\n2:\n"
__asm__(".text\nroundtrip:\npush %rbx\npush %rbp\npush %r12\npush %r13\n"
	"mov %rsi,%r12\nmov %rdx,%r13\nmov %rcx,%rbx\n"
	"mov %edx,%eax\nshr $32,%rdx\nxrstor64 (%rdi)\n"
	"mov 40(%rbx),%rcx\ntest %rcx,%rcx\njz 3f\nincb (%rcx)\n3:\n"
	"mov (%rbx),%rax\ntest %rax,%rax\njs 8f\n"
	"mov 8(%rbx),%rdi\nmov 16(%rbx),%rsi\nmov 24(%rbx),%rdx\nmov 32(%rbx),%r10\n"
	SITE(110) SITE(24) SITE(202) SITE(35) SITE(0) SITE(1) SITE(200)
	"syscall\n"
	"7: mov %rax,56(%rbx)\n"
	"8: mov 48(%rbx),%rcx\n9: dec %rcx\njns 9b\n"
	"mov %r13d,%eax\nmov %r13,%rdx\nshr $32,%rdx\nxsave64 (%r12)\n"
	"fninit\nvzeroall\n"
	"pop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

// component copies a component, or what it is in its initial state, into to.
static void component(unsigned char *to, struct image *s, int i) {
	static const unsigned char cw[2] = {0x7f, 3};
	uint64_t bv;
	memcpy(&bv, s->b + 512, 8);
	memset(to, 0, 2048);
	if (!(bv >> i & 1)) {
		if (i == 0)
			memcpy(to, cw, 2);
		return;
	}
	if (i == 0) {
		memcpy(to, s->b, 24);
		for (int r = 0; r < 8; r++)
			memcpy(to + 24 + 10 * r, s->b + 32 + 16 * r, 10);
	} else {
		memcpy(to, s->b + off[i], len[i]);
	}
}

static int same(struct image *a, struct image *b, const char *what) {
	static __thread unsigned char x[2048], y[2048];
	for (int i = 0; i < 8; i++) {
		if (!(mask >> i & 1))
			continue;
		component(x, a, i);
		component(y, b, i);
		if (memcmp(x, y, sizeof x)) {
			int k = 0;
			while (x[k] == y[k])
				k++;
			WRONG("%s: component %d differs at %d: %02x, was %02x", what, i, k, y[k], x[k]);
			return 0;
		}
	}
	if (memcmp(a->b + 24, b->b + 24, 4)) {
		WRONG("%s: MXCSR %08x, was %08x", what, *(unsigned *)(b->b + 24), *(unsigned *)(a->b + 24));
		return 0;
	}
	return 1;
}

// fill makes a state in which the components of bv are in use.
static void fill(struct image *s, uint64_t bv, uint64_t *seed) {
	*s = blank;
	static const unsigned mxcsrs[] = {0x1f80, 0x7f80, 0x3fa0, 0x9fc0, 0x1f9f};
	unsigned mxcsr = mxcsrs[next(seed) % 5];
	memcpy(s->b + 24, &mxcsr, 4);
	memcpy(s->b + 512, &bv, 8);
	if (bv & 1) {
		static const unsigned short cws[] = {0x37f, 0x27f, 0x77f, 0xf7f};
		memcpy(s->b, &cws[next(seed) % 4], 2);
		s->b[4] = 0xff; // all eight are valid
		s->b[3] = (next(seed) & 7) << 3;
		for (int r = 0; r < 8; r++) {
			uint64_t m = next(seed) | 1ULL << 63;
			unsigned short e = 0x3fff + (next(seed) & 0xff);
			memcpy(s->b + 32 + 16 * r, &m, 8);
			memcpy(s->b + 40 + 16 * r, &e, 2);
		}
	}
	for (int i = 1; i < 8; i++)
		if (bv >> i & 1)
			for (unsigned k = 0; k < len[i]; k += 8) {
				uint64_t v = next(seed);
				memcpy(s->b + off[i] + k, &v, 8);
			}
}

static void clobber(int sig) {
	unsigned m = 0x1fbf;
	__asm__ volatile("fninit\nfld1\nfldpi\nvzeroall\nvpcmpeqd %%ymm7,%%ymm7,%%ymm7\nldmxcsr %0" : : "m"(m) : "memory");
}

static int stop, pipes[THREADS][2];
static void *body(void *a) {
	long me = (long)a;
	uint64_t seed = 88172645463325252ULL + me * 7919;
	struct image *in = aligned_alloc(64, AREA), *out = aligned_alloc(64, AREA);
	char *page = anon(4), *arena = anon(16);
	pid_t tid = syscall(SYS_gettid), pid = getpid();
	uint32_t word = 0;
	struct timespec shortly = {0, 20000};
	const uint64_t uses[] = {mask, mask & ~1ULL, 6, 2, 0, 1, 7};
	struct op ops[] = {
		{.nr = SYS_getppid},
		{.nr = SYS_sched_yield},
		{.nr = SYS_futex, .a = {(long)&word, FUTEX_WAIT_PRIVATE, 0, (long)&shortly}},
		{.nr = SYS_nanosleep, .a = {(long)&shortly}},
		{.nr = SYS_read, .a = {pipes[me][0], (long)page, 1}},
		{.nr = SYS_write, .a = {pipes[(me + 1) % THREADS][1], (long)page, 1}},
		{.nr = SYS_tkill, .a = {tid, SIGUSR1}},
		{.nr = SYS_madvise, .a = {(long)page, PAGE, MADV_DONTNEED}},
		{.nr = SYS_mmap, .a = {(long)arena, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED}},
		{.nr = SYS_getppid, .touch = arena},
		{.nr = -1, .touch = arena + PAGE},
		{.nr = -1, .spin = 100000},
		{.nr = -1, .spin = 3000000},
		{.nr = SYS_tgkill, .a = {pid, tid, SIGUSR2}, .touch = page},
		{.nr = 9999},
	};
	int n = sizeof ops / sizeof *ops;
	for (long i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		uint64_t r = next(&seed);
		struct op *op = &ops[r % n];
		if (op->spin > 1000000 && r >> 32 & 7)
			continue; // takes long
		char what[64];
		uint64_t bv = uses[(r >> 16) % 7] & mask;
		snprintf(what, sizeof what, "call %ld, touch %d, spin %ld, in use %lx", op->nr, op->touch != NULL, op->spin, (long)bv);
		fill(in, bv, &seed);
		roundtrip(in, out, mask, op);
		same(in, out, what);
	}
	return NULL;
}

static void *kicker(void *a) {
	pthread_t *t = a;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < THREADS; i++)
			pthread_kill(t[i], SIGUSR2);
		ms(1);
	}
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	unsigned a, b, c, d;
	__cpuid_count(1, 0, a, b, c, d);
	if (!(c >> 27 & 1) || !(c >> 28 & 1)) {
		printf("registers: right\n");
		return 0;
	}
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	mask = a & 0xe7; // x87, SSE, AVX, AVX-512
	for (int i = 2; i < 8; i++)
		if (mask >> i & 1) {
			__cpuid_count(13, i, len[i], off[i], c, d);
			all += len[i];
		}
	off[1] = 160;
	len[1] = 256;
	handle(SIGUSR1, clobber, SA_RESTART);
	handle(SIGUSR2, clobber, SA_RESTART);
	pthread_t t[THREADS], k;
	for (int i = 0; i < THREADS; i++)
		MUST(pipe2(pipes[i], O_NONBLOCK));
	for (int i = 0; i < THREADS; i++) // every other read blocks: another thread writes
		if (i % 2)
			fcntl(pipes[i][0], F_SETFL, 0);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)i) == 0);
	CHECK(pthread_create(&k, NULL, kicker, t) == 0);
	ms(4 * millis);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(k, NULL);
	for (int i = 0; i < THREADS; i++)
		MUST(write(pipes[i][1], "bytes", 5)); // nobody waits any more
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	VERDICT("registers");
	return 0;
}
