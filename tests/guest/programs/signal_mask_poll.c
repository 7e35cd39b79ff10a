// ppoll, pselect and epoll_pwait swap the mask atomically and put it back.
#include "check.h"
#include <sys/epoll.h>
#include <sys/select.h>
static volatile int n;
static void h(int s) { n++; }
int main(void) {
	sigset_t m, none, o;
	sigemptyset(&none);
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	handle(SIGUSR1, h, SA_RESTART);
	sigprocmask(SIG_BLOCK, &m, NULL);
	struct timespec t = {1, 0}, zero = {0, 0};
	raise(SIGUSR1);
	RET(ppoll(NULL, 0, &t, &none));
	printf("%d\n", n);
	raise(SIGUSR1);
	RET(pselect(0, NULL, NULL, NULL, &t, &none));
	printf("%d\n", n);
	int e = epoll_create1(0);
	struct epoll_event ev;
	raise(SIGUSR1);
	RET(epoll_pwait(e, &ev, 1, 1000, &none));
	printf("%d\n", n);
	RET(ppoll(NULL, 0, &zero, &m));
	sigprocmask(SIG_BLOCK, NULL, &o);
	IS(sigismember(&o, SIGUSR1));
	// With something ready the call succeeds and the signal is not taken.
	int p[2];
	MUST(pipe(p));
	write(p[1], "x", 1);
	struct pollfd f = {p[0], POLLIN};
	raise(SIGUSR1);
	RET(ppoll(&f, 1, &t, &m));
	printf("%d\n", n);
	struct timespec bad = {0, 1000000000};
	RET(ppoll(&f, 1, &bad, NULL));
	RET(syscall(SYS_ppoll, &f, 1, &t, &none, 3));
	RET(syscall(SYS_ppoll, BAD, 1, &zero, NULL, 8));
	RET(syscall(SYS_epoll_pwait, e, &ev, 1, 0, BAD, 8));
	RET(syscall(SYS_epoll_pwait2, e, &ev, 1, &zero, NULL, 8));
	return 0;
}
