// Stops and continues: a stopped process ignores all but SIGKILL and SIGCONT, and SIGCONT drops pending stops.
#include "check.h"
static volatile int n;
static void h(int s) { n++; }
static int st;
int main(void) {
	gate g = gate_new();
	pid_t c = CHILD({
		handle(SIGUSR1, h, 0);
		handle(SIGCONT, h, 0);
		gate_open(g);
		while (n < 2)
			ms(5);
		printf("handled %d\n", n);
		for (;;)
			pause();
	});
	gate_wait(g);
	kill(c, SIGSTOP);
	RET(waitpid(c, &st, WUNTRACED) == c);
	say_status("c", st);
	kill(c, SIGUSR1);
	ms(30);
	printf("state %c\n", state_of(c));
	kill(c, SIGSTOP);
	kill(c, SIGCONT);
	CHECK(waitpid(c, &st, WCONTINUED) == c);
	ms(50);
	kill(c, SIGSTOP);
	waitpid(c, &st, WUNTRACED);
	kill(c, SIGKILL);
	reap("killed while stopped", c);
	// Blocked SIGCONT still continues; blocked SIGTSTP waits.
	c = CHILD({
		sigset_t s;
		sigemptyset(&s);
		sigaddset(&s, SIGCONT);
		sigaddset(&s, SIGTSTP);
		sigprocmask(SIG_BLOCK, &s, NULL);
		raise(SIGTSTP);
		printf("SIGTSTP is pending\n");
		raise(SIGSTOP);
		sigpending(&s);
		IS(sigismember(&s, SIGTSTP));
	});
	waitpid(c, &st, WUNTRACED);
	say_status("c", st);
	kill(c, SIGCONT);
	reap("c", c);
	return 0;
}
