// Turns that threads and processes take through pipes and futexes: none is lost and none is taken twice.
// long: 30
#include "stress.h"
#define PAIRS 3
static long until;

// One side of a ball game through pipes. The one that serves stops, by closing.
static void through_pipe(int in, int out, int serve) {
	long n = 0, x;
	if (serve) {
		for (; now_ms() < until || n < 10; n++) {
			if (write(out, &n, sizeof n) != sizeof n || read(in, &x, sizeof x) != sizeof x || x != ~n)
				WRONG("turn %ld: %ld", n, x);
		}
		close(out);
	} else {
		ssize_t r;
		while ((r = read(in, &x, sizeof x)) == sizeof x) {
			if (x != n)
				WRONG("turn %ld: %ld", n, x);
			x = ~n++;
			if (write(out, &x, sizeof x) != sizeof x)
				WRONG("write");
		}
		if (r != 0 || n < 10)
			WRONG("%zd after %ld turns", r, n);
	}
}
struct side { int in, out, serve; uint32_t *word; };
static void *pipe_side(void *a) {
	struct side *s = a;
	through_pipe(s->in, s->out, s->serve);
	return NULL;
}

// Turns are even and odd numbers in a word; the one that serves ends with UINT32_MAX.
static void through_futex(uint32_t *w, int serve) {
	uint32_t n = serve;
	for (;;) {
		uint32_t v;
		for (int late = 0; (v = __atomic_load_n(w, __ATOMIC_ACQUIRE)) != UINT32_MAX && v % 2 != (uint32_t)serve; ) {
			struct timespec ts = {10, 0};
			if (futex(w, FUTEX_WAIT, v, &ts) == -1 && errno == ETIMEDOUT && ++late) {
				WRONG("a wake-up was lost at turn %u", v);
				break;
			}
		}
		if (v == UINT32_MAX)
			return;
		if (v != n)
			WRONG("turn %u, expected %u", v, n);
		n = v + 2;
		uint32_t nextw = serve && v > 20 && now_ms() >= until ? UINT32_MAX : v + 1;
		__atomic_store_n(w, nextw, __ATOMIC_RELEASE);
		futex(w, FUTEX_WAKE, 1, NULL);
		if (nextw == UINT32_MAX)
			return;
	}
}
static void *futex_side(void *a) {
	struct side *s = a;
	through_futex(s->word, s->serve);
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	pthread_t t[PAIRS][2];
	struct side s[PAIRS][2];
	int a[2], b[2];
	until = now_ms() + millis;
	for (int i = 0; i < PAIRS; i++) {
		MUST(pipe(a));
		MUST(pipe(b));
		s[i][0] = (struct side){a[0], b[1], 0};
		s[i][1] = (struct side){b[0], a[1], 1};
		for (int k = 0; k < 2; k++)
			CHECK(pthread_create(&t[i][k], NULL, pipe_side, &s[i][k]) == 0);
	}
	for (int i = 0; i < PAIRS * 2; i++)
		pthread_join(t[i / 2][i % 2], NULL);
	VERDICT("threads, pipes");

	static uint32_t words[PAIRS * 16];
	until = now_ms() + millis;
	for (int i = 0; i < PAIRS; i++)
		for (int k = 0; k < 2; k++) {
			s[i][k] = (struct side){.serve = k, .word = &words[i * 16]};
			CHECK(pthread_create(&t[i][k], NULL, futex_side, &s[i][k]) == 0);
		}
	for (int i = 0; i < PAIRS * 2; i++)
		pthread_join(t[i / 2][i % 2], NULL);
	VERDICT("threads, futexes");

	until = now_ms() + millis;
	MUST(pipe(a));
	MUST(pipe(b));
	pid_t c = CHILD(close(a[1]); through_pipe(a[0], b[1], 0); _exit(wrong != 0));
	close(a[0]);
	close(b[1]);
	through_pipe(b[0], a[1], 1);
	reap("child", c);
	VERDICT("processes, pipes");

	uint32_t *shared = MUST((uint32_t *)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	until = now_ms() + millis;
	c = CHILD(through_futex(shared, 0); _exit(wrong != 0));
	through_futex(shared, 1);
	reap("child", c);
	VERDICT("processes, futexes");
	return 0;
}
