// pidfds: opening, signalling, polling for the end, waiting, and the errors.
#include "check.h"
int main(void) {
	gate g = gate_new();
	pid_t c = CHILD({ gate_wait(g); _exit(21); });
	int fd = syscall(SYS_pidfd_open, c, 0);
	IS(fd >= 0);
	RET(fcntl(fd, F_GETFD));
	struct pollfd p = {fd, POLLIN};
	RET(poll(&p, 1, 0));
	RET(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	RET(syscall(SYS_pidfd_send_signal, fd, SIGSTOP, NULL, 0));
	siginfo_t i;
	RET(waitid(P_PIDFD, fd, &i, WSTOPPED));
	RET(syscall(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0));
	gate_open(g);
	RET(poll(&p, 1, 2000));
	printf("revents %x\n", p.revents);
	RET(waitid(P_PIDFD, fd, &i, WEXITED));
	printf("status %d\n", i.si_status);
	RET(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	RET(syscall(SYS_pidfd_open, c, 0));
	RET(syscall(SYS_pidfd_open, 0, 0));
	RET(syscall(SYS_pidfd_open, -1, 0));
	RET(syscall(SYS_pidfd_open, getpid(), 1));
	RET(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0));
	RET(syscall(SYS_pidfd_send_signal, fd, 65, NULL, 0));
	OK(syscall(SYS_pidfd_open, getpid(), O_NONBLOCK));
	char b[4];
	RET(read(fd, b, 4));
	RET(write(fd, b, 4));
	c = CHILD({ for (;;) pause(); });
	fd = syscall(SYS_pidfd_open, c, O_NONBLOCK);
	RET(waitid(P_PIDFD, fd, &i, WEXITED));
	kill(c, SIGKILL);
	reap("killed", c);
	return 0;
}
