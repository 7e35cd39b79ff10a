// personality STICKY_TIMEOUTS: select, pselect and ppoll leave the timeout as it was.
#include "check.h"
#include <sys/personality.h>
#include <sys/select.h>
static void on(int s) {}
static void run(void) {
	struct pollfd none = {-1, 0, 0};
	struct timeval tv = {0, 2000};
	RET(select(0, NULL, NULL, NULL, &tv));
	printf("select: %ld\n", (long)tv.tv_usec);
	struct timespec ts = {0, 2000000};
	RET(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, NULL));
	printf("pselect6: %ld\n", ts.tv_nsec);
	ts.tv_nsec = 2000000;
	RET(syscall(SYS_ppoll, &none, 1, &ts, NULL, 8));
	printf("ppoll: %ld\n", ts.tv_nsec);
	// Without a restart: the whole time would begin again.
	handle(SIGALRM, on, SA_RESTART);
	struct itimerval it = {{0, 0}, {0, 20000}};
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	tv.tv_sec = 60, tv.tv_usec = 0;
	RET(select(0, NULL, NULL, NULL, &tv));
	IS(tv.tv_sec == 60);
}
int main(void) {
	run();
	MUST(personality(PER_LINUX | STICKY_TIMEOUTS));
	run();
	return 0;
}
