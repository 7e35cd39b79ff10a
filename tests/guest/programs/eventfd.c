// eventfd: counting, semaphore mode, limits, polling, blocking and errors.
#include "check.h"
#include <sys/eventfd.h>
int main(void) {
	uint64_t v;
	int fd = MUST(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
	RET(fcntl(fd, F_GETFD));
	RET(read(fd, &v, 8));
	printf("%lu\n", v);
	RET(read(fd, &v, 8));
	struct pollfd p = {fd, POLLIN | POLLOUT};
	RET(poll(&p, 1, 0));
	printf("%x\n", p.revents);
	v = 5;
	RET(write(fd, &v, 8));
	RET(write(fd, &v, 8));
	RET(poll(&p, 1, 0));
	printf("%x\n", p.revents);
	v = 0xfffffffffffffffeUL - 10;
	RET(write(fd, &v, 8));
	RET(poll(&p, 1, 0));
	printf("full %x\n", p.revents);
	v = 1;
	RET(write(fd, &v, 8));
	v = -1;
	RET(write(fd, &v, 8));
	RET(write(fd, &v, 4));
	RET(read(fd, &v, 4));
	RET(read(fd, &v, 8));
	printf("%lx\n", v);
	int s = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
	RET(read(s, &v, 8));
	printf("%lu\n", v);
	RET(read(s, &v, 8));
	RET(read(s, &v, 8));
	RET(eventfd(0, 0x10));
	RET(lseek(fd, 0, SEEK_SET));
	RET(pread(fd, &v, 8, 0));
	int b = MUST(eventfd(0, 0));
	pid_t c = CHILD({ ms(30); v = 9; write(b, &v, 8); });
	RET(read(b, &v, 8));
	printf("%lu\n", v);
	reap("child", c);
	return 0;
}
