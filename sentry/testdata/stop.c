// The first process of a command is stopped like a job, and who started it, the test here, continues it.
#include "check.h"

static volatile int continued;
static void on_cont(int sig) { continued++; }

int main(void)
{
	signal(SIGCONT, on_cont);
	int sigs[] = {SIGTSTP, SIGSTOP, SIGTTIN};
	for (int i = 0; i < 3; i++) {
		raise(sigs[i]);
		CHECK(continued == i + 1);
	}
	// A child in a group of its own is not orphaned, and its parent hears of the stop.
	int st;
	pid_t c = fork();
	if (c == 0) {
		setpgid(0, 0);
		raise(SIGTSTP);
		_exit(7);
	}
	CHECK(waitpid(c, &st, WUNTRACED) == c && WIFSTOPPED(st) && WSTOPSIG(st) == SIGTSTP);
	kill(c, SIGCONT);
	CHECK(waitpid(c, &st, 0) == c && WIFEXITED(st) && WEXITSTATUS(st) == 7);
	CHECK(continued == 3);
	// One in a session of its own is orphaned: nobody could continue it.
	c = fork();
	if (c == 0) {
		setsid();
		raise(SIGTSTP);
		_exit(8);
	}
	CHECK(waitpid(c, &st, WUNTRACED) == c && WIFEXITED(st) && WEXITSTATUS(st) == 8);
	puts("ok");
	return 0;
}
