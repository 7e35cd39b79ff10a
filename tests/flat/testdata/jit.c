// The life of generated code: made, executed, made writable, changed, executed again, unmapped and mapped anew, moved, given to children by fork, all
// with system call sites in it that were rewritten meanwhile.
// long: 30
#include "stress.h"

typedef long (*fn)(long nr, long b, long c, long d, long e, long f);

// emit writes: a call with the number in RDI, and the result plus tag as the answer. shape says how.
static size_t emit(char *p, int shape, int tag) {
	char *at = p;
#define B(...)                                                 \
	do {                                                   \
		static const unsigned char b_[] = {__VA_ARGS__}; \
		memcpy(at, b_, sizeof b_);                     \
		at += sizeof b_;                               \
	} while (0)
	B(0x53);             // push %rbx
	B(0x48, 0x31, 0xdb); // xor %rbx,%rbx
	switch (shape) {
	case 0: // mov $nr,%eax; syscall
		B(0xb8, 110, 0, 0, 0, 0x0f, 0x05);
		break;
	case 1: // mov %rdi,%rax; syscall; cmp $-4095,%rax
		B(0x48, 0x89, 0xf8, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff);
		break;
	case 2: // mov %rdi,%rax; syscall
		B(0x48, 0x89, 0xf8, 0x0f, 0x05);
		break;
	case 3: // mov %rdi,%rax; mov 8(%rsp),%r9; syscall
		B(0x48, 0x89, 0xf8, 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05);
	}
	B(0xbb); // mov $tag,%ebx
	memcpy(at, &tag, 4);
	at += 4;
	B(0x48, 0x01, 0xd8); // add %rbx,%rax
	B(0x5b, 0xc3);       // pop %rbx; ret
	return (at - p + 15) & ~15UL;
}

static pid_t ppid;
#define COUNT 24
static fn made[COUNT];
static char *fill(char *to, int tag) {
	memset(to, 0xf4, PAGE);
	for (int i = 0; i < COUNT; i++) {
		made[i] = (fn)to;
		to += emit(to, i % 4, tag + i);
	}
	return to;
}
// call_all calls often enough that sites are rewritten.
static void call_all(int tag, int times) {
	for (times *= 5; times--;)
		for (int i = 0; i < COUNT; i++) {
			long r = made[i](SYS_getppid, 0, 0, 0, 0, 0);
			if (r != ppid + tag + i)
				WRONG("function %d: %ld, expected %d", i, r - ppid, tag + i);
		}
}

// Other threads have code of their own, so that mappings change under them.
static atomic_int stop, ready;
static void *busy(void *a) {
	char *p = anon(1);
	memset(p, 0xf4, PAGE);
	emit(p, (long)a, 7);
	MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	ready++;
	while (!stop)
		if (((fn)p)(SYS_getppid, 0, 0, 0, 0, 0) != ppid + 7)
			WRONG("another thread's code");
	return NULL;
}

static void life(const char *name) {
	int tag = 1000;
	char *p = MUST((char *)mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (long end = now_ms() + millis; now_ms() < end; tag += 1000) {
		// changed in place
		MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
		fill(p, tag);
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		call_all(tag, 3);
		// only one function of the page changed
		MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
		call_all(tag, 1);
		emit((char *)made[5], 1, tag + 5 + 100000);
		if (made[5](SYS_getppid, 0, 0, 0, 0, 0) != ppid + tag + 5 + 100000)
			WRONG("changed while writable and executable");
		emit((char *)made[5], 1, tag + 5);
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		call_all(tag, 2);
		// unmapped, and something else in its place
		MUST(munmap(p, PAGE));
		if (FAULTS(made[0](SYS_getppid, 0, 0, 0, 0, 0)) != SIGSEGV)
			WRONG("code that is gone runs");
		MUST(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		fill(p, tag + 1);
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		call_all(tag + 1, 2);
		// without the right to execute
		MUST(mprotect(p, PAGE, PROT_READ));
		if (FAULTS(made[0](SYS_getppid, 0, 0, 0, 0, 0)) != SIGSEGV)
			WRONG("code that may not be executed runs");
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		call_all(tag + 1, 1);
		// moved over other code that was executed
		char *q = p + 2 * PAGE;
		MUST(mmap(q, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		fill(q, tag + 2);
		MUST(mprotect(q, PAGE, PROT_READ | PROT_EXEC));
		call_all(tag + 2, 2);
		MUST(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
		call_all(tag + 1, 2); // the same offsets, other contents
		MUST(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		// dropped: zeros, which are `add %al,(%rax)`
		MUST(madvise(q, PAGE, MADV_DONTNEED));
		if (q[0] != 0)
			WRONG("MADV_DONTNEED left code");
	}
	MUST(munmap(p, 4 * PAGE));
	VERDICT(name);
}

// The call itself takes away the code that it returns to.
static void replaced_by_itself(int shape, const char *name) {
	char *p = anon(1), *q = anon(1), *spare = anon(1);
	(void)spare;
	fn f = (fn)p;
	for (int i = 0; i < 20; i++) {
		MUST(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		MUST(mmap(q, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		memset(p, 0xf4, PAGE);
		memset(q, 0xf4, PAGE);
		emit(p, shape, 1);
		emit(q, shape, 2);
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		MUST(mprotect(q, PAGE, PROT_READ | PROT_EXEC));
		for (int k = 0; k < 12; k++)
			if (f(SYS_getppid, 0, 0, 0, 0, 0) != ppid + 1)
				WRONG("before");
		// mremap(q, PAGE, PAGE, MAYMOVE|FIXED, p): the arguments are where the call has them but for the first
		long r;
		__asm__ volatile("mov %[q],%%rsi\nmov %[fn],%%rcx\n"
				 "mov $25,%%edi\n"
				 "call 1f\njmp 2f\n"
				 "1: mov %%rdi,%%rax\npush %%rcx\nmov %%rsi,%%rdi\nmov $4096,%%esi\nmov $4096,%%edx\nmov $3,%%r10d\nmov %%rcx,%%r8\n"
				 "add %[skip],%%rcx\npush %%rbx\nxor %%ebx,%%ebx\n"
				 "lea 3f(%%rip),%%r9\npop %%rbx\npush %%r9\npush %%rbx\nxor %%ebx,%%ebx\njmp *%%rcx\n"
				 "3: pop %%rcx\nret\n2:\n"
				 : "=a"(r) : [q] "r"(q), [fn] "r"(p), [skip] "r"((long)7)
				 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
		if (r != (long)p + 2)
			WRONG("round %d: what follows is the old code: %ld", i, r - (long)p);
		for (int k = 0; k < 3; k++)
			if (f(SYS_getppid, 0, 0, 0, 0, 0) != ppid + 2)
				WRONG("afterwards");
	}
	VERDICT(name);
}

static void children(void) {
	char *p = anon(1);
	fill(p, 500);
	MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	call_all(500, 2);
	long end = now_ms() + millis;
	int n = 0;
	do {
		pid_t child = fork();
		if (child == 0) {
			ppid = getppid();
			call_all(500, 2);
			MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
			fill(p, 800);
			MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
			call_all(800, 2);
			if (n % 4 == 0) {
				execl("/proc/self/exe", "jit", "child", NULL);
				_exit(9);
			}
			_exit(wrong ? 1 : 7);
		}
		int st;
		MUST(waitpid(child, &st, 0));
		if (st != 7 << 8)
			WRONG("child %d: status %x", n, st);
		call_all(500, 1);
		n++;
	} while (now_ms() < end);
	VERDICT("fork children");
	for (n = 0, end = now_ms() + millis; n < 5 || now_ms() < end; n++) {
		pid_t child = vfork();
		if (child == 0) {
			for (int i = 0; i < COUNT; i++)
				if (made[i](SYS_getppid, 0, 0, 0, 0, 0) != getpid() * 0 + syscall(SYS_getppid) + 500 + i)
					_exit(3);
			execl("/proc/self/exe", "jit", "child", NULL);
			_exit(9);
		}
		int st;
		MUST(waitpid(child, &st, 0));
		if (st != 7 << 8)
			WRONG("vfork child %d: status %x", n, st);
		call_all(500, 1);
	}
	VERDICT("vfork children");
}

int main(int argc, char **argv) {
	ppid = getppid();
	if (argc > 1 && strcmp(argv[1], "child") == 0) {
		char *p = anon(1);
		fill(p, 300);
		MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
		call_all(300, 2);
		return wrong ? 1 : 7;
	}
	arguments(argc, argv);
	catch_faults();
	life("alone");
	for (int i = 1; i < 4; i++) {
		char name[64];
		snprintf(name, sizeof name, "code that replaces itself, shape %d", i);
		if (i != 3)
			replaced_by_itself(i, name);
	}
	pthread_t t[3];
	for (long i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, busy, (void *)i) == 0);
	while (ready < 3) // their memory is not to be where this one takes some away
		sched_yield();
	life("beside other threads");
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	children();
	return 0;
}
