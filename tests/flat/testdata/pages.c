// A page of text with many system calls that one program after the other runs: each has been exec'd by the one before, and some find
// other text in the file at the same place. In each several threads come by the calls at once, some behind the instruction that loads the
// number, and it is changed at last.
// long: 20
#include "stress.h"
#define STUBS 16
#define THREADS 3
#define VARIANTS 3

typedef struct { long a, d; } pair;

static pid_t pid, ppid;
static int number(int variant) { return variant % 2 ? SYS_getpid : SYS_getppid; }
static int offset(int i, int variant) { return 512 + i * 64 + variant * 8; }

// fill makes the page: each stub is mov $number,%eax; syscall; mov %rcx,%rdx; ret.
static void fill(unsigned char *page, int variant) {
	memset(page, 0xf4, PAGE);
	for (int i = 0; i < STUBS; i++) {
		unsigned char *at = page + offset(i, variant);
		memcpy(at, "\xb8....\x0f\x05\x48\x89\xca\xc3", 11);
		memcpy(at + 1, &(int){number(variant)}, 4);
	}
}

static char *text;
static int variant;

static void run(void) {
	for (int i = 0; i < STUBS; i++) {
		char *at = text + offset(i, variant);
		pair p = ((pair(*)(void))at)();
		if (p.a != (variant % 2 ? pid : ppid) || p.d != (long)at + 7)
			WRONG("stub %d of %d: result %ld, RCX %lx, not %p", i, variant, p.a, p.d, at + 7);
		if (i % 4)
			continue;
		long a = SYS_getuid, d;
		__asm__ volatile("call *%2" : "+a"(a), "=d"(d) : "r"(at + 5) : "rcx", "r11", "memory");
		if (a != getuid() || d != (long)at + 7)
			WRONG("behind the number of stub %d of %d: result %ld, RCX %lx", i, variant, a, d);
	}
}

static pthread_barrier_t begin;
static void *thread(void *a) {
	pthread_barrier_wait(&begin);
	run();
	run();
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	pid = getpid(), ppid = getppid();
	int generation = argc > 2 ? atoi(argv[2]) : 0;
	int fd = argc > 2 ? atoi(argv[3]) : MUST(memfd_create("text", 0));
	wrong = argc > 2 ? atoi(argv[4]) : 0;
	unsigned char page[PAGE];
	variant = generation / 8 % VARIANTS;
	if (generation % 8 == 0) {
		fill(page, variant);
		CHECK(pwrite(fd, page, PAGE, 0) == PAGE);
	}
	text = MUST((char *)mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
	pthread_t t[THREADS];
	pthread_barrier_init(&begin, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	run();
	if (generation % 3 == 0) {
		// Another text in its place.
		fill(page, ++variant);
		MUST(mprotect(text, PAGE, PROT_READ | PROT_WRITE));
		memcpy(text, page, PAGE);
		MUST(mprotect(text, PAGE, PROT_READ | PROT_EXEC));
		run();
		run();
	}
	if (generation + 1 < (millis > 128 ? millis / 4 : 32)) {
		char g[16], f[16], w[16];
		sprintf(g, "%d", generation + 1), sprintf(f, "%d", fd), sprintf(w, "%ld", (long)wrong);
		execv("/proc/self/exe", (char *[]){argv[0], argv[1], g, f, w, NULL});
		CHECK(!"exec");
	}
	VERDICT("pages");
	return 0;
}
