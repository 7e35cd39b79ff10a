// poll and select: each kind of file, bad descriptors, time-outs, limits.
#include "check.h"
#include <sys/select.h>
int main(void) {
	int p[2], f = file_with("f", "x"), s[2];
	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	struct pollfd v[6] = {{p[0], POLLIN}, {p[1], POLLOUT}, {f, POLLIN | POLLOUT}, {99, POLLIN}, {-1, POLLIN}, {s[0], POLLIN | POLLOUT | POLLRDHUP}};
	RET(poll(v, 6, 0));
	for (int i = 0; i < 6; i++)
		printf("%d: %x\n", i, v[i].revents);
	close(p[1]);
	shutdown(s[1], SHUT_WR);
	RET(poll(v, 1, 0));
	printf("%x\n", v[0].revents);
	RET(poll(&v[5], 1, 0));
	printf("%x\n", v[5].revents);
	close(s[1]);
	RET(poll(&v[5], 1, 0));
	printf("%x\n", v[5].revents);
	MUST(pipe(p));
	close(p[0]);
	struct pollfd w = {p[1], POLLOUT};
	RET(poll(&w, 1, 0));
	printf("%x\n", w.revents);
	long t = now_ms();
	RET(poll(NULL, 0, 30));
	IS(now_ms() - t >= 30);
	RET(poll(BAD, 1, 0));
	MUST(pipe(p));
	fd_set r, x;
	FD_ZERO(&r);
	FD_ZERO(&x);
	FD_SET(p[0], &r);
	FD_SET(p[1], &x);
	struct timeval tv = {0, 0};
	RET(select(p[1] + 1, &r, &x, NULL, &tv));
	printf("%d %d\n", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[1], &x) != 0);
	write(p[1], "x", 1);
	FD_SET(p[0], &r);
	tv = (struct timeval){1000, 0};
	RET(select(p[1] + 1, &r, NULL, NULL, &tv));
	IS(tv.tv_sec > 900);
	// select() ignores what is beyond the descriptor table, of which the size depends on what the
	// parent had open: it is made large enough first.
	dup2(p[0], 200);
	close(200);
	FD_ZERO(&r);
	FD_SET(98, &r);
	RET(select(100, &r, NULL, NULL, &tv));
	RET(select(-1, NULL, NULL, NULL, &tv));
	tv.tv_usec = -1;
	RET(select(0, NULL, NULL, NULL, &tv));
	tv = (struct timeval){0, 20000};
	RET(select(0, NULL, NULL, NULL, &tv));
	printf("left %ld %ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
	RET(select(1, BAD, NULL, NULL, NULL));
	struct rlimit rl = {10, 10};
	setrlimit(RLIMIT_NOFILE, &rl);
	RET(syscall(SYS_poll, v, 11, 0));
	return 0;
}
