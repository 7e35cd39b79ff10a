// SO_PASSCRED, SCM_CREDENTIALS, SO_PEERCRED: whose ids arrive and which may be claimed.
#include "check.h"
static int s[2];
static void show(pid_t want) {
	char c[256], b[8];
	struct iovec v = {b, 8};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
	if (recvmsg(s[1], &m, 0) < 0) {
		printf("%s\n", ename(errno));
		return;
	}
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (!h) {
		printf("no control message\n");
		return;
	}
	struct ucred *u = (void *)CMSG_DATA(h);
	printf("type %d len %d pid %d uid %d gid %d\n", h->cmsg_type, (int)h->cmsg_len, u->pid == want, u->uid, u->gid);
}
static long claim(pid_t pid, uid_t uid, gid_t gid) {
	char c[CMSG_SPACE(sizeof(struct ucred))] = {0};
	struct iovec v = {"c", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_CREDENTIALS;
	h->cmsg_len = CMSG_LEN(sizeof(struct ucred));
	struct ucred u = {pid, uid, gid};
	memcpy(CMSG_DATA(h), &u, sizeof u);
	return sendmsg(s[0], &m, 0);
}
int main(void) {
	int on = 1;
	become_nobody();
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	write(s[0], "x", 1);
	show(getpid());
	RET(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	write(s[0], "x", 1);
	show(getpid());
	pid_t c = CHILD(write(s[0], "x", 1));
	show(c);
	reap("child", c);
	RET(claim(getpid(), getuid(), getgid()));
	show(getpid());
	RET(claim(c, getuid(), getgid()));
	RET(claim(getpid(), 0, getgid()));
	RET(claim(getpid(), getuid(), 0));
	struct ucred u;
	socklen_t n = sizeof u;
	int st[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, st));
	RET(getsockopt(st[0], SOL_SOCKET, SO_PEERCRED, &u, &n));
	printf("peer %d %d\n", u.pid == getpid(), u.uid == getuid());
	return 0;
}
