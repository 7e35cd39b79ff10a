// Any thread may wait for any child of the process; __WNOTHREAD restricts to one's own.
#include "check.h"
static pid_t child;
static void *maker(void *a) {
	gate *g = a;
	child = CHILD(_exit(4));
	gate_open(g[0]);
	gate_wait(g[1]);
	return NULL;
}
int main(void) {
	gate g[2] = {gate_new(), gate_new()};
	pthread_t t;
	pthread_create(&t, NULL, maker, g);
	gate_wait(g[0]);
	int st;
	RET(waitpid(child, &st, __WNOTHREAD));
	RET(waitpid(child, &st, 0) == child);
	say_status("another thread's child", st);
	gate_open(g[1]);
	pthread_join(t, NULL);
	return 0;
}
