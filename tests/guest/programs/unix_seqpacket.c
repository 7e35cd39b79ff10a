// Sequenced packets: connections that keep boundaries; abstract names; autobind.
#include "check.h"
int main(void) {
	struct sockaddr_un a = {AF_UNIX}, got;
	char b[32] = "";
	int len = offsetof(struct sockaddr_un, sun_path) + 1 + 14, s = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	memcpy(a.sun_path, "\0gosv abstract", 14);
	RET(bind(s, (void *)&a, len));
	RET(listen(s, 4));
	RET(bind(socket(AF_UNIX, SOCK_SEQPACKET, 0), (void *)&a, len));
	int c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	RET(connect(c, (void *)&a, len - 1));
	RET(connect(c, (void *)&a, len));
	socklen_t n = sizeof got;
	int k = MUST(accept(s, (void *)&got, &n));
	RET(send(c, "one", 3, 0));
	RET(send(c, "twotwo", 6, MSG_EOR));
	RET(recv(k, b, 32, 0));
	struct iovec v = {b, 4};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	RET(recvmsg(k, &m, 0));
	printf("flags %x\n", m.msg_flags & (MSG_TRUNC | MSG_EOR));
	n = sizeof got;
	RET(getpeername(c, (void *)&got, &n));
	printf("%d %s\n", n, got.sun_path + 1);
	close(k);
	RET(recv(c, b, 32, 0));
	RET(send(c, "x", 1, MSG_NOSIGNAL));
	int d = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un fam = {AF_UNIX};
	RET(bind(d, (void *)&fam, sizeof(sa_family_t)));
	n = sizeof got;
	RET(getsockname(d, (void *)&got, &n));
	printf("autobind: abstract %d, length %d\n", got.sun_path[0] == 0, n);
	RET(bind(d, (void *)&a, len));
	close(s);
	RET(connect(socket(AF_UNIX, SOCK_SEQPACKET, 0), (void *)&a, len));
	return 0;
}
