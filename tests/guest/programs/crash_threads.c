// One thread of many dereferences NULL, or calls exit_group, while the others spin, block, fault or create threads:
// all go.
#include "check.h"
static volatile int go, spin;
static int fds[2];
static void *idle(void *a) { return a; }
static void *work(void *a) {
	long kind = (long)a;
	while (!go)
		sched_yield();
	switch (kind % 5) {
	case 0:
		for (;;)
			spin++;
	case 1: {
		char c;
		for (;;)
			read(fds[0], &c, 1);
	}
	case 2:
		for (;;) {
			char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (p == MAP_FAILED)
				continue;
			for (int i = 0; i < 64; i++)
				p[i * PAGE] = 1;
			munmap(p, 64 * PAGE);
		}
	case 3:
		for (;;) {
			pthread_t t;
			if (pthread_create(&t, NULL, idle, NULL) == 0)
				pthread_join(t, NULL);
		}
	default:
		for (;;)
			usleep(100);
	}
	return NULL;
}
static void run(int how, int n) {
	MUST(pipe(fds));
	for (long i = 0; i < n; i++) {
		pthread_t t;
		CHECK(pthread_create(&t, NULL, work, (void *)i) == 0);
	}
	go = 1;
	usleep(1000 * (n % 4));
	if (how == 0)
		*(volatile int *)BAD = 1;
	_exit(3);
}
int main(void) {
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	for (int i = 0; i < 10; i++) {
		int how = i & 1, st;
		pid_t pid = fork();
		MUST(pid);
		if (pid == 0)
			run(how, 5 + i * 2);
		MUST(waitpid(pid, &st, 0));
		if (how == 0)
			printf("%d: signal %d\n", i, WIFSIGNALED(st) ? WTERMSIG(st) : -1);
		else
			printf("%d: status %d\n", i, WIFEXITED(st) ? WEXITSTATUS(st) : -1);
	}
	return 0;
}
