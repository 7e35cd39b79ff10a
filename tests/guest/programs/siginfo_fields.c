// siginfo of kill, tgkill, sigqueue, timers, SIGCHLD, faults and SIGPIPE.
#include "check.h"
static siginfo_t last;
static void h(int s, siginfo_t *i, void *u) { last = *i; }
static void show(const char *w) { printf("%s: %s code %d errno %d\n", w, sname(last.si_signo), last.si_code, last.si_errno); }
static void await(int code) {
	for (int i = 0; i < 400 && last.si_code != code; i++)
		ms(5);
}
int main(void) {
	int sigs[] = {SIGUSR1, SIGALRM, SIGCHLD, SIGPIPE, SIGRTMIN};
	for (int i = 0; i < 5; i++)
		handle_info(sigs[i], h, SA_RESTART);
	kill(getpid(), SIGUSR1);
	show("kill");
	printf("pid %d uid %d\n", last.si_pid == getpid(), last.si_uid == getuid());
	raise(SIGUSR1);
	show("raise");
	printf("pid %d uid %d\n", last.si_pid == getpid(), last.si_uid == getuid());
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 99});
	show("sigqueue");
	printf("pid %d value %d\n", last.si_pid == getpid(), last.si_value.sival_int);
	ualarm(1000, 0);
	while (last.si_signo != SIGALRM)
		ms(1);
	show("alarm");
	pid_t c = CHILD(_exit(42));
	waitpid(c, NULL, 0);
	await(CLD_EXITED);
	show("exit");
	printf("pid %d uid %d status %d\n", last.si_pid == c, last.si_uid == getuid(), last.si_status);
	c = CHILD({ for (;;) pause(); });
	kill(c, SIGSTOP);
	waitpid(c, NULL, WUNTRACED);
	await(CLD_STOPPED);
	show("stop");
	printf("status %s\n", sname(last.si_status));
	kill(c, SIGCONT);
	waitpid(c, NULL, WCONTINUED);
	await(CLD_CONTINUED);
	show("continue");
	printf("status %s\n", sname(last.si_status));
	kill(c, SIGKILL);
	waitpid(c, NULL, 0);
	await(CLD_KILLED);
	show("killed");
	printf("status %s\n", sname(last.si_status));
	int p[2];
	MUST(pipe(p));
	close(p[0]);
	RET(write(p[1], "x", 1));
	show("pipe");
	printf("pid %d\n", last.si_pid == getpid());
	pid_t me = getpid();
	c = CHILD(kill(me, SIGUSR1));
	waitpid(c, NULL, 0);
	return 0;
}
