// System calls that do not come by an instruction of the program's own: with a second argument the vsyscall page; what the vDSO does not know by itself,
// random numbers into memory that was never touched, in many threads. And numbers of the x32 ABI.
#include "stress.h"
#include <sys/random.h>
#include <sys/time.h>

static int near(long t) { return labs(t - time(NULL)) <= 5; }

static void *vsyscalls(void *arg) {
	long (*volatile gtod)(struct timeval *, void *) = (void *)0xffffffffff600000ul;
	long (*volatile vtime)(long *) = (void *)0xffffffffff600400ul;
	for (long end = now_ns() + millis * 1000000L; now_ns() < end;) {
		struct timeval tv = {0};
		long t = 0;
		if (gtod(&tv, NULL) != 0 || !near(tv.tv_sec))
			WRONG("gettimeofday: %ld", (long)tv.tv_sec);
		if (!near(vtime(&t)) || !near(t))
			WRONG("time: %ld", t);
	}
	return NULL;
}

static void *clocks(void *arg) {
	struct timespec before = {0}, now;
	for (long end = now_ns() + millis * 1000000L; now_ns() < end; before = now) {
		if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0)
			WRONG("clock_gettime: %d", errno);
		else if (now.tv_sec < before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec < before.tv_nsec) || now.tv_sec > 1000)
			WRONG("a thread's time went from %ld to %ld s", (long)before.tv_sec, (long)now.tv_sec);
	}
	return NULL;
}

static void *numbers(void *arg) {
	enum { SIZE = 1 << 20 };
	for (long end = now_ns() + millis * 1000000L; now_ns() < end;) {
		uint64_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		int same = 0;
		for (int i = 0; i < SIZE / 4096; i += 8)
			if (getrandom(p + i * 512, 200, 0) != 200)
				WRONG("getrandom: %d", errno);
			else
				same += p[i * 512] == p[i * 512 + 24];
		if (same != 0)
			WRONG("numbers that are not random");
		munmap(p, SIZE);
	}
	return NULL;
}

static void all(const char *what, void *(*f)(void *)) {
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, f, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	VERDICT(what);
}

static sigjmp_buf out;
static void on(int sig) { siglongjmp(out, 1); }

int main(int argc, char **argv) {
	arguments(argc, argv);
	if (argc > 2) {
		signal(SIGSEGV, on);
		volatile long t = 0;
		if (sigsetjmp(out, 1) == 0)
			t = ((long (*)(long *))0xffffffffff600400ul)(NULL);
		signal(SIGSEGV, SIG_DFL);
		if (t != 0)
			all("vsyscall page", vsyscalls);
		else
			puts("no vsyscall page");
	}
	all("clocks", clocks);
	all("random numbers", numbers);
	errno = 0;
	long r = syscall(0x40000000 | SYS_getpid);
	printf("x32: %ld %s\n", r, errno == ENOSYS ? "ENOSYS" : "");
	return 0;
}
