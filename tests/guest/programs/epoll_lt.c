// epoll, level-triggered: adding, waiting, modifying, removing, closing, HUP, ready order and errors.
#include "check.h"
#include <sys/epoll.h>
int main(void) {
	int p[2], q[2], e = MUST(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 1}, out[8];
	MUST(pipe(p));
	MUST(pipe(q));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	RET(epoll_wait(e, out, 8, 0));
	write(p[1], "x", 1);
	RET(epoll_wait(e, out, 8, 1000));
	RET(epoll_wait(e, out, 8, 0));
	printf("data %lu events %x\n", out[0].data.u64, out[0].events);
	ev.data.u64 = 2;
	ev.events = EPOLLOUT;
	RET(epoll_ctl(e, EPOLL_CTL_ADD, q[1], &ev));
	RET(epoll_wait(e, out, 8, 0));
	RET(epoll_wait(e, out, 1, 0));
	ev.events = 0;
	RET(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
	RET(epoll_wait(e, out, 8, 0));
	close(q[0]);
	RET(epoll_wait(e, out, 8, 0));
	printf("events %x\n", out[0].events);
	RET(epoll_ctl(e, EPOLL_CTL_DEL, q[1], NULL));
	RET(epoll_ctl(e, EPOLL_CTL_DEL, q[1], NULL));
	RET(epoll_ctl(e, EPOLL_CTL_MOD, q[1], &ev));
	close(p[1]);
	RET(epoll_wait(e, out, 8, 0));
	printf("hup without asking %x\n", out[0].events);
	close(p[0]);
	RET(epoll_wait(e, out, 8, 0));
	// A duplicate keeps the registration alive.
	MUST(pipe(p));
	ev.events = EPOLLIN;
	epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
	int d = dup(p[0]);
	close(p[0]);
	write(p[1], "x", 1);
	RET(epoll_wait(e, out, 8, 0));
	close(d);
	RET(epoll_wait(e, out, 8, 0));
	int f = file_with("f", "x");
	RET(epoll_ctl(e, EPOLL_CTL_ADD, f, &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, e, &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, 99, &ev));
	RET(epoll_ctl(99, EPOLL_CTL_ADD, p[1], &ev));
	RET(epoll_ctl(p[1], EPOLL_CTL_ADD, e, &ev));
	RET(epoll_ctl(e, 99, p[1], &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, p[1], BAD));
	RET(epoll_wait(e, out, 0, 0));
	RET(epoll_wait(e, out, -1, 0));
	RET(epoll_wait(f, out, 1, 0));
	RET(epoll_create1(1));
	RET(epoll_create(0));
	long t = now_ms();
	RET(epoll_wait(e, out, 8, 50));
	IS(now_ms() - t >= 49);
	return 0;
}
