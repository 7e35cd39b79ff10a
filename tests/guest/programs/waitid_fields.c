// waitid: the siginfo of every kind of change, WNOWAIT, P_PIDFD, P_PGID, and its errors.
#include "check.h"
static void show(const char *what, siginfo_t *i, pid_t c) {
	printf("%s: signo %s code %d status %d pid %d uid %d\n", what, sname(i->si_signo), i->si_code, i->si_status, i->si_pid == c, i->si_uid == getuid());
}
int main(void) {
	siginfo_t i = {0};
	struct rlimit nocore = {0, 0};
	setrlimit(RLIMIT_CORE, &nocore);
	pid_t c = CHILD({ for (;;) pause(); });
	memset(&i, 1, sizeof i);
	RET(waitid(P_PID, c, &i, WEXITED | WNOHANG));
	printf("nothing yet: signo %d pid %d\n", i.si_signo, i.si_pid);
	kill(c, SIGSTOP);
	RET(waitid(P_PID, c, &i, WSTOPPED | WNOWAIT));
	show("stopped", &i, c);
	RET(waitid(P_PID, c, &i, WSTOPPED));
	show("stopped", &i, c);
	kill(c, SIGCONT);
	RET(waitid(P_ALL, 0, &i, WCONTINUED));
	show("continued", &i, c);
	kill(c, SIGTERM);
	RET(waitid(P_PGID, getpgid(0), &i, WEXITED | WNOWAIT));
	show("killed", &i, c);
	RET(waitid(P_PGID, 0, &i, WEXITED));
	show("killed", &i, c);
	c = CHILD(_exit(77));
	int pfd = syscall(SYS_pidfd_open, c, 0);
	RET(waitid(P_PIDFD, pfd, &i, WEXITED));
	show("exited", &i, c);
	c = CHILD(abort());
	RET(waitid(P_PID, c, &i, WEXITED));
	show("dumped or killed", &i, c);
	RET(waitid(P_PID, c, &i, WEXITED));
	RET(waitid(P_PID, 0, &i, WEXITED));
	RET(waitid(P_PID, 1, &i, 0));
	RET(waitid(P_PID, 1, &i, WEXITED | 0x100));
	RET(waitid(9, 1, &i, WEXITED));
	RET(waitid(P_PIDFD, 99, &i, WEXITED));
	RET(waitid(P_PIDFD, 0, &i, WEXITED));
	// The raw call also returns usage.
	c = CHILD(_exit(0));
	struct rusage ru;
	RET(syscall(SYS_waitid, P_PID, c, NULL, WEXITED, &ru));
	return 0;
}
