// Pid namespaces: pid 1 inside, another pid outside, orphans, signals to init, and the end of the namespace.
#include "check.h"
int main(void) {
	if (geteuid() != 0) {
		RET(unshare(CLONE_NEWPID));
		return 0;
	}
	pid_t outer = CHILD({
		MUST(unshare(CLONE_NEWPID));
		IS(getpid() != 1);
		RET(unshare(CLONE_THREAD));
		pid_t in = CHILD({
			IS(getpid() == 1);
			IS(getppid() == 0);
			IS(getsid(0) == 0);
			pid_t k = CHILD({ IS(getpid() == 2); IS(getppid() == 1); });
			reap("second", k);
			IS(k == 2);
			// An orphan comes to pid 1.
			pid_t mid = CHILD({ CHILD({ for (int i = 0; i < 300 && getppid() != 1; i++) ms(5); _exit(getppid() == 1 ? 7 : 1); }); });
			reap("middle", mid);
			int st;
			IS(wait(&st) == 4);
			say_status("orphan", st);
			// Init is immune to signals of its namespace that it has no handler for.
			kill(1, SIGTERM);
			kill(1, SIGKILL);
			k = CHILD({ kill(1, SIGKILL); RET(kill(2, 0)); });
			reap("would-be killer", k);
			printf("init lives\n");
			RET(unshare(CLONE_NEWPID));
			pid_t nested = CHILD(IS(getpid() == 1));
			reap("nested", nested);
			IS(nested > 1);
			_exit(9);
		});
		CHECK(in > 1 && kill(in, 0) == 0);
		reap("init of the namespace", in);
		RET(fork());
	});
	reap("outer", outer);
	// When init dies all others are killed.
	int p[2];
	char b;
	MUST(pipe(p));
	pid_t c = CHILD({
		MUST(unshare(CLONE_NEWPID));
		reap("short-lived init", CHILD({ CHILD({ for (;;) pause(); }); CHILD({ setsid(); for (;;) pause(); }); _exit(1); }));
	});
	close(p[1]);
	RET(read(p[0], &b, 1));
	reap("outer", c);
	return 0;
}
