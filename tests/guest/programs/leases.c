// Leases: taking, the signal at a conflicting open, O_NONBLOCK opens, and who may take one.
#include "check.h"
static volatile int broken;
static void h(int s) { broken++; }
int main(void) {
	close(file_with("f", "x"));
	handle(SIGIO, h, SA_RESTART);
	int fd = open("f", O_RDONLY);
	RET(fcntl(fd, F_GETLEASE));
	RET(fcntl(fd, F_SETLEASE, F_RDLCK));
	RET(fcntl(fd, F_GETLEASE));
	int r = open("f", O_RDONLY);
	printf("another reader: broken %d\n", broken);
	close(r);
	RET(open("f", O_WRONLY | O_NONBLOCK));
	printf("a writer: broken %d\n", broken);
	RET(fcntl(fd, F_GETLEASE));
	gate g = gate_new();
	pid_t c = CHILD({ gate_open(g); OK(open("f", O_WRONLY)); });
	gate_wait(g);
	ms(40);
	MUST(fcntl(fd, F_SETLEASE, F_UNLCK));
	reap("writer waited", c);
	RET(fcntl(fd, F_SETLEASE, F_WRLCK));
	RET(fcntl(fd, F_GETLEASE));
	RET(fcntl(fd, F_SETLEASE, F_UNLCK));
	int w = open("f", O_WRONLY);
	RET(fcntl(fd, F_SETLEASE, F_RDLCK));
	RET(fcntl(fd, F_SETLEASE, F_WRLCK));
	close(w);
	RET(fcntl(fd, F_SETLEASE, 9));
	RET(fcntl(open(".", O_RDONLY), F_SETLEASE, F_RDLCK) == 0 || errno == EINVAL);
	return 0;
}
