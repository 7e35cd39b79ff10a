// epoll, edge-triggered and one-shot: one event a change, re-arming with MOD, EPOLLRDHUP, EPOLLEXCLUSIVE rules.
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
int main(void) {
	int s[2], e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.u32 = 1}, out[4];
	char b[64];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	epoll_ctl(e, EPOLL_CTL_ADD, s[0], &ev);
	RET(epoll_wait(e, out, 4, 0));
	write(s[1], "abc", 3);
	RET(epoll_wait(e, out, 4, 0));
	RET(epoll_wait(e, out, 4, 0));
	read(s[0], b, 1);
	RET(epoll_wait(e, out, 4, 0));
	write(s[1], "d", 1);
	RET(epoll_wait(e, out, 4, 0));
	RET(epoll_ctl(e, EPOLL_CTL_MOD, s[0], &ev));
	RET(epoll_wait(e, out, 4, 0));
	RET(epoll_wait(e, out, 4, 0));
	shutdown(s[1], SHUT_WR);
	RET(epoll_wait(e, out, 4, 0));
	printf("%x\n", out[0].events);
	RET(epoll_wait(e, out, 4, 0));
	int v = eventfd(0, 0);
	ev.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(e, EPOLL_CTL_ADD, v, &ev);
	write(v, "\1\0\0\0\0\0\0\0", 8);
	RET(epoll_wait(e, out, 4, 0));
	RET(epoll_wait(e, out, 4, 0));
	epoll_ctl(e, EPOLL_CTL_MOD, v, &ev);
	RET(epoll_wait(e, out, 4, 0));
	epoll_ctl(e, EPOLL_CTL_DEL, v, NULL);
	ev.events = EPOLLIN | EPOLLEXCLUSIVE;
	RET(epoll_ctl(e, EPOLL_CTL_MOD, s[0], &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, v, &ev));
	ev.events = EPOLLIN;
	RET(epoll_ctl(e, EPOLL_CTL_MOD, v, &ev));
	// Edge-triggered eventfd: every write is an edge.
	int w = eventfd(0, 0), f = epoll_create1(0);
	ev.events = EPOLLIN | EPOLLET;
	epoll_ctl(f, EPOLL_CTL_ADD, w, &ev);
	for (int i = 0; i < 3; i++) {
		write(w, "\1\0\0\0\0\0\0\0", 8);
		RET(epoll_wait(f, out, 4, 0));
	}
	RET(epoll_wait(f, out, 4, 0));
	return 0;
}
