// Unix datagram sockets: boundaries, addresses, connected filtering, truncation, and full queues.
#include "check.h"
static struct sockaddr_un addr(const char *p) {
	struct sockaddr_un a = {AF_UNIX};
	strcpy(a.sun_path, p);
	return a;
}
int main(void) {
	struct sockaddr_un a = addr("a"), b = addr("b"), from;
	socklen_t n = sizeof from;
	char buf[64] = "";
	int sa = socket(AF_UNIX, SOCK_DGRAM, 0), sb = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), sc = socket(AF_UNIX, SOCK_DGRAM, 0);
	RET(bind(sa, (void *)&a, sizeof a));
	RET(bind(sb, (void *)&b, sizeof b));
	RET(sendto(sa, "first", 5, 0, (void *)&b, sizeof b));
	RET(sendto(sa, "second one", 10, 0, (void *)&b, sizeof b));
	RET(sendto(sc, "", 0, 0, (void *)&b, sizeof b));
	RET(recvfrom(sb, buf, 64, 0, (void *)&from, &n));
	printf("%s from %s\n", buf, from.sun_path);
	RET(recv(sb, buf, 3, MSG_PEEK));
	RET(recv(sb, buf, 3, MSG_TRUNC));
	n = sizeof from;
	RET(recvfrom(sb, buf, 64, 0, (void *)&from, &n));
	printf("unnamed sender: length %d\n", n);
	RET(recv(sb, buf, 64, 0));
	RET(send(sc, "x", 1, 0));
	RET(connect(sc, (void *)&b, sizeof b));
	RET(send(sc, "connected", 9, 0));
	RET(connect(sb, (void *)&a, sizeof a));
	RET(sendto(sc, "refused", 7, 0, NULL, 0));
	RET(recv(sb, buf, 64, 0));
	RET(recv(sb, buf, 64, 0));
	RET(send(sb, "to a", 4, 0));
	struct sockaddr un = {AF_UNSPEC};
	RET(connect(sb, &un, sizeof un));
	RET(getpeername(sb, (void *)&from, &n));
	fcntl(sa, F_SETFL, O_NONBLOCK);
	int k = 0;
	while (sendto(sa, "m", 1, 0, (void *)&b, sizeof b) == 1)
		k++;
	printf("queued %d then %s\n", k > 5, ename(errno));
	struct pollfd p = {sc, POLLOUT};
	RET(poll(&p, 1, 0));
	close(sb);
	RET(send(sc, "x", 1, 0));
	RET(sendto(sa, "x", 1, 0, (void *)&b, sizeof b));
	char *big = calloc(1, 1 << 20);
	RET(sendto(sa, big, 1 << 20, 0, (void *)&a, sizeof a));
	RET(listen(sa, 1));
	RET(recv(sa, buf, 64, 0));
	return 0;
}
