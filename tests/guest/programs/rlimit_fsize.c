// RLIMIT_FSIZE: writes are cut at the limit, past it SIGXFSZ or EFBIG.
#include "check.h"
static volatile int got;
static void h(int s) { got = s; }
int main(void) {
	struct rlimit r = {1000, RLIM_INFINITY};
	int fd = file_with("f", "");
	char b[2000];
	memset(b, 'x', sizeof b);
	MUST(setrlimit(RLIMIT_FSIZE, &r));
	reap("default action", CHILD({ struct rlimit c = {0, 0}; setrlimit(RLIMIT_CORE, &c); RET(write(fd, b, 2000)); RET(write(fd, b, 1)); }));
	handle(SIGXFSZ, h, 0);
	RET(pwrite(fd, b, 2000, 0));
	printf("signal %d\n", got);
	RET(pwrite(fd, b, 1, 1000));
	printf("signal %s\n", sname(got));
	signal(SIGXFSZ, SIG_IGN);
	RET(pwrite(fd, b, 10, 995));
	RET(ftruncate(fd, 1001));
	RET(ftruncate(fd, 1000));
	RET(fallocate(fd, 0, 0, 2000));
	RET(pwrite(fd, b, 0, 5000));
	int p[2];
	MUST(pipe(p));
	RET(write(p[1], b, 2000));
	return 0;
}
