// Queued signals with numbers, sent by threads and by another process to threads that make system calls, wait in them, and run: each
// arrives, once, and those of one sender in order.
// long: 30
#include "stress.h"
#define THREADS 3

static atomic_int sent[THREADS], got[THREADS];
static atomic_int tids[THREADS], stop, stop_sender, from_child;
static __thread int me;

static void on_rt(int s, siginfo_t *i, void *u) {
	int want = atomic_fetch_add(&got[me], 1);
	if (i->si_value.sival_int != want)
		WRONG("thread %d: number %d, expected %d", me, i->si_value.sival_int, want);
}
static void on_child(int s, siginfo_t *i, void *u) {
	int want = atomic_fetch_add(&from_child, 1);
	if (i->si_value.sival_int != want)
		WRONG("from the child: number %d, expected %d", i->si_value.sival_int, want);
}

static void *body(void *a) {
	me = (long)a;
	tids[me] = syscall(SYS_gettid);
	uint32_t word = 0;
	for (long n = 0; !stop; n++) {
		switch (me) {
		case 0:
			syscall(SYS_getppid);
			break;
		case 1: {
			struct timespec ts = {0, 200000};
			long r = futex(&word, FUTEX_WAIT_PRIVATE, 0, &ts);
			if (r != -1 || (errno != ETIMEDOUT && errno != EINTR))
				WRONG("futex %ld %d", r, errno);
			break;
		}
		default:
			for (volatile int i = 0; i < 1000; i++)
				;
		}
	}
	return NULL;
}

static void *sender(void *a) {
	pid_t pid = getpid();
	int t = 0;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (!stop_sender) {
		t = (t + 1) % THREADS;
		if (sent[t] - got[t] > 50) {
			sched_yield();
			continue;
		}
		siginfo_t i = {0};
		i.si_code = SI_QUEUE;
		i.si_pid = pid;
		i.si_uid = getuid();
		i.si_value.sival_int = sent[t];
		if (syscall(SYS_rt_tgsigqueueinfo, pid, tids[t], SIGRTMIN + 1, &i) == 0)
			sent[t]++;
		else if (errno != EAGAIN)
			WRONG("rt_tgsigqueueinfo %d", errno);
	}
	return NULL;
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	int child_sent;
	int p[2];
	MUST(pipe(p));
	handle_info(SIGRTMIN + 1, on_rt, SA_RESTART);
	handle_info(SIGRTMIN + 2, on_child, SA_RESTART);
	pid_t pid = getpid();
	sigset_t mine;
	sigemptyset(&mine);
	sigaddset(&mine, SIGRTMIN + 2); // the first thread's
	pthread_sigmask(SIG_BLOCK, &mine, NULL);
	pid_t child = MUST(fork());
	if (child == 0) {
		long end = now_ms() + 2 * millis;
		int n = 0;
		while (now_ms() < end) {
			union sigval v = {.sival_int = n};
			if (sigqueue(pid, SIGRTMIN + 2, v) == 0)
				n++;
			else if (errno != EAGAIN)
				_exit(1);
			if (n % 16 == 0)
				ms(1);
		}
		_exit(write(p[1], &n, sizeof n) != sizeof n);
	}
	pthread_t t[THREADS], s;
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		while (!tids[i])
			sched_yield();
	CHECK(pthread_create(&s, NULL, sender, NULL) == 0);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
	while (read(p[0], &child_sent, sizeof child_sent) != sizeof child_sent)
		;
	reap("child", child);
	// All that was sent arrives, however late.
	long end = now_ms() + 20000;
	while (from_child < child_sent && now_ms() < end)
		ms(1);
	stop_sender = 1;
	pthread_join(s, NULL);
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < THREADS; i++)
		if (got[i] > sent[i] || got[i] < sent[i] - 51)
			WRONG("thread %d got %d of %d", i, got[i], sent[i]);
	if (from_child != child_sent)
		WRONG("%d of %d from the child", from_child, child_sent);
	VERDICT("queued signals");
	IS(got[0] > 0 && got[1] > 0 && got[2] > 0 && child_sent > 0);
	return 0;
}
