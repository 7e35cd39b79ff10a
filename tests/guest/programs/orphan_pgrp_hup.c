// When a process group with stopped members becomes orphaned, it gets SIGHUP and SIGCONT.
#include "check.h"
static volatile int hup, cont;
static void h(int s) {
	if (s == SIGHUP)
		hup = 1;
	else
		cont = 1;
}
int main(void) {
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int p[2];
	MUST(pipe(p));
	pid_t leader = CHILD({
		setsid();
		pid_t shell = CHILD({
			pid_t job = CHILD({
				setpgid(0, 0);
				handle(SIGHUP, h, 0);
				handle(SIGCONT, h, 0);
				kill(getpid(), SIGSTOP);
				while (!hup || !cont)
					ms(5);
				printf("hup %d cont %d\n", hup, cont);
				_exit(12);
			});
			setpgid(job, job);
			int st;
			waitpid(job, &st, WUNTRACED);
			say_status("job", st);
			MUST(write(p[1], &job, sizeof job));
		});
		waitpid(shell, NULL, 0);
		ms(300);
	});
	pid_t job;
	MUST(read(p[0], &job, sizeof job));
	int js;
	while (waitpid(job, &js, 0) < 0) // until it has been reparented to us
		ms(5);
	say_status("job", js);
	reap("leader", leader);
	// A stop signal of the terminal kind does nothing in an orphaned group, SIGSTOP does.
	pid_t c = CHILD({
		setsid();
		raise(SIGTSTP);
		raise(SIGTTIN);
		raise(SIGTTOU);
		printf("not stopped\n");
		raise(SIGSTOP);
		printf("continued\n");
	});
	int st;
	waitpid(c, &st, WUNTRACED);
	say_status("orphaned group", st);
	kill(c, SIGCONT);
	reap("orphaned group", c);
	return 0;
}
