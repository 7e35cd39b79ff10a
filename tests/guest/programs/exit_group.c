// exit_group ends all threads, wherever they are; exit of one thread ends just that one.
#include "check.h"
static void *spin(void *a) {
	for (;;)
		__asm__ volatile("pause");
}
static void *sleeper(void *a) {
	for (;;)
		pause();
}
static void *reader(void *a) {
	char c;
	read(((int *)a)[0], &c, 1);
	return NULL;
}
int main(void) {
	int p[2];
	MUST(pipe(p));
	pid_t c = CHILD({
		pthread_t t;
		pthread_create(&t, NULL, spin, NULL);
		pthread_create(&t, NULL, sleeper, NULL);
		pthread_create(&t, NULL, reader, p);
		ms(30);
		_exit(0x1234);
	});
	reap("exit_group", c);
	c = CHILD({
		pthread_t t;
		pthread_create(&t, NULL, spin, NULL);
		pthread_create(&t, NULL, sleeper, NULL);
		ms(30);
		kill(getpid(), SIGTERM);
		for (;;)
			pause();
	});
	reap("SIGTERM", c);
	return 0;
}
