// dup, dup2, dup3, F_DUPFD: numbers, shared offsets and flags, close-on-exec.
#include "check.h"
int main(void) {
	int fd = file_with("f", "abcdef");
	char b[4];
	int d = dup(fd);
	IS(d > fd);
	read(fd, b, 2);
	RET(lseek(d, 0, SEEK_CUR));
	RET(fcntl(fd, F_SETFL, O_APPEND));
	IS(fcntl(d, F_GETFL) & O_APPEND);
	RET(fcntl(fd, F_SETFD, FD_CLOEXEC));
	RET(fcntl(d, F_GETFD));
	RET(dup2(fd, 100));
	RET(fcntl(100, F_GETFD));
	RET(dup2(fd, fd) == fd);
	RET(dup2(99, 99));
	RET(dup2(fd, -1));
	RET(dup3(fd, fd, 0));
	RET(dup3(fd, 101, O_CLOEXEC));
	RET(fcntl(101, F_GETFD));
	RET(dup3(fd, 102, 0x10));
	RET(fcntl(fd, F_DUPFD, 200));
	RET(fcntl(fd, F_DUPFD_CLOEXEC, 200));
	RET(fcntl(201, F_GETFD));
	RET(fcntl(fd, F_DUPFD, -1));
	close(150);
	int p[2];
	pipe(p);
	RET(dup2(p[1], 150));
	close(p[1]);
	RET(dup2(fd, 150)); // closes the write end
	RET(read(p[0], b, 1));
	RET(close(99));
	RET(close(-1));
	RET(fcntl(fd, 9999));
	RET(fcntl(99, F_GETFD));
	RET(fcntl(fd, F_SETFD, 2));
	RET(fcntl(fd, F_GETFD));
	RET(fcntl(fd, F_SETFL, O_WRONLY | O_NONBLOCK));
	RET(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND));
	RET(fcntl(fd, F_GETOWN));
	RET(fcntl(fd, F_SETOWN, getpid()));
	RET(fcntl(fd, F_GETOWN) == getpid());
	RET(fcntl(fd, F_SETSIG, SIGRTMIN));
	RET(fcntl(fd, F_GETSIG));
	int on = 1;
	RET(ioctl(p[0], FIONBIO, &on));
	RET(read(p[0], b, 1));
	RET(ioctl(fd, FIOCLEX, 0));
	RET(fcntl(fd, F_GETFD));
	RET(ioctl(fd, 0x12345678, 0));
	RET(ioctl(99, FIONBIO, &on));
	return 0;
}
