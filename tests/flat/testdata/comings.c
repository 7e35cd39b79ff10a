// Memory that comes and goes at the same addresses: some threads each map, unmap, protect, give back and move parts of a range of
// their own, look at every page after each step, and now and then have a child that changes all it has. What is not there faults, with
// the right code; what comes is zero; what stays has what was written last.
// long: 30
#include "stress.h"
#include <setjmp.h>
#define PAGES 48
#define THREADS 3

enum { NONE, NOACCESS, READ, WRITE };
static const int prots[] = {0, PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};

typedef struct {
	char *base;
	int state[PAGES];
	uint64_t word[PAGES];
	uint64_t seed;
} arena;

static _Thread_local sigjmp_buf out;
static _Thread_local int sig, code;
static _Thread_local char *at;
static void caught(int s, siginfo_t *si, void *u) {
	sig = s, code = si->si_code, at = si->si_addr;
	siglongjmp(out, 1);
}

// touch reads a word, or writes one; false: it faulted.
static int touch(char *p, int write, uint64_t *v) {
	sig = 0;
	if (sigsetjmp(out, 0))
		return 0;
	if (write)
		*(volatile uint64_t *)p = *v;
	else
		*v = *(volatile uint64_t *)p;
	return 1;
}

static void look(arena *a, int lo, int hi, const char *after) {
	for (int i = lo; i < hi; i++) {
		char *p = a->base + i * PAGE + (i * 88 & 0xff8);
		uint64_t v = 0;
		int want = a->state[i] >= READ;
		if (touch(p, 0, &v) != want || (want && v != a->word[i]))
			WRONG("page %d after %s: state %d, read %lx for %lx, signal %d code %d", i, after, a->state[i], v, a->word[i], sig, code);
		else if (!want && (sig != SIGSEGV || at != p || code != (a->state[i] == NONE ? SEGV_MAPERR : SEGV_ACCERR)))
			WRONG("page %d after %s: state %d, signal %d code %d at %p for %p", i, after, a->state[i], sig, code, at, p);
		if (a->state[i] == READ && next(&a->seed) % 4 == 0 && (touch(p, 1, &v) || sig != SIGSEGV || code != SEGV_ACCERR))
			WRONG("page %d after %s: written to, signal %d code %d", i, after, sig, code);
	}
}

static void set(arena *a, int lo, int hi, int state, int fresh) {
	for (int i = lo; i < hi; i++) {
		a->state[i] = state;
		if (fresh)
			a->word[i] = 0;
	}
}

static void fill(arena *a, int lo, int hi) {
	for (int i = lo; i < hi; i++) {
		uint64_t v = next(&a->seed);
		if (a->state[i] != WRITE || v % 4 == 0)
			continue;
		if (!touch(a->base + i * PAGE + (i * 88 & 0xff8), 1, &v))
			WRONG("page %d cannot be written: signal %d code %d", i, sig, code);
		a->word[i] = v;
	}
}

static void step(arena *a) {
	// Few ranges, so that each is there again and again.
	static const int ranges[][2] = {{0, 1}, {0, 8}, {8, 12}, {8, 24}, {16, 17}, {0, PAGES}, {20, 44}, {30, 31}};
	const int *r = ranges[next(&a->seed) % 8];
	int lo = r[0], hi = r[1], op = next(&a->seed) % 16;
	char *p = a->base + lo * PAGE;
	size_t size = (hi - lo) * PAGE;
	const char *what = "map";
	switch (op) {
	default:
		// what most programs do: here for a moment
		CHECK(mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
		set(a, lo, hi, WRITE, 1);
		look(a, lo, hi, what);
		fill(a, lo, hi);
		look(a, lo, hi, "fill");
		if (op % 2)
			break;
		// fall through
	case 0:
		what = "unmap";
		MUST(munmap(p, size));
		set(a, lo, hi, NONE, 1);
		break;
	case 1:
	case 2:
		what = "protect";
		for (int i = lo; i < hi; i++)
			if (a->state[i] == NONE)
				return;
		op = 1 + next(&a->seed) % 3;
		MUST(mprotect(p, size, prots[op]));
		set(a, lo, hi, op, 0);
		break;
	case 3:
		what = "give back";
		for (int i = lo; i < hi; i++)
			if (a->state[i] == NONE)
				return;
		MUST(madvise(p, size, MADV_DONTNEED));
		for (int i = lo; i < hi; i++)
			a->word[i] = 0;
		break;
	case 4: {
		what = "move";
		if (a->state[0] != WRITE || a->state[30] == NONE)
			return;
		CHECK(mremap(a->base, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a->base + 30 * PAGE) == a->base + 30 * PAGE);
		a->state[30] = WRITE, a->state[0] = NONE;
		// The word is elsewhere in the page.
		uint64_t v = a->word[0];
		a->word[0] = 0;
		uint64_t got = *(uint64_t *)(a->base + 30 * PAGE);
		if (got != v)
			WRONG("a page was moved: %lx for %lx", got, v);
		a->word[30] = *(uint64_t *)(a->base + 30 * PAGE + (30 * 88 & 0xff8));
		lo = 0, hi = PAGES;
		break;
	}
	}
	look(a, lo, hi, what);
}

static void child(arena *a) {
	pid_t pid = MUST(fork());
	if (pid == 0) {
		look(a, 0, PAGES, "fork, in the child");
		fill(a, 0, PAGES);
		for (int i = 0; i < 4; i++)
			step(a);
		look(a, 0, PAGES, "all, in the child");
		_exit(wrong != 0);
	}
	if (a->seed % 2) {
		fill(a, 0, PAGES);
		look(a, 0, PAGES, "fork, in the parent");
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status)
		WRONG("child: status %x", status);
	look(a, 0, PAGES, "the child's end");
}

static void *thread(void *arg) {
	arena *a = arg;
	long until = now_ns() + millis * 1000000L;
	for (int n = 0; n < 200 || now_ns() < until; n++) {
		step(a);
		if (n % 100 == 99)
			child(a);
		if (n % 256 == 255)
			look(a, 0, PAGES, "all");
	}
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	struct sigaction sa = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};
	MUST(sigaction(SIGSEGV, &sa, NULL));
	MUST(sigaction(SIGBUS, &sa, NULL));
	static arena all[THREADS];
	for (int n = 1; n <= THREADS; n += THREADS - 1) {
		pthread_t t[THREADS];
		for (int i = 0; i < n; i++) {
			// Between the arenas is memory that never goes, so that nobody else's gets there.
			char *p = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(p != MAP_FAILED);
			memset(&all[i], 0, sizeof all[i]);
			all[i].base = p + PAGE, all[i].seed = 88172645463325252UL + 977 * i;
			set(&all[i], 0, PAGES, NOACCESS, 1);
			CHECK(pthread_create(&t[i], NULL, thread, &all[i]) == 0);
		}
		for (int i = 0; i < n; i++)
			pthread_join(t[i], NULL);
		printf("%d threads\n", n);
		VERDICT("memory that comes and goes");
	}
}
