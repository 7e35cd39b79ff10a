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
