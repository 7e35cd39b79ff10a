// epoll in epoll, in poll, across fork and threads; loops are refused.
#include "check.h"
#include <sys/epoll.h>
static int e, p[2];
static void *waiter(void *a) {
	struct epoll_event out;
	return (void *)(long)epoll_wait(e, &out, 1, 1500);
}
int main(void) {
	int outer = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN}, out[2];
	e = epoll_create1(0);
	MUST(pipe(p));
	RET(epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, outer, &ev));
	RET(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	struct pollfd pf = {e, POLLIN};
	RET(poll(&pf, 1, 0));
	write(p[1], "x", 1);
	RET(epoll_wait(outer, out, 2, 0));
	RET(poll(&pf, 1, 0));
	char b;
	read(p[0], &b, 1);
	RET(epoll_wait(outer, out, 2, 0));
	// Chains of more than five are refused.
	int chain[7];
	for (int i = 0; i < 7; i++)
		chain[i] = epoll_create1(0);
	for (int i = 0; i < 6; i++)
		RET(epoll_ctl(chain[i + 1], EPOLL_CTL_ADD, chain[i], &ev));
	// Another thread's epoll_ctl and write wake a waiter.
	pthread_t t;
	void *r;
	pthread_create(&t, NULL, waiter, NULL);
	ms(40);
	write(p[1], "y", 1);
	pthread_join(t, &r);
	printf("waiter got %ld\n", (long)r);
	read(p[0], &b, 1);
	int q[2];
	MUST(pipe(q));
	pthread_create(&t, NULL, waiter, NULL);
	ms(40);
	write(q[1], "z", 1);
	epoll_ctl(e, EPOLL_CTL_ADD, q[0], &ev);
	pthread_join(t, &r);
	printf("waiter got %ld\n", (long)r);
	reap("inherited", CHILD(RET(epoll_wait(e, out, 2, 0))));
	return 0;
}
