// signalfd: reading, several at once, non-blocking, changing the mask, polling and errors.
#include "check.h"
#include <sys/signalfd.h>
int main(void) {
	sigset_t m;
	struct signalfd_siginfo s[4];
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigaddset(&m, SIGRTMIN);
	sigaddset(&m, SIGKILL);
	sigprocmask(SIG_BLOCK, &m, NULL);
	int fd = MUST(signalfd(-1, &m, SFD_NONBLOCK | SFD_CLOEXEC));
	RET(fcntl(fd, F_GETFD));
	RET(read(fd, s, sizeof s));
	struct pollfd p = {fd, POLLIN};
	RET(poll(&p, 1, 0));
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2});
	kill(getpid(), SIGUSR1);
	RET(poll(&p, 1, 0));
	RET(read(fd, s, sizeof s) / sizeof *s);
	for (int i = 0; i < 3; i++)
		printf("%s code %d int %d pid %d\n", sname(s[i].ssi_signo), s[i].ssi_code, s[i].ssi_int, s[i].ssi_pid == getpid());
	RET(read(fd, s, 10));
	sigemptyset(&m);
	sigaddset(&m, SIGUSR2);
	sigprocmask(SIG_BLOCK, &m, NULL);
	RET(signalfd(fd, &m, 0) == fd);
	kill(getpid(), SIGUSR1);
	RET(read(fd, s, sizeof s));
	kill(getpid(), SIGUSR2);
	RET(read(fd, s, sizeof s) / sizeof *s);
	RET(signalfd(0, &m, 0));
	RET(signalfd(99, &m, 0));
	RET(signalfd(-1, &m, 0x10));
	RET(syscall(SYS_signalfd4, -1, &m, 7, 0));
	RET(syscall(SYS_signalfd4, -1, BAD, 8, 0));
	RET(write(fd, s, 8));
	// Blocking read is woken by a signal from elsewhere.
	int b = MUST(signalfd(-1, &m, 0));
	pid_t me = getpid(), c = CHILD({ ms(30); kill(me, SIGUSR2); });
	RET(read(b, s, sizeof s) / sizeof *s);
	printf("sender %d\n", s[0].ssi_pid == c);
	waitpid(c, NULL, 0);
	return 0;
}
