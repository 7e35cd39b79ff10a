// POSIX message queues: priorities, attributes, limits, blocking, time-outs, polling and errors.
#include "check.h"
#include <mqueue.h>
int main(void) {
	struct mq_attr a = {.mq_maxmsg = 4, .mq_msgsize = 32}, g;
	const char *n = "/gosv_test_mq";
	mq_unlink(n);
	OK(mq_open(n, O_RDWR));
	mqd_t q = mq_open(n, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &a);
	OK(q);
	OK(mq_open(n, O_RDWR | O_CREAT | O_EXCL, 0600, &a));
	RET(mq_getattr(q, &g));
	printf("%ld %ld %ld %ld\n", g.mq_flags & O_NONBLOCK, g.mq_maxmsg, g.mq_msgsize, g.mq_curmsgs);
	char b[64];
	unsigned prio;
	RET(mq_receive(q, b, 64, &prio));
	RET(mq_send(q, "low", 4, 1));
	RET(mq_send(q, "high", 5, 9));
	RET(mq_send(q, "low too", 8, 1));
	RET(mq_send(q, "", 0, 0));
	RET(mq_send(q, "full", 5, 0));
	struct pollfd p = {q, POLLIN | POLLOUT};
	RET(poll(&p, 1, 0));
	printf("%x\n", p.revents);
	for (int i = 0; i < 4; i++) {
		ssize_t r = mq_receive(q, b, 64, &prio);
		printf("len %zd prio %u %s\n", r, prio, r ? b : "");
	}
	RET(mq_receive(q, b, 10, &prio));
	RET(mq_send(q, "x", 33, 0));
	RET(mq_send(q, "x", 1, 40000));
	g.mq_flags = 0;
	RET(mq_setattr(q, &g, NULL));
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	RET(mq_timedreceive(q, b, 64, &prio, &t));
	t.tv_nsec = -1;
	RET(mq_timedreceive(q, b, 64, &prio, &t));
	pid_t c = CHILD({ ms(30); mqd_t k = mq_open(n, O_WRONLY); RET(mq_receive(k, b, 64, NULL)); mq_send(k, "child", 6, 0); });
	RET(mq_receive(q, b, 64, NULL));
	printf("%s\n", b);
	reap("child", c);
	RET(mq_unlink(n));
	RET(mq_unlink(n));
	RET(mq_send(q, "still there", 12, 0));
	RET(mq_close(q));
	RET(mq_close(q));
	RET(mq_open("noslash", O_RDWR));
	RET(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
	a.mq_maxmsg = 0;
	RET(mq_open("/zero", O_RDWR | O_CREAT, 0600, &a));
	return 0;
}
