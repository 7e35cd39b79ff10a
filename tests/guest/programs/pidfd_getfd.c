// pidfd_getfd takes a descriptor of another process; the copy shares the file description.
#include "check.h"
int main(void) {
	int fd = file_with("f", "abcdef");
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({
		int k = open("f", O_RDONLY);
		dup2(k, 200);
		gate_open(g);
		gate_wait(h);
		char b[4] = "";
		read(200, b, 3);
		printf("child continues at %s\n", b);
	});
	gate_wait(g);
	int pfd = syscall(SYS_pidfd_open, c, 0);
	int mine = syscall(SYS_pidfd_getfd, pfd, 200, 0);
	IS(mine >= 0);
	RET(fcntl(mine, F_GETFD));
	char b[4] = "";
	RET(read(mine, b, 2));
	printf("parent read %s\n", b);
	RET(syscall(SYS_pidfd_getfd, pfd, 201, 0));
	RET(syscall(SYS_pidfd_getfd, pfd, 200, 1));
	RET(syscall(SYS_pidfd_getfd, fd, 200, 0));
	gate_open(h);
	reap("child", c);
	RET(syscall(SYS_pidfd_getfd, pfd, 200, 0));
	return 0;
}
