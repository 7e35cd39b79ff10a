// Robust mutexes: the next owner gets EOWNERDEAD when a thread or process died with the lock.
#include "check.h"
static pthread_mutex_t *m;
static void *die(void *a) {
	pthread_mutex_lock(m);
	return NULL;
}
int main(void) {
	m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(m, &a);
	pthread_t t;
	pthread_create(&t, NULL, die, NULL);
	pthread_join(t, NULL);
	printf("after thread: %s\n", ename(pthread_mutex_lock(m)));
	RET(pthread_mutex_consistent(m));
	RET(pthread_mutex_unlock(m));
	RET(pthread_mutex_lock(m));
	RET(pthread_mutex_unlock(m));
	reap("killed", CHILD({ pthread_mutex_lock(m); raise(SIGKILL); }));
	printf("after process: %s\n", ename(pthread_mutex_lock(m)));
	RET(pthread_mutex_consistent(m));
	pthread_mutex_unlock(m);
	// A waiter is woken by the death.
	gate g = gate_new();
	pid_t c = CHILD({ pthread_mutex_lock(m); gate_open(g); ms(60); _exit(0); });
	gate_wait(g);
	printf("woken: %s\n", ename(pthread_mutex_lock(m)));
	pthread_mutex_unlock(m);
	reap("owner", c);
	printf("not recovered: %s\n", ename(pthread_mutex_lock(m)));
	void *head;
	size_t len;
	RET(syscall(SYS_get_robust_list, 0, &head, &len));
	printf("length %zu\n", len);
	RET(syscall(SYS_set_robust_list, head, len + 1));
	RET(syscall(SYS_get_robust_list, 999999, &head, &len));
	return 0;
}
