// Unix stream sockets by path: bind, listen, connect, accept, data, shutdown, names and errors.
#include "check.h"
static struct sockaddr_un addr(const char *p) {
	struct sockaddr_un a = {AF_UNIX};
	strcpy(a.sun_path, p);
	return a;
}
int main(void) {
	struct sockaddr_un a = addr("sock"), got;
	socklen_t n = sizeof a;
	char b[32] = "";
	int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	RET(listen(s, 1));
	RET(connect(s, (void *)&a, sizeof a));
	RET(bind(s, (void *)&a, sizeof a));
	RET(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a));
	RET(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a));
	RET(listen(s, 2));
	pid_t c = CHILD({
		int k = socket(AF_UNIX, SOCK_STREAM, 0);
		RET(connect(k, (void *)&a, sizeof a));
		RET(connect(k, (void *)&a, sizeof a));
		write(k, "request", 7);
		char r[16] = "";
		RET(read(k, r, 16));
		printf("client got %s\n", r);
		RET(shutdown(k, SHUT_WR));
		RET(read(k, r, 16));
	});
	int k = MUST(accept4(s, (void *)&got, &n, SOCK_CLOEXEC));
	CHECK(read(k, b, 32) == 7);
	CHECK(write(k, "reply", 5) == 5);
	CHECK(read(k, b, 32) == 0);
	close(k);
	reap("client", c);
	printf("%s, unnamed peer: length %d\n", b, n);
	n = sizeof got;
	RET(getsockname(s, (void *)&got, &n));
	printf("%s %d\n", got.sun_path, n);
	RET(getpeername(s, (void *)&got, &n));
	RET(accept(socket(AF_UNIX, SOCK_STREAM, 0), NULL, NULL));
	int nb = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	RET(fcntl(s, F_SETFL, O_NONBLOCK));
	RET(accept(s, NULL, NULL));
	RET(connect(nb, (void *)&a, sizeof a));
	RET(connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&a, sizeof a));
	RET(connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&a, sizeof a));
	RET(connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&a, sizeof a));
	RET(connect(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&a, sizeof a));
	close(s);
	RET(read(nb, b, 1));
	RET(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a));
	struct sockaddr_un none = addr("none");
	close(file_with("file", ""));
	struct sockaddr_un f = addr("file");
	RET(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&none, sizeof none));
	RET(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&f, sizeof f));
	RET(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, 1));
	RET(bind(socket(AF_UNIX, SOCK_STREAM, 0), BAD, sizeof a));
	RET(socket(AF_UNIX, 99, 0));
	RET(socket(AF_UNIX, SOCK_STREAM, 5));
	RET(socket(999, SOCK_STREAM, 0));
	RET(listen(file_with("f", ""), 1));
	RET(open("sock", O_RDWR));
	return 0;
}
