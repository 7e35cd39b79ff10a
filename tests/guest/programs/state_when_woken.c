// What a signal wakes or continues is running as soon as the signal has been sent.
#include "check.h"
static volatile int *go;
static void spin(int s) {
	while (!*go)
		;
}
int main(void) {
	go = MUST((int *)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	int woken = 0, continued = 0, rounds = 10;
	for (int i = 0; i < rounds; i++) {
		*go = 0;
		handle(SIGUSR1, spin, 0);
		pid_t c = CHILD(pause());
		CHECK(await_state(c, 'S'));
		MUST(kill(c, SIGUSR1));
		woken += state_of(c) == 'R';
		int st;
		MUST(kill(c, SIGSTOP));
		MUST(waitpid(c, &st, WUNTRACED));
		CHECK(state_of(c) == 'T');
		MUST(kill(c, SIGCONT));
		continued += state_of(c) == 'R';
		*go = 1;
		MUST(waitpid(c, &st, 0));
	}
	IS(woken == rounds);
	IS(continued == rounds);
	return 0;
}
