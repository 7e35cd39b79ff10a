// The first thread may exit while others run: the process stays, as a zombie leader, until the last one ends.
#include "check.h"
static pid_t parent;
static void *body(void *a) {
	ms(50);
	printf("leader is %c\n", state_of(getpid()));
	IS(getppid() == parent);
	exit(5);
}
int main(void) {
	parent = getpid();
	pid_t c = CHILD({
		pthread_t t;
		pthread_create(&t, NULL, body, NULL);
		syscall(SYS_exit, 3);
	});
	reap("with exit in the second thread", c);
	c = CHILD({
		pthread_t t;
		pthread_create(&t, NULL, (void *(*)(void *))(void *)sleep, (void *)0);
		pthread_detach(t);
		ms(50);
		syscall(SYS_exit, 3);
	});
	reap("with all threads gone", c);
	return 0;
}
