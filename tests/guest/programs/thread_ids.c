// Threads: one pid, different tids, /proc/self/task, tgkill, and the thread group's exit.
#include "check.h"
static pid_t tids[3];
static pthread_barrier_t bar;
static void *body(void *a) {
	long i = (long)a;
	tids[i] = gettid();
	pthread_barrier_wait(&bar);
	pthread_barrier_wait(&bar);
	return a;
}
int main(void) {
	pthread_barrier_init(&bar, NULL, 4);
	pthread_t t[3];
	for (long i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, body, (void *)i);
	pthread_barrier_wait(&bar);
	IS(tids[0] != tids[1] && tids[1] != tids[2] && tids[0] != getpid());
	int n = 0;
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	printf("tasks %d\n", n);
	RET(syscall(SYS_tgkill, getpid(), tids[0], 0));
	RET(syscall(SYS_tgkill, getpid() + 1, tids[0], 0));
	RET(syscall(SYS_tkill, tids[1], 0));
	RET(kill(tids[1], 0));
	RET(syscall(SYS_tgkill, -1, tids[0], 0));
	RET(syscall(SYS_tgkill, getpid(), tids[0], 65));
	pthread_barrier_wait(&bar);
	for (int i = 0; i < 3; i++) {
		void *r;
		pthread_join(t[i], &r);
		printf("joined %ld\n", (long)r);
	}
	// The kernel forgets a thread a moment after it has been joined.
	for (int i = 0; i < 400 && syscall(SYS_tkill, tids[1], 0) == 0; i++)
		ms(5);
	RET(syscall(SYS_tkill, tids[1], 0));
	return 0;
}
