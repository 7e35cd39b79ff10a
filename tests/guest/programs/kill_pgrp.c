// kill of a process group reaches its members, kill(-1) all but init and the caller's own... and kill(0) one's group.
#include "check.h"
int main(void) {
	pid_t lead = CHILD({ setpgid(0, 0); for (;;) pause(); });
	setpgid(lead, lead);
	pid_t b = CHILD({ setpgid(0, lead); for (;;) pause(); });
	setpgid(b, lead);
	RET(kill(-lead, 0));
	RET(kill(-lead, SIGTERM));
	reap("leader", lead);
	reap("member", b);
	RET(kill(-lead, 0));
	pid_t c = CHILD({
		setpgid(0, 0);
		pid_t k = CHILD({ for (;;) pause(); });
		signal(SIGUSR1, SIG_IGN);
		ms(20);
		RET(kill(0, SIGUSR1));
		reap("in my group", k);
		k = CHILD({ for (;;) pause(); });
		RET(killpg(0, 0));
		kill(0, SIGKILL);
	});
	reap("group", c);
	return 0;
}
