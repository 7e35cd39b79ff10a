// setsid, getsid, setpgid: who may do what.
#include "check.h"
int main(void) {
	pid_t c = CHILD({
		IS(getpgid(0) == getpgrp());
		setpgid(0, 0);
		IS(getpgrp() == getpid());
		RET(setsid());
		RET(setpgid(0, -1));
		RET(getpgid(-1));
		RET(setpgid(999999, 0));
		RET(getsid(999999));
	});
	reap("group leader", c);
	c = CHILD({
		IS(setsid() == getpid());
		IS(getsid(0) == getpid());
		IS(getpgrp() == getpid());
		RET(setsid());
		RET(setpgid(0, 0));
		gate g = gate_new();
		gate h = gate_new();
		pid_t k = CHILD({ gate_open(h); gate_wait(g); IS(getpgrp() == getpid()); });
		gate_wait(h);
		RET(setpgid(k, k));
		RET(getpgid(k) == k);
		RET(setpgid(k, 999999));
		RET(setpgid(getppid(), 0));
		gate_open(g);
		reap("grandchild", k);
		// A child that has executed is out of reach.
		int p[2];
		char b;
		MUST(pipe2(p, O_CLOEXEC));
		k = CHILD({ execl("/bin/sleep", "sleep", "5", NULL); });
		close(p[1]);
		MUST(read(p[0], &b, 1)); // end of file: it has executed
		RET(setpgid(k, k));
		kill(k, SIGKILL);
		reap("executed", k);
		k = CHILD({ setsid(); gate_open(h); gate_wait(g); });
		gate_wait(h);
		RET(setpgid(k, getpid()));
		gate_open(g);
		reap("in another session", k);
	});
	reap("session leader", c);
	return 0;
}
