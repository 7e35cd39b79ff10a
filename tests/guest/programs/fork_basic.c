// fork: the child has another pid, the right parent, the same descriptors with a shared offset, and its own data.
#include "check.h"
int main(void) {
	int fd = file_with("f", "abcdef");
	pid_t me = getpid();
	int x = 1;
	gate g = gate_new();
	pid_t c = CHILD({
		char b[3] = "";
		IS(getpid() != me);
		IS(getppid() == me);
		IS(gettid() == getpid());
		RET(read(fd, b, 2));
		printf("child read %s\n", b);
		x = 5;
		RET(close(fd));
		gate_open(g);
	});
	gate_wait(g);
	char b[3] = "";
	RET(read(fd, b, 2));
	printf("parent read %s, x %d\n", b, x);
	reap("child", c);
	RET(waitpid(c, NULL, 0));
	RET(kill(c, 0));
	return 0;
}
