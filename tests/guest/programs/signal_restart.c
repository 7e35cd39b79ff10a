// SA_RESTART: which calls restart after a handler and which return EINTR all the same.
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
static int wake = -1;
static volatile int count;
static void h(int s) {
	count++;
	if (count == 2 && wake >= 0)
		write(wake, "12345678", 8);
}
// Two signals: the first interrupts, at the second the handler makes the call succeed.
static void start(int w) {
	count = 0;
	wake = w;
	struct itimerval it = {{0, 30000}, {0, 30000}};
	setitimer(ITIMER_REAL, &it, NULL);
}
static void stop(void) {
	struct itimerval it = {{0}};
	setitimer(ITIMER_REAL, &it, NULL);
}
int main(void) {
	for (int restart = 0; restart < 2; restart++) {
		handle(SIGALRM, h, restart ? SA_RESTART : 0);
		printf("SA_RESTART %d\n", restart);
		char b[16];
		int p[2], sv[2], st;
		MUST(pipe(p));
		start(p[1]);
		RET(read(p[0], b, 8));
		stop();
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
		start(sv[1]);
		RET(recv(sv[0], b, 8, 0));
		stop();
		int e = eventfd(0, 0);
		start(e);
		RET(read(e, b, 8));
		stop();
		pid_t c = CHILD(ms(100));
		start(-1);
		RET(waitpid(c, &st, 0) == c);
		stop();
		waitpid(c, &st, 0);
		struct pollfd pf = {p[0], POLLIN};
		MUST(pipe(p));
		pf.fd = p[0];
		start(p[1]);
		RET(poll(&pf, 1, 1000));
		stop();
		int ep = epoll_create1(0);
		struct epoll_event ev = {.events = EPOLLIN};
		MUST(pipe(p));
		epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev);
		start(p[1]);
		RET(epoll_wait(ep, &ev, 1, 1000));
		stop();
		MUST(pipe(p));
		fd_set rs;
		FD_ZERO(&rs);
		FD_SET(p[0], &rs);
		start(p[1]);
		RET(select(p[0] + 1, &rs, NULL, NULL, NULL));
		stop();
		struct timespec t = {0, 300000000};
		start(-1);
		RET(nanosleep(&t, NULL));
		stop();
		start(-1);
		RET(pause());
		stop();
	}
	return 0;
}
