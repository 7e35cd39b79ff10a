// The break of a program's memory, which moves within a page without a stop, under a 10 kHz timer: by one thread that looks at what is in the memory, by four
// that move it to and fro, in a child, and with a limit.
// long: 20
#include "stress.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#define THREADS 4

CALL(checked_brk, 12);

static int stop;
static unsigned char *base; // the beginning of a page
#define PAGES 6

static unsigned char *move(long to) {
	long r, args[6] = {to, 1, 2, 3, 4, 5};
	long bad = checked_brk(0, args, &r);
	if (bad)
		WRONG("brk changed %lx", bad);
	return (unsigned char *)r;
}

static void moved(unsigned char *to) {
	unsigned char *r = move((long)to);
	if (r != to)
		WRONG("brk: %p and not %p", r, to);
}

// alone keeps the memory of all that is below the break, and none of what has been above it in another page.
static void alone(uint64_t *seed) {
	static unsigned char want[PAGES * PAGE];
	static long end;
	for (int i = 0; i < 100; i++) {
		long to = next(seed) % 4 ? (end ? (end - 1) / PAGE * PAGE : 0) + 1 + next(seed) % PAGE : next(seed) % (PAGES * PAGE);
		moved(base + to);
		if (move(0) != base + to || move((long)base - 100 * PAGE) != base + to || move(-1) != base + to)
			WRONG("the break is not where it was moved");
		long page = (to + PAGE - 1) / PAGE * PAGE;
		if (page < (end + PAGE - 1) / PAGE * PAGE)
			memset(want + page, 0, sizeof want - page);
		end = to;
		for (long at = 0; at < page; at += 1 + next(seed) % 2000) {
			if (base[at] != want[at])
				WRONG("byte %ld is %d and not %d", at, base[at], want[at]);
			base[at] = want[at] = next(seed);
		}
	}
	moved(base);
	memset(want, 0, sizeof want);
	end = 0;
}

static void *to_and_fro(void *a) {
	uint64_t seed = 88172645463325252UL + (long)a;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		unsigned char *page = base + next(&seed) % PAGES * PAGE;
		for (int i = 0; i < 8; i++) {
			moved(page + 1 + next(&seed) % PAGE);
			unsigned char *now = move(0);
			if (now < base || now > base + PAGES * PAGE)
				WRONG("the break is %p", now);
		}
	}
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	alarm(0);
	setvbuf(stdout, NULL, _IONBF, 0);
	mallopt(M_TOP_PAD, 0);
	base = (unsigned char *)((((long)sbrk(0)) + 4 * PAGE - 1) & ~(PAGE - 1L));
	moved(base);
	every(100000, SIGALRM);
	uint64_t seed = 1;
	for (long end = now_ms() + millis; now_ms() < end;)
		alone(&seed);
	VERDICT("by one thread");
	// What threads need of libc's heap comes from elsewhere.
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, to_and_fro, (void *)i) == 0);
	for (long end = now_ms() + millis; now_ms() < end;)
		usleep(1000);
	// A child has its own. It stays in the page: Linux copies the break before the mappings, and may find that they do not fit.
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			unsigned char *was = move(0);
			if (was < base || was > base + PAGES * PAGE)
				WRONG("the child's break is %p", was);
			for (int k = 0; k < 1000; k++)
				moved((unsigned char *)((((long)was - 1) & ~(PAGE - 1L)) + 1 + next(&seed) % PAGE));
			_exit(wrong != 0);
		}
		int status = -1;
		CHECK(waitpid(pid, &status, 0) == pid);
		if (status)
			WRONG("the child's status is %x", status);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	VERDICT("by four threads");
	moved(base + 100);
	base[99] = 7;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		moved(base + 200);
		moved(base + 50);
		if (base[99] != 7)
			WRONG("the page has changed");
		moved(base);
		for (int k = 0; k < 10; k++)
			alone(&seed);
		_exit(wrong != 0);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	moved(base + 100);
	printf("child: %d, the break is %ld\n", status, (long)(move(0) - base));
	IS(alarms > 0);
	// The page's mapping is not what the break goes by.
	MUST(munmap(base, PAGE));
	moved(base + 300);
	MUST((long)mmap(base, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	moved(base + 400);
	moved(base + 100);
	// With a limit nothing moves, not even downwards.
	MUST(setrlimit(RLIMIT_DATA, &(struct rlimit){0, RLIM_INFINITY}));
	for (int i = 0; i < 3; i++) {
		IS(move((long)base + 99) == base + 100);
		IS(move((long)base + 101) == base + 100);
		IS(move(0) == base + 100);
	}
	MUST(setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
	moved(base + 99);
	VERDICT("limits");
	return 0;
}
