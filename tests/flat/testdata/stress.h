// What the stress programs share. millis is how long each part goes on.
#include "check.h"
#include <linux/futex.h>
#include <stdatomic.h>

static int millis = 150;
UNUSED static void arguments(int argc, char **argv) {
	if (argc > 1)
		millis = atoi(argv[1]);
	alarm(60 + 5 * millis / 1000);
}

static atomic_long wrong;
// WRONG notes the first failures; the programs print only whether there were any.
#define WRONG(...)                                                     \
	do {                                                           \
		if (atomic_fetch_add(&wrong, 1) < 10) {                \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);                  \
			fputc('\n', stderr);                           \
		}                                                      \
	} while (0)
#define VERDICT(what) printf("%s: %s\n", what, atomic_exchange(&wrong, 0) ? "wrong" : "right")

UNUSED static long now_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

UNUSED static long futex(void *at, int op, uint32_t v, struct timespec *ts) { return syscall(SYS_futex, at, op, v, ts, NULL, 0); }

// pinned random numbers, the same in each run
UNUSED static uint64_t next(uint64_t *s) {
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

// EXPECT makes a call by a function of CHECKED and compares what it returns.
#define EXPECT(call, want, ...)                                                           \
	do {                                                                              \
		long args_[6] = {__VA_ARGS__}, r_, bad_ = call(0, args_, &r_), want_ = want; \
		if (bad_ || r_ != want_)                                                  \
			WRONG("%s: %lx, %ld and not %ld", #call, bad_, r_, want_);        \
	} while (0)

// every has a signal sent again and again, which alarms counts.
static atomic_long alarms;
UNUSED static void on_alarm(int s) { alarms++; }
UNUSED static void every(long ns, int signal) {
	handle(signal, on_alarm, SA_RESTART);
	timer_t timer;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
	MUST(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	struct itimerspec its = {{0, ns}, {0, ns}};
	MUST(timer_settime(timer, 0, &its, NULL));
}

// CHECKED defines a function that makes one call with known values in all registers and says which changed.
// rdi: nr, rsi: six arguments, rdx: where the result goes
#define CHECKED(name, site)                                          \
	__asm__(".text\n.globl " name "\n" name ":\n"                \
		"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n" \
		"push %rdx\npush %rsi\n"                             \
		"mov %rdi,%rax\n"                                    \
		"mov %rsi,%rbx\n"                                    \
		"mov (%rbx),%rdi\nmov 8(%rbx),%rsi\nmov 16(%rbx),%rdx\nmov 24(%rbx),%r10\nmov 32(%rbx),%r8\nmov 40(%rbx),%r9\n" \
		"mov $0x1111111122222222,%r12\nlea 1(%r12),%r13\nlea 2(%r12),%r14\nlea 3(%r12),%r15\nlea 4(%r12),%rbp\n" \
		"mov $0x8d5,%ecx\npush %rcx\n" /* arithmetic flags */ \
		"orq $0x202,(%rsp)\npopfq\n"                         \
		site                                                 \
		"pushfq\npop %rcx\n"                                 \
		"and $0x8d5,%ecx\nsub $0x8d5,%ecx\n"                 \
		"mov $0x1111111122222222,%r11\n"                     \
		"sub %r11,%r12\nor %r12,%rcx\n"                      \
		"sub %r11,%r13\ndec %r13\nor %r13,%rcx\n"            \
		"sub %r11,%r14\nsub $2,%r14\nor %r14,%rcx\n"         \
		"sub %r11,%r15\nsub $3,%r15\nor %r15,%rcx\n"         \
		"sub %r11,%rbp\nsub $4,%rbp\nor %rbp,%rcx\n"         \
		"cmp %rbx,(%rsp)\nje 1f\nor $1<<20,%rcx\n1:\n"       \
		"xor (%rbx),%rdi\nor %rdi,%rcx\nxor 8(%rbx),%rsi\nor %rsi,%rcx\nxor 16(%rbx),%rdx\nor %rdx,%rcx\n" \
		"xor 24(%rbx),%r10\nor %r10,%rcx\nxor 32(%rbx),%r8\nor %r8,%rcx\nxor 40(%rbx),%r9\nor %r9,%rcx\n" \
		"pop %rsi\npop %rdx\n"                               \
		"mov %rax,(%rdx)\nmov %rcx,%rax\n"                   \
		"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n")

// CALL defines a function of CHECKED for a call by its number.
#define CALL(name, nr)                                   \
	long name(long nr_, long *args, long *result);    \
	CHECKED(#name, "mov $" #nr ",%eax\nsyscall\n")
