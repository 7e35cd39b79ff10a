// Open file description locks: between descriptors of one process, kept over fork, and against POSIX locks.
#include "check.h"
static long lk(int fd, int cmd, int type, off_t start, off_t len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}
int main(void) {
	int a = file_with("f", ""), b = open("f", O_RDWR);
	RET(lk(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	RET(lk(b, F_OFD_SETLK, F_WRLCK, 5, 10));
	RET(lk(b, F_OFD_SETLK, F_WRLCK, 10, 10));
	RET(lk(b, F_SETLK, F_WRLCK, 0, 1));
	struct flock l = {.l_type = F_WRLCK, .l_len = 5};
	RET(fcntl(b, F_OFD_GETLK, &l));
	printf("type %d start %ld len %ld pid %d\n", l.l_type == F_WRLCK, (long)l.l_start, (long)l.l_len, l.l_pid);
	l = (struct flock){.l_type = F_WRLCK, .l_len = 5};
	RET(fcntl(b, F_GETLK, &l));
	printf("pid %d\n", l.l_pid);
	reap("child shares the description", CHILD({ RET(lk(a, F_OFD_SETLK, F_RDLCK, 0, 10)); }));
	RET(lk(b, F_OFD_SETLK, F_RDLCK, 0, 5));
	close(open("f", O_RDONLY));
	RET(lk(b, F_OFD_SETLK, F_WRLCK, 0, 5));
	close(a);
	RET(lk(b, F_OFD_SETLK, F_WRLCK, 0, 5));
	l = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
	RET(fcntl(b, F_OFD_SETLK, &l));
	gate g = gate_new(); // the waiter must not keep the lock alive itself: it closes its copy of b
	pid_t c = CHILD({ close(b); int d = open("f", O_RDWR); gate_open(g); RET(lk(d, F_OFD_SETLKW, F_WRLCK, 0, 20)); });
	gate_wait(g);
	ms(40);
	close(b);
	reap("waiter", c);
	return 0;
}
