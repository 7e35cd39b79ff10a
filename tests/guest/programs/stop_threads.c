// SIGSTOP stops every thread of a process, SIGCONT continues them all.
#include "check.h"
static volatile long *counters;
static void *count(void *a) {
	for (;;)
		counters[(long)a * 64]++;
}
int main(void) {
	counters = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t c = CHILD({
		pthread_t t;
		pthread_create(&t, NULL, count, (void *)0);
		pthread_create(&t, NULL, count, (void *)1);
		for (;;)
			pause();
	});
	while (!counters[0] || !counters[64])
		ms(5);
	kill(c, SIGSTOP);
	int st;
	waitpid(c, &st, WUNTRACED);
	say_status("process", st);
	long a = counters[0], b = counters[64];
	ms(60);
	printf("stand still: %d %d\n", counters[0] == a, counters[64] == b);
	kill(c, SIGCONT);
	for (int i = 0; i < 300 && (counters[0] == a || counters[64] == b); i++)
		ms(5);
	printf("run again: %d %d\n", counters[0] != a, counters[64] != b);
	kill(c, SIGKILL);
	reap("process", c);
	return 0;
}
