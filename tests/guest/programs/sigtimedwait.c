// sigwaitinfo and sigtimedwait take pending signals, wait for them, and time out.
#include "check.h"
int main(void) {
	sigset_t m;
	siginfo_t i;
	struct timespec zero = {0, 0}, t = {0, 30000000}, bad = {0, -1};
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigaddset(&m, SIGRTMIN);
	sigaddset(&m, SIGCHLD);
	sigprocmask(SIG_BLOCK, &m, NULL);
	RET(sigtimedwait(&m, &i, &zero));
	RET(sigtimedwait(&m, &i, &t));
	RET(sigtimedwait(&m, &i, &bad));
	kill(getpid(), SIGUSR1);
	RET(sigwaitinfo(&m, &i));
	printf("code %d\n", i.si_code);
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
	raise(SIGUSR1);
	RET(sigwaitinfo(&m, &i));
	RET(sigwaitinfo(&m, &i) == SIGRTMIN);
	printf("value %d\n", i.si_value.sival_int);
	pid_t c = CHILD({ ms(20); _exit(3); });
	RET(sigwaitinfo(&m, &i));
	printf("status %d pid %d\n", i.si_status, i.si_pid == c);
	waitpid(c, NULL, 0);
	RET(syscall(SYS_rt_sigtimedwait, BAD, &i, &zero, 8));
	raise(SIGUSR1);
	RET(syscall(SYS_rt_sigtimedwait, &m, BAD, &zero, 8));
	RET(syscall(SYS_rt_sigtimedwait, &m, NULL, &zero, 7));
	// A signal that is sent to the process wakes a thread that waits for it.
	pid_t me = getpid();
	c = CHILD({ ms(30); kill(me, SIGUSR1); });
	RET(sigwaitinfo(&m, NULL));
	waitpid(c, NULL, 0);
	return 0;
}
