// Calls that the sandbox answers without a stop, under a 10 kHz timer: first by one thread, which has its descriptors for itself, then by four, and while
// somebody waits for the futex that is woken. No result is wrong and no register changes but RCX, R11 and RAX, whatever the flags are.
// long: 30
#include "stress.h"
#include <sys/mman.h>
#include <sys/stat.h>
#define THREADS 4

CALL(checked_lseek, 8);
CALL(checked_futex, 202);
CALL(checked_umask, 95);
CALL(checked_yield, 24);

static int stop, alone = 1;
static void on_end(int s) { stop = 1; }

static void *body(void *a) {
	long r, bad, fd = MUST(memfd_create("leaf", 0));
	MUST(ftruncate(fd, 1 << 20));
	uint32_t word = 0;
	long at = 0;
	for (long n = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		long to[6] = {fd, n & 0xffff, SEEK_SET, n, -n, 1};
		bad = checked_lseek(0, to, &r);
		if (bad || r != (n & 0xffff))
			WRONG("lseek: %lx %ld", bad, r);
		at = n & 0xffff;
		long by[6] = {fd, -(at / 2), SEEK_CUR, 0, 0, 0};
		bad = checked_lseek(0, by, &r);
		if (bad || r != at - at / 2)
			WRONG("lseek by: %lx %ld", bad, r);
		long before[6] = {fd, -(1 << 20), SEEK_CUR, 0, 0, 0};
		bad = checked_lseek(0, before, &r);
		if (bad || r != -EINVAL)
			WRONG("lseek before the beginning: %lx %ld", bad, r);
		long none[6] = {1000, 0, SEEK_SET, 0, 0, 0};
		bad = checked_lseek(0, none, &r);
		if (bad || r != -EBADF)
			WRONG("lseek of nothing: %lx %ld", bad, r);
		long end[6] = {fd, 0, SEEK_END, 0, 0, 0};
		bad = checked_lseek(0, end, &r);
		if (bad || r != 1 << 20)
			WRONG("lseek to the end: %lx %ld", bad, r);
		if (lseek(fd, 0, SEEK_CUR) != 1 << 20)
			WRONG("the position");
		long wake[6] = {(long)&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0};
		bad = checked_futex(0, wake, &r);
		if (bad || r != 0)
			WRONG("futex: %lx %ld", bad, r);
		long odd[6] = {(long)&word + 1, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0};
		bad = checked_futex(0, odd, &r);
		if (bad || r != -EINVAL)
			WRONG("futex at an odd address: %lx %ld", bad, r);
		if (alone) {
			long mask[6] = {(n & 0777) | 07000, 0, 0, 0, 0, 0};
			bad = checked_umask(0, mask, &r);
			if (bad || r != (n == 1 ? 022 : ((n - 1) & 0777)))
				WRONG("umask: %lx %lo", bad, r);
		}
		long nothing[6] = {n, n, n, n, n, n};
		bad = checked_yield(0, nothing, &r);
		if (bad || r != 0)
			WRONG("sched_yield: %lx %ld", bad, r);
	}
	close(fd);
	return NULL;
}

static uint32_t turn;
static void *waiter(void *a) {
	for (uint32_t n = 0; n < 2000; n++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) == n)
			futex(&turn, FUTEX_WAIT_PRIVATE, n, NULL);
	}
	return NULL;
}

static void *run(void *a) {
	for (long end = now_ms() + 2 * millis; now_ms() < end;)
		usleep(1000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	umask(022);
	every(100000, SIGALRM);
	struct sigevent last = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t once;
	struct itimerspec in = {{0}, {millis / 1000, millis % 1000 * 1000000L}};
	handle(SIGUSR1, on_end, SA_RESTART);
	MUST(timer_create(CLOCK_MONOTONIC, &last, &once));
	MUST(timer_settime(once, 0, &in, NULL));
	body(NULL);
	VERDICT("by one thread");
	IS(alarms > 0);
	stop = 0;
	alone = 0;
	pthread_t t[THREADS], w, timed;
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, NULL) == 0);
	CHECK(pthread_create(&timed, NULL, run, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_join(timed, NULL);
	VERDICT("by four threads");
	// Nobody sleeps through a wake-up.
	CHECK(pthread_create(&w, NULL, waiter, NULL) == 0);
	for (uint32_t n = 0; n < 2000; n++) {
		__atomic_store_n(&turn, n + 1, __ATOMIC_RELAXED);
		long r, wake[6] = {(long)&turn, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0};
		if (checked_futex(0, wake, &r) || r < 0 || r > 1)
			WRONG("wake: %ld", r);
		if (n % 16 == 0)
			usleep(50);
	}
	pthread_join(w, NULL);
	VERDICT("wake-ups");
	return 0;
}
