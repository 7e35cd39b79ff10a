// vfork: the parent waits until the child has exited or executed, and they share memory.
#include "check.h"
static volatile int step;
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		printf("executed\n");
		ms(50);
		return 4;
	}
	pid_t p = vfork();
	if (p == 0) {
		step = 1;
		usleep(30000);
		step = 2;
		_exit(3);
	}
	printf("step %d\n", step);
	reap("vfork child", p);
	p = vfork();
	if (p == 0) {
		execl("/proc/self/exe", "x", "again", NULL);
		_exit(1);
	}
	reap("vfork and exec", p);
	p = vfork();
	if (p == 0) {
		execl("/nonexistent", "x", NULL);
		step = errno;
		_exit(1);
	}
	printf("the child's errno: %s\n", ename(step));
	reap("vfork failed exec", p);
	// The parent is released when the child is killed, too.
	p = vfork();
	if (p == 0) {
		raise(SIGKILL);
		_exit(0);
	}
	reap("vfork killed", p);
	return 0;
}
