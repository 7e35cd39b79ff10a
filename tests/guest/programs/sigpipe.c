// Writing to a pipe or socket without readers: SIGPIPE, EPIPE, MSG_NOSIGNAL.
#include "check.h"
#include <sys/sendfile.h>
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	int p[2], sv[2];
	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	close(p[0]);
	close(sv[0]);
	reap("default", CHILD(write(p[1], "x", 1)));
	handle(SIGPIPE, h, 0);
	RET(write(p[1], "x", 1));
	RET(write(p[1], "", 0));
	printf("signals %d\n", n);
	RET(send(sv[1], "x", 1, 0));
	printf("signals %d\n", n);
	RET(send(sv[1], "x", 1, MSG_NOSIGNAL));
	printf("signals %d\n", n);
	struct iovec v = {"abc", 3};
	RET(writev(p[1], &v, 1));
	int fd = file_with("f", "abc");
	RET(sendfile(p[1], fd, NULL, 3));
	printf("signals %d\n", n);
	signal(SIGPIPE, SIG_IGN);
	RET(write(p[1], "x", 1));
	return 0;
}
