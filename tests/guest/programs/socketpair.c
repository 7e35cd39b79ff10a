// socketpair: both directions, shutdown, half-close, flags, MSG_* flags, buffers and socket options.
#include "check.h"
int main(void) {
	int s[2], v;
	socklen_t n = sizeof v;
	char b[64] = "";
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	RET(fcntl(s[0], F_GETFD));
	RET(write(s[0], "hello", 5));
	RET(recv(s[1], b, 2, MSG_PEEK));
	RET(recv(s[1], b, 64, MSG_DONTWAIT));
	RET(recv(s[1], b, 64, MSG_DONTWAIT));
	RET(send(s[1], "back", 4, 0));
	RET(ioctl(s[0], FIONREAD, &v));
	printf("%d\n", v);
	RET(shutdown(s[0], SHUT_RD));
	RET(read(s[0], b, 64));
	RET(read(s[0], b, 64));
	RET(send(s[1], "x", 1, MSG_NOSIGNAL));
	RET(shutdown(s[0], SHUT_WR));
	RET(read(s[1], b, 1));
	RET(shutdown(s[0], 9));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pid_t c = CHILD({ ms(20); write(s[0], "abc", 3); ms(20); write(s[0], "def", 3); });
	RET(recv(s[1], b, 6, MSG_WAITALL));
	printf("%.6s\n", b);
	reap("writer", c);
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	char *big = calloc(1, 4 << 20);
	long sent = write(s[0], big, 4 << 20);
	printf("partly written %d\n", sent > 1000 && sent < (4 << 20));
	RET(write(s[0], big, 1));
	long got = 0, k;
	while (got < sent && (k = read(s[1], big, 65536)) > 0)
		got += k;
	IS(got == sent);
	RET(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &n));
	printf("%d\n", v);
	RET(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &v, &n));
	printf("%d\n", v);
	RET(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &v, &n));
	RET(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &v, &n));
	RET(getsockopt(s[0], SOL_SOCKET, 9999, &v, &n));
	RET(getsockopt(0, SOL_SOCKET, SO_TYPE, &v, &n));
	RET(socketpair(AF_UNIX, 99, 0, s));
	RET(socketpair(AF_UNIX, SOCK_STREAM, 99, s));
	RET(socketpair(9999, SOCK_STREAM, 0, s));
	RET(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD));
	// Data written before the close is still read.
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	write(s[0], "last words", 10);
	close(s[0]);
	RET(read(s[1], b, 64));
	RET(read(s[1], b, 64));
	// Closing with unread data resets the other side.
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	write(s[0], "unread", 6);
	close(s[1]);
	RET(read(s[0], b, 1));
	RET(read(s[0], b, 1));
	struct mmsghdr mm[3] = {{{0}}};
	struct iovec iv[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	for (int i = 0; i < 3; i++)
		mm[i].msg_hdr = (struct msghdr){.msg_iov = &iv[i], .msg_iovlen = 1};
	RET(sendmmsg(s[0], mm, 3, 0));
	char r[3][8];
	for (int i = 0; i < 3; i++)
		iv[i] = (struct iovec){r[i], 8};
	RET(recvmmsg(s[1], mm, 3, MSG_DONTWAIT, NULL));
	printf("%d %d %d\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
	return 0;
}
