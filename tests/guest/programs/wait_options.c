// waitpid: WNOHANG, WUNTRACED, WCONTINUED, by group, any child, and its errors.
#include "check.h"
int main(void) {
	int st;
	RET(waitpid(-1, &st, 0));
	RET(waitpid(-1, &st, 0x100));
	gate g = gate_new();
	pid_t c = CHILD({ gate_wait(g); _exit(300); });
	RET(waitpid(c, &st, WNOHANG));
	RET(waitpid(c + 100000, &st, WNOHANG));
	kill(c, SIGSTOP);
	RET(waitpid(c, &st, WUNTRACED) == c);
	say_status("child", st);
	RET(waitpid(c, &st, WUNTRACED | WNOHANG));
	kill(c, SIGCONT);
	RET(waitpid(c, &st, WCONTINUED) == c);
	say_status("child", st);
	printf("raw status of continued: %x\n", st);
	gate_open(g);
	RET(waitpid(0, &st, 0) == c);
	say_status("child", st);
	pid_t a = CHILD({ setpgid(0, 0); ms(20); _exit(1); });
	setpgid(a, a);
	pid_t b = CHILD(_exit(2));
	RET(waitpid(-a, &st, 0) == a);
	say_status("group", st);
	RET(waitpid(-a, &st, 0));
	RET(waitpid(-1, &st, 0) == b);
	say_status("any", st);
	RET(waitpid(INT_MIN, &st, 0));
	c = CHILD(_exit(0));
	RET(waitpid(c, BAD, 0));
	RET(waitpid(c, &st, 0));
	return 0;
}
