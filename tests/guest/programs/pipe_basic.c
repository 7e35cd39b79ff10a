// Pipes: order, partial reads, end of file, full and empty with O_NONBLOCK, FIONREAD, sizes.
#include "check.h"
int main(void) {
	int p[2], n = 0;
	char b[8] = "", big[70000] = "";
	RET(pipe(p));
	RET(write(p[1], "abcdef", 6));
	RET(read(p[0], b, 4));
	printf("%s\n", b);
	RET(ioctl(p[0], FIONREAD, &n));
	printf("%d left\n", n);
	RET(read(p[0], b, 8));
	RET(fcntl(p[0], F_GETPIPE_SZ));
	RET(fcntl(p[0], F_SETFL, O_NONBLOCK));
	RET(read(p[0], b, 1));
	RET(fcntl(p[1], F_SETFL, O_NONBLOCK));
	RET(write(p[1], big, sizeof big));
	RET(write(p[1], b, 1));
	RET(write(p[1], big, 5000));
	RET(read(p[0], big, 4096));
	RET(write(p[1], big, 4096));
	RET(fcntl(p[0], F_SETPIPE_SZ, 4096));
	while (read(p[0], big, sizeof big) > 0)
		;
	RET(fcntl(p[0], F_SETPIPE_SZ, 5000));
	RET(write(p[1], big, sizeof big));
	RET(fcntl(p[0], F_SETPIPE_SZ, 0));
	RET(fcntl(p[0], F_SETPIPE_SZ, -1));
	RET(close(p[1]));
	while (read(p[0], big, sizeof big) > 0)
		;
	RET(read(p[0], b, 1));
	RET(pipe2(p, O_CLOEXEC | O_NONBLOCK));
	RET(fcntl(p[0], F_GETFD));
	RET(pipe2(p, 0x1));
	RET(syscall(SYS_pipe2, BAD, 0));
	RET(pipe2(p, O_DIRECT));
	RET(write(p[1], "one", 3));
	RET(write(p[1], "second", 6));
	RET(read(p[0], big, 100));
	RET(read(p[0], b, 2));
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	RET(read(p[0], b, 8));
	return 0;
}
