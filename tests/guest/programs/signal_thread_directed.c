// Signals to one thread stay there; signals to the process go to a thread that does not block them.
#include "check.h"
static volatile pid_t handler_tid;
static volatile int n;
static void h(int s) {
	handler_tid = gettid();
	n++;
}
static pid_t tid;
static volatile int stop;
static void *body(void *a) {
	tid = gettid();
	gate_open(*(gate *)a);
	while (!stop)
		usleep(2000);
	return NULL;
}
static void await(int want) {
	for (int i = 0; i < 500 && n < want; i++)
		usleep(2000);
}
int main(void) {
	gate g = gate_new();
	handle(SIGUSR1, h, SA_RESTART);
	pthread_t t;
	pthread_create(&t, NULL, body, &g);
	gate_wait(g);
	pthread_kill(t, SIGUSR1);
	await(1);
	printf("to the thread: %d\n", handler_tid == tid);
	sigset_t m, p;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &m, NULL);
	kill(getpid(), SIGUSR1);
	await(2);
	printf("to the one that does not block it: %d\n", handler_tid == tid);
	raise(SIGUSR1);
	sigpending(&p);
	ms(20);
	printf("thread-directed one stays pending here: %d %d\n", sigismember(&p, SIGUSR1), n);
	pthread_sigmask(SIG_UNBLOCK, &m, NULL);
	printf("and is handled here: %d\n", handler_tid == getpid());
	stop = 1;
	pthread_join(t, NULL);
	return 0;
}
