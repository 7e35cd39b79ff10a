// SCM_RIGHTS: descriptors travel in messages, several at once, with truncation, close-on-exec, and in flight.
#include "check.h"
static int s[2];
static long send_fds(int *fds, int n, const char *text) {
	char c[CMSG_SPACE(300 * sizeof(int))] = {0};
	struct iovec v = {(void *)text, strlen(text)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	return sendmsg(s[0], &m, 0);
}
static int recv_fds(int *fds, size_t room, int flags) {
	char c[1024], b[32] = "";
	struct iovec v = {b, 32};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = room};
	long n = recvmsg(s[1], &m, flags);
	int k = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		if (h->cmsg_type == SCM_RIGHTS) {
			k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(h), k * sizeof(int));
		}
	printf("received %ld bytes \"%s\", %d descriptors, truncated %d\n", n, b, k, (m.msg_flags & MSG_CTRUNC) != 0);
	return k;
}
int main(void) {
	int in[300], out[300], p[2];
	char b[16] = "";
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	in[0] = file_with("f", "abcdef");
	read(in[0], b, 2);
	RET(send_fds(in, 1, "one"));
	recv_fds(out, 1024, MSG_CMSG_CLOEXEC);
	RET(fcntl(out[0], F_GETFD));
	IS(out[0] != in[0]);
	RET(read(out[0], b, 2));
	RET(lseek(in[0], 0, SEEK_CUR));
	close(out[0]);
	MUST(pipe(p));
	in[0] = p[0];
	in[1] = p[1];
	RET(send_fds(in, 2, "two"));
	close(p[0]);
	close(p[1]);
	recv_fds(out, 1024, 0);
	RET(write(out[1], "through", 7));
	RET(read(out[0], b, 16));
	in[0] = in[1] = in[2] = out[0];
	RET(send_fds(in, 3, "three"));
	recv_fds(out, CMSG_LEN(sizeof(int)), 0);
	RET(send_fds(in, 2, "none wanted"));
	recv_fds(out, 0, 0);
	in[1] = 999;
	RET(send_fds(in, 2, "bad"));
	for (int i = 0; i < 300; i++)
		in[i] = 0;
	RET(send_fds(in, 253, "many"));
	RET(send_fds(in, 254, "too many"));
	char r[8];
	RET(read(s[1], r, 8));
	// Messages with descriptors are not merged with others by one read.
	write(s[0], "A", 1);
	in[0] = 0;
	send_fds(in, 1, "B");
	write(s[0], "C", 1);
	recv_fds(out, 1024, 0);
	recv_fds(out, 1024, 0);
	// A socket sent to a child and used there.
	pid_t c = CHILD({ recv_fds(out, 1024, 0); write(out[0], "hi", 2); });
	MUST(pipe(p));
	in[0] = p[1];
	send_fds(in, 1, "take it");
	reap("child", c);
	RET(read(p[0], b, 16));
	// The end of a pipe in flight keeps it open; closing the sockets drops it.
	MUST(pipe(p));
	in[0] = p[1];
	send_fds(in, 1, "flying");
	close(p[1]);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	RET(read(p[0], b, 1));
	close(s[0]);
	close(s[1]);
	RET(read(p[0], b, 1));
	return 0;
}
