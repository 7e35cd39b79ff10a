// Who may signal whom: same user, privilege, SIGCONT within a session, and errors.
#include "check.h"
int main(void) {
	RET(kill(999999, 0));
	RET(kill(getpid(), 65));
	RET(kill(getpid(), -1));
	RET(kill(INT_MIN, 0));
	RET(kill(-999999, 0));
	RET(kill(getpid(), 0));
	if (geteuid() != 0) {
		printf("not root\n");
		return 0;
	}
	gate g = gate_new();
	pid_t root = CHILD({ for (;;) pause(); });
	pid_t five = CHILD({ MUST(setresuid(5, 5, 5)); gate_open(g); for (;;) pause(); });
	gate_wait(g);
	reap("nobody", CHILD({ become_nobody(); RET(kill(root, 0)); RET(kill(five, SIGTERM)); RET(kill(root, SIGCONT)); setsid(); RET(kill(root, SIGCONT)); }));
	reap("five", CHILD({ MUST(setresuid(5, 5, 5)); RET(kill(five, 0)); RET(kill(root, 0)); }));
	reap("real five", CHILD({ MUST(setresuid(5, 6, 6)); RET(kill(five, 0)); }));
	reap("saved five is no help to the sender", CHILD({ MUST(setresuid(6, 6, 5)); RET(kill(five, 0)); }));
	kill(root, SIGKILL);
	kill(five, SIGTERM);
	reap("root", root);
	reap("five", five);
	return 0;
}
