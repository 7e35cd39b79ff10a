// A controlling terminal: ^C, ^\, ^Z to the foreground group, window changes, hang-up, TIOCSTI refused or not.
#include "check.h"
#include <termios.h>
static volatile int got[65];
static void h(int s) { got[s]++; }
static void await(int s) {
	for (int i = 0; i < 400 && !got[s]; i++)
		usleep(5000);
	printf("%s %d\n", sname(s), got[s]);
	got[s] = 0;
}
int main(void) {
	int m = MUST(posix_openpt(O_RDWR | O_NOCTTY));
	unlockpt(m);
	gate ready = gate_new();
	pid_t c = CHILD({
		RET(open("/dev/tty", O_RDWR));
		RET(setsid() == getpid());
		int s = open(ptsname(m), O_RDWR); // becomes the controlling terminal
		for (int i = 1; i < 32; i++)
			if (i == SIGINT || i == SIGQUIT || i == SIGTSTP || i == SIGWINCH || i == SIGHUP || i == SIGCONT)
				handle(i, h, 0);
		IS(tcgetpgrp(s) == getpgrp());
		IS(tcgetsid(s) == getsid(0));
		int t = open("/dev/tty", O_RDWR);
		OK(t);
		IS(tcgetsid(t) == getpid());
		close(m);
		gate_open(ready);
		await(SIGINT);
		gate_open(ready);
		await(SIGQUIT);
		gate_open(ready);
		await(SIGTSTP);
		gate_open(ready);
		await(SIGWINCH);
		struct winsize w;
		ioctl(s, TIOCGWINSZ, &w);
		printf("%d rows\n", w.ws_row);
		// With NOFLSH off, pending input is dropped by the signal characters.
		fcntl(s, F_SETFL, O_NONBLOCK);
		char b[8];
		RET(read(s, b, 8));
		gate_open(ready);
		await(SIGHUP);
		await(SIGCONT);
		RET(read(s, b, 8));
		RET(write(s, b, 1));
		RET(open("/dev/tty", O_RDWR));
	});
	struct winsize w = {50, 100};
	gate_wait(ready);
	write(m, "junk\003", 5);
	gate_wait(ready);
	write(m, "\034", 1);
	gate_wait(ready);
	write(m, "\032", 1);
	gate_wait(ready);
	ioctl(m, TIOCSWINSZ, &w);
	gate_wait(ready);
	close(m);
	reap("session leader", c);
	return 0;
}
