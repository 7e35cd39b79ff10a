// Eight threads make system calls without a pause, each under a 10 kHz timer of its own and all under a 10 kHz interval timer. No result is
// wrong, no register changes but RCX, R11 and RAX, and no expiration is lost: what a handler does not see is in an overrun.
// long: 60
#include "stress.h"
#define THREADS 8
#define PERIOD 100000

long checked(long nr, long *args, long *result);
long checked_trapping(long nr, long *args, long *result);
// One site that can be rewritten over what follows when nobody else runs, one that jumps point into, which always traps.
CHECKED("checked", "syscall\n.byte 0x48,0x8d,0x80,0,0,0,0\n" /* lea 0(%rax),%rax */);
CHECKED("checked_trapping", "jmp 3f\n3: syscall\njmp 4f\n4: ");

static __thread atomic_long mine;
static void on_timer(int s, siginfo_t *i, void *u) { mine += 1 + i->si_overrun; }

static int zero, stop;
static pid_t pid, ppid;
static long timers_right;

static void *body(void *a) {
	long me = (long)a;
	long r, bad, last = 0;
	uint32_t word = 0;
	char buf[64];
	pid_t tid = syscall(SYS_gettid);
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
	ev._sigev_un._tid = tid;
	timer_t timer;
	MUST(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	struct itimerspec its = {{0, PERIOD}, {0, PERIOD}}, off = {{0}};
	long begin = now_ns();
	MUST(timer_settime(timer, 0, &its, NULL));
	long begun = now_ns();
	long (*call)(long, long *, long *) = me & 1 ? checked : checked_trapping;
	for (long n = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		if (getppid() != ppid || syscall(SYS_getpid) != pid)
			WRONG("getpid");
		long none[6] = {n, ~n, n * 3, n << 40, 5, -n};
		bad = call(n & 1 ? SYS_getppid : SYS_gettid, none, &r);
		if (bad || r != (n & 1 ? ppid : tid))
			WRONG("registers %lx, result %ld", bad, r);
		memset(buf, 0xff, sizeof buf);
		long rd[6] = {zero, (long)buf, sizeof buf, 1, 2, 3};
		bad = call(SYS_read, rd, &r);
		if (bad || r != sizeof buf || buf[0] || memcmp(buf, buf + 1, sizeof buf - 1))
			WRONG("read: %lx %ld", bad, r);
		long wk[6] = {(long)&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0};
		bad = call(SYS_futex, wk, &r);
		if (bad || r != 0)
			WRONG("futex: %lx %ld", bad, r);
		struct timespec ts;
		if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts))
			WRONG("clock_gettime");
		long now = ts.tv_sec * 1000000000L + ts.tv_nsec;
		if (now < last)
			WRONG("time goes back");
		last = now;
		if (n % 64 == 63)
			sched_yield();
	}
	long until = now_ns();
	MUST(timer_settime(timer, 0, &off, NULL));
	long end = now_ns();
	// A pending signal may go with the timer, and with it what it stands for; late is what the machine is.
	long most = (end - begin) / PERIOD + 1, least = (until - begun) / PERIOD;
	if (mine > most)
		WRONG("thread %ld: %ld expirations of at most %ld", me, (long)mine, most);
	if (mine < least * 7 / 10 - 1000)
		WRONG("thread %ld: %ld expirations of at least %ld", me, (long)mine, least);
	if (mine > 0)
		__atomic_add_fetch(&timers_right, 1, __ATOMIC_RELAXED);
	MUST(timer_delete(timer));
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	zero = MUST(open("/dev/zero", O_RDONLY));
	pid = getpid();
	ppid = getppid();
	handle_info(SIGRTMIN + 1, on_timer, SA_RESTART);
	handle(SIGVTALRM, on_alarm, SA_RESTART);
	handle(SIGPROF, on_alarm, SA_RESTART);
	struct itimerval it = {{0, 100}, {0, 100}};
	MUST(setitimer(ITIMER_PROF, &it, NULL));
	MUST(setitimer(ITIMER_VIRTUAL, &it, NULL));
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
	timer_t real;
	MUST(timer_create(CLOCK_REALTIME, &ev, &real));
	struct itimerspec its = {{0, PERIOD}, {0, PERIOD}};
	MUST(timer_settime(real, 0, &its, NULL));
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)i) == 0);
	// By the clock: each signal ends a sleep, and what is left of it grows with what that takes.
	for (long end = now_ms() + 4 * millis; now_ms() < end;)
		usleep(1000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	VERDICT("calls and timers");
	printf("timers that fired: %ld\n", timers_right);
	IS(alarms > 0);
	return 0;
}
