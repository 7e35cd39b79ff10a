// mq_notify: a signal for a message into an empty queue, once, to one process; none when someone receives.
#include "check.h"
#include <mqueue.h>
static volatile int n;
static siginfo_t last;
static void h(int s, siginfo_t *i, void *u) {
	n++;
	last = *i;
}
int main(void) {
	struct mq_attr a = {.mq_maxmsg = 4, .mq_msgsize = 32};
	mq_unlink("/gosv_test_mqn");
	mqd_t q = MUST(mq_open("/gosv_test_mqn", O_RDWR | O_CREAT, 0600, &a));
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 12};
	handle_info(SIGUSR1, h, SA_RESTART);
	RET(mq_notify(q, &e));
	RET(mq_notify(q, &e));
	mq_send(q, "a", 1, 0);
	printf("signals %d code %d value %d pid %d\n", n, last.si_code, last.si_value.sival_int, last.si_pid == getpid());
	mq_send(q, "b", 1, 0);
	printf("signals %d\n", n);
	RET(mq_notify(q, &e));
	mq_send(q, "c", 1, 0);
	printf("not empty: %d\n", n);
	reap("other process", CHILD(RET(mq_notify(q, &e))));
	RET(mq_notify(q, NULL));
	reap("other process", CHILD(RET(mq_notify(q, &e))));
	RET(mq_notify(q, &e));
	RET(mq_notify(q, NULL));
	e.sigev_signo = 65;
	RET(mq_notify(q, &e));
	e.sigev_notify = 99;
	RET(mq_notify(q, &e));
	RET(syscall(SYS_mq_notify, 99, NULL));
	mq_unlink("/gosv_test_mqn");
	return 0;
}
