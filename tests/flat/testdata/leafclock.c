// Clocks and the processor's number, asked for by system calls that the sandbox answers without a stop, under a 10 kHz timer: by one thread, then by four.
// No clock goes back, each is between two looks at it through the vDSO, and no register changes but RCX, R11 and RAX, not even a vector register.
// long: 20
#include "stress.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/time.h>
#define THREADS 4

CALL(checked_gettime, 228);
CALL(checked_getres, 229);
CALL(checked_gettimeofday, 96);
CALL(checked_time, 201);
CALL(checked_getcpu, 309);

static int stop;
static int avx;

#define REGS(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LOAD(n) "vmovdqu 32*" #n "(%[in]),%%ymm" #n "\n"
#define SAVE(n) "vmovdqu %%ymm" #n ",32*" #n "(%[out])\n"

// vectors makes a call with known values in the vector registers.
__attribute__((target("avx"))) static void vectors(uint64_t *seed, long nr, long a, long b) {
	uint64_t in[64], out[64];
	for (int i = 0; i < 64; i++)
		in[i] = next(seed);
	if (!avx)
		return;
	__asm__ volatile(REGS(LOAD) "syscall\n" REGS(SAVE)
			 : "+a"(nr), "+D"(a), "+S"(b)
			 : [in] "r"(in), [out] "r"(out)
			 : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	if (nr < 0)
		WRONG("a call: %ld", nr);
	for (int i = 0; i < 64; i++)
		if (in[i] != out[i])
			WRONG("word %d of YMM%d is %lx and not %lx", i % 4, i / 4, out[i], in[i]);
}

static long ns(const struct timespec *t) {
	if (t->tv_nsec < 0 || t->tv_nsec >= 1000000000)
		WRONG("%ld nanoseconds", t->tv_nsec);
	return t->tv_sec * 1000000000L + t->tv_nsec;
}

// steady are clocks that nobody sets.
static const int steady[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
static const int set[] = {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI};
static const int waking[] = {CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM}; // which not every machine has
static const int own[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
#define N(a) (int)(sizeof a / sizeof *a)

// room makes a page that can be written, one that cannot, one that is not there, and one behind it, so that what others map does not fit between.
static char *room(void) {
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	MUST(mprotect(p + PAGE, PAGE, PROT_READ));
	MUST(munmap(p + 2 * PAGE, PAGE));
	return p;
}

static void clocks(char *at, uint64_t *seed, long *last) {
	struct timespec a, b, *t = (struct timespec *)(at + PAGE - 16 - next(seed) % 64);
	for (int i = 0; i < N(steady); i++) {
		clock_gettime(steady[i], &a);
		EXPECT(checked_gettime, 0, steady[i], (long)t);
		clock_gettime(steady[i], &b);
		if (ns(t) < ns(&a) || ns(t) > ns(&b))
			WRONG("clock %d: %ld is not from %ld to %ld", steady[i], ns(t), ns(&a), ns(&b));
		if (ns(t) < last[i])
			WRONG("clock %d went back", steady[i]);
		last[i] = ns(t);
	}
	for (int i = 0; i < N(set); i++) {
		clock_gettime(set[i], &a);
		EXPECT(checked_gettime, 0, set[i], (long)t);
		if (ns(t) / 1000000000 - a.tv_sec > 3600)
			WRONG("clock %d: %ld and not %ld", set[i], t->tv_sec, a.tv_sec);
	}
	for (int i = 0; i < N(waking); i++) {
		long r, args[6] = {waking[i], (long)t};
		clock_gettime(waking[i] == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_BOOTTIME, &a);
		if (checked_gettime(0, args, &r) || (r && r != -EINVAL) || (r == 0 && labs(t->tv_sec - a.tv_sec) > 3600))
			WRONG("clock %d: %ld", waking[i], r);
	}
	long gone = 0;
	for (int i = 0; i < N(own); i++) {
		EXPECT(checked_gettime, 0, own[i], (long)t);
		gone += ns(t);
	}
	if (gone < 0)
		WRONG("less than no processor time");
	EXPECT(checked_getres, 0, CLOCK_MONOTONIC, (long)t);
	if (ns(t) != 1)
		WRONG("a resolution of %ld", ns(t));
	EXPECT(checked_getres, 0, CLOCK_MONOTONIC_COARSE, (long)t);
	EXPECT(checked_getres, 0, CLOCK_TAI, 0);
	struct timeval *v = (struct timeval *)t;
	int *zone = (int *)at;
	zone[0] = zone[1] = zone[2] = 77;
	EXPECT(checked_gettimeofday, 0, (long)v, (long)zone);
	if (v->tv_usec < 0 || v->tv_usec >= 1000000 || zone[0] || zone[1] || zone[2] != 77)
		WRONG("gettimeofday: %ld %d %d %d", v->tv_usec, zone[0], zone[1], zone[2]);
	clock_gettime(CLOCK_REALTIME, &a);
	if (a.tv_sec - v->tv_sec > 3600)
		WRONG("gettimeofday: %ld", v->tv_sec);
	EXPECT(checked_gettimeofday, 0, 0, 0);
	long r, args[6] = {(long)t}, none[6] = {0};
	if (checked_time(0, args, &r) || r != *(long *)t || a.tv_sec - r > 3600)
		WRONG("time: %ld %ld", r, *(long *)t);
	if (checked_time(0, none, &r) || a.tv_sec - r > 3600)
		WRONG("time: %ld", r);
	vectors(seed, SYS_clock_gettime, CLOCK_MONOTONIC, (long)t);
	vectors(seed, SYS_clock_gettime, CLOCK_REALTIME_COARSE, (long)t);
	vectors(seed, SYS_time, 0, 0);
	vectors(seed, SYS_getcpu, 0, 0);
}

static void errors(char *at, uint64_t *seed) {
	long in = (long)at + PAGE - 1 - next(seed) % 15, gone = (long)at + 2 * PAGE;
	EXPECT(checked_gettime, -EFAULT, CLOCK_MONOTONIC, in);
	EXPECT(checked_gettime, -EFAULT, CLOCK_MONOTONIC, gone);
	EXPECT(checked_gettime, -EFAULT, CLOCK_REALTIME_COARSE, 0);
	EXPECT(checked_gettime, -EFAULT, CLOCK_REALTIME, -4096L);
	EXPECT(checked_gettime, -EFAULT, CLOCK_REALTIME, -8L);
	EXPECT(checked_gettime, -EINVAL, 999, (long)at);
	EXPECT(checked_gettime, -EINVAL, 31, (long)at);
	EXPECT(checked_gettime, -EINVAL, 10, (long)at);
	EXPECT(checked_getres, -EFAULT, CLOCK_MONOTONIC, in);
	EXPECT(checked_getres, -EINVAL, 999, gone);
	EXPECT(checked_gettimeofday, -EFAULT, in, 0);
	EXPECT(checked_gettimeofday, -EFAULT, (long)at, gone);
	EXPECT(checked_time, -EFAULT, gone);
	EXPECT(checked_getcpu, -EFAULT, gone, 0);
	EXPECT(checked_getcpu, -EFAULT, (long)at, (long)at + PAGE - 3);
	// What is written to for the first time.
	char *fresh = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec *t = (struct timespec *)(fresh + PAGE - 8);
	EXPECT(checked_gettime, 0, CLOCK_MONOTONIC, (long)t);
	if (ns(t) == 0)
		WRONG("no time");
	munmap(fresh, 2 * PAGE);
}

static void processors(char *at, cpu_set_t *may, uint64_t *seed) {
	uint32_t *cpu = (uint32_t *)(at + PAGE - 4 - next(seed) % 8), *node = (uint32_t *)(at + 1);
	*cpu = *node = -1;
	EXPECT(checked_getcpu, 0, (long)cpu, (long)node);
	if (*cpu >= CPU_SETSIZE || !CPU_ISSET(*cpu, may) || *node != 0)
		WRONG("processor %u of node %u", *cpu, *node);
	*cpu = -1;
	EXPECT(checked_getcpu, 0, (long)cpu, 0, 1);
	if (*cpu >= CPU_SETSIZE || !CPU_ISSET(*cpu, may))
		WRONG("processor %u", *cpu);
	EXPECT(checked_getcpu, 0, 0, (long)node);
	EXPECT(checked_getcpu, 0, 0, 0);
}

static void *body(void *a) {
	uint64_t seed = 88172645463325252UL + (long)a;
	char *at = room();
	cpu_set_t all, one;
	MUST(sched_getaffinity(0, sizeof all, &all));
	long last[N(steady)] = {0};
	for (long n = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		clocks(at, &seed, last);
		processors(at, &all, &seed);
		if (n % 16)
			continue;
		errors(at, &seed);
		// Each processor in turn.
		int want = n / 16 % CPU_SETSIZE;
		if (CPU_ISSET(want, &all)) {
			CPU_ZERO(&one);
			CPU_SET(want, &one);
			MUST(sched_setaffinity(0, sizeof one, &one));
			processors(at, &one, &seed);
			MUST(sched_setaffinity(0, sizeof all, &all));
		}
	}
	munmap(at, 4 * PAGE);
	return NULL;
}

static void part(int threads, const char *name) {
	pthread_t t[THREADS];
	stop = 0;
	for (long i = 0; i < threads; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)i) == 0);
	for (long end = now_ms() + millis; now_ms() < end;)
		usleep(1000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	VERDICT(name);
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	alarm(0);
	avx = __builtin_cpu_supports("avx");
	every(100000, SIGALRM);
	part(1, "by one thread");
	part(THREADS, "by four threads");
	IS(alarms > 0);
	// Another process's memory is its own, and so are its answers.
	char *at = room();
	struct timespec *t = (struct timespec *)at;
	*t = (struct timespec){1, 2};
	pid_t pid = MUST(fork());
	if (pid == 0) {
		uint64_t seed = 1;
		long last[N(steady)] = {0};
		clocks(at, &seed, last);
		errors(at, &seed);
		EXPECT(checked_gettime, 0, CLOCK_MONOTONIC, (long)t);
		_exit(wrong != 0 || t->tv_nsec == 2);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	printf("child: %d, time is still %ld.%ld\n", status, t->tv_sec, t->tv_nsec);
	// In a time namespace the clocks are ahead. (The sandbox's vDSO tells the host's time there, too.)
	if (geteuid() == 0) {
		EXPECT(checked_gettime, 0, CLOCK_BOOTTIME, (long)t);
		MUST(unshare(CLONE_NEWTIME));
		CHECK(put("/proc/self/timens_offsets", "monotonic 1000000 0\nboottime 2000000 0\n") == 0);
		if ((pid = MUST(fork())) == 0) {
			struct timespec now;
			for (int i = 0; i < 100; i++) {
				EXPECT(checked_gettime, 0, CLOCK_MONOTONIC, (long)&now);
				if (now.tv_sec < 1000000)
					WRONG("monotonic %ld", now.tv_sec);
				EXPECT(checked_gettime, 0, CLOCK_MONOTONIC_COARSE, (long)&now);
				if (now.tv_sec < 1000000)
					WRONG("coarse %ld", now.tv_sec);
				EXPECT(checked_gettime, 0, CLOCK_BOOTTIME, (long)&now);
				if (now.tv_sec < t->tv_sec + 2000000)
					WRONG("boot time %ld", now.tv_sec);
			}
			_exit(wrong != 0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		printf("child in a time namespace: %d\n", status);
	}
	return 0;
}
