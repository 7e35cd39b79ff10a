// Background groups: SIGTTIN for reading, SIGTTOU with TOSTOP and for tcsetpgrp, and the foreground's moves.
#include "check.h"
#include <termios.h>
int main(void) {
	int m = MUST(posix_openpt(O_RDWR | O_NOCTTY));
	unlockpt(m);
	pid_t leader = CHILD({
		setsid();
		int s = open(ptsname(m), O_RDWR);
		int st;
		char b[16];
		struct termios t;
		signal(SIGHUP, SIG_IGN);
		pid_t bg = CHILD({ setpgid(0, 0); read(s, b, 16); printf("background read %.2s\n", b); });
		setpgid(bg, bg);
		waitpid(bg, &st, WUNTRACED);
		say_status("background reader", st);
		signal(SIGTTOU, SIG_IGN);
		RET(tcsetpgrp(s, bg));
		IS(tcgetpgrp(s) == bg);
		kill(bg, SIGCONT);
		write(m, "hi\n", 3);
		reap("now in the foreground", bg);
		RET(tcsetpgrp(s, getpgrp()));
		bg = CHILD({ setpgid(0, 0); signal(SIGTTOU, SIG_DFL); write(s, "x", 1); printf("wrote\n"); tcgetattr(s, &t); t.c_lflag |= TOSTOP; tcsetattr(s, TCSANOW, &t); printf("not reached\n"); });
		setpgid(bg, bg);
		waitpid(bg, &st, WUNTRACED);
		say_status("background tcsetattr", st);
		kill(bg, SIGKILL);
		waitpid(bg, &st, 0);
		tcgetattr(s, &t);
		t.c_lflag |= TOSTOP;
		tcsetattr(s, TCSANOW, &t);
		bg = CHILD({ setpgid(0, 0); signal(SIGTTOU, SIG_DFL); write(s, "x", 1); printf("not reached\n"); });
		setpgid(bg, bg);
		waitpid(bg, &st, WUNTRACED);
		say_status("background writer with TOSTOP", st);
		kill(bg, SIGKILL);
		waitpid(bg, &st, 0);
		bg = CHILD({ setpgid(0, 0); signal(SIGTTIN, SIG_IGN); RET(read(s, b, 1)); signal(SIGTTOU, SIG_IGN); RET(write(s, "y", 1)); });
		setpgid(bg, bg);
		reap("ignoring", bg);
		RET(tcsetpgrp(s, 999999));
		RET(tcsetpgrp(s, 1));
		RET(tcsetpgrp(file_with("f", ""), getpgrp()));
		RET(ioctl(s, TIOCNOTTY));
		RET(open("/dev/tty", O_RDWR));
		RET(tcgetpgrp(s));
		RET(ioctl(s, TIOCSCTTY, 0));
		IS(tcgetpgrp(s) == getpgrp());
	});
	reap("leader", leader);
	return 0;
}
