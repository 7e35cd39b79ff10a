// Pseudo-terminals: opening, names, raw data both ways, sizes, hang-up, exclusive use, packet mode.
#include "check.h"
#include <termios.h>
int main(void) {
	int m = MUST(posix_openpt(O_RDWR | O_NOCTTY));
	RET(grantpt(m));
	RET(unlockpt(m));
	char name[64], b[64] = "";
	RET(ptsname_r(m, name, sizeof name));
	IS(strncmp(name, "/dev/pts/", 9) == 0);
	int s = MUST(open(name, O_RDWR | O_NOCTTY));
	RET(isatty(s));
	RET(isatty(m));
	RET(isatty(file_with("f", "")));
	struct termios t;
	RET(tcgetattr(s, &t));
	printf("i %x o %x c %x l %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
	printf("intr %d quit %d erase %d kill %d eof %d min %d time %d susp %d\n", t.c_cc[VINTR], t.c_cc[VQUIT], t.c_cc[VERASE], t.c_cc[VKILL], t.c_cc[VEOF], t.c_cc[VMIN], t.c_cc[VTIME], t.c_cc[VSUSP]);
	RET(write(s, "out\n", 4));
	RET(read(m, b, 64));
	printf("%d%d%d\n", b[3], b[4], b[5]);
	cfmakeraw(&t);
	RET(tcsetattr(s, TCSANOW, &t));
	RET(write(s, "raw\n", 4));
	RET(read(m, b, 64));
	RET(write(m, "in\r\3", 4));
	RET(read(s, b, 64));
	printf("%d %d\n", b[2], b[3]);
	struct winsize w = {25, 81, 0, 0}, g;
	RET(ioctl(m, TIOCSWINSZ, &w));
	RET(ioctl(s, TIOCGWINSZ, &g));
	printf("%d %d\n", g.ws_row, g.ws_col);
	int n = 9;
	write(m, "abc", 3);
	RET(poll(&(struct pollfd){s, POLLIN}, 1, 2000)); // it arrives a little later
	RET(ioctl(s, FIONREAD, &n));
	printf("%d\n", n);
	RET(tcflush(s, TCIFLUSH));
	RET(ioctl(s, FIONREAD, &n));
	printf("%d\n", n);
	int on = 1;
	RET(ioctl(m, TIOCPKT, &on));
	write(s, "pkt", 3);
	RET(read(m, b, 64));
	printf("%d%.3s\n", b[0], b + 1);
	tcflush(s, TCOFLUSH);
	RET(read(m, b, 64));
	printf("control %d\n", b[0]);
	on = 0;
	ioctl(m, TIOCPKT, &on);
	close(s);
	struct pollfd p = {m, POLLIN};
	RET(poll(&p, 1, 0));
	printf("%x\n", p.revents);
	RET(read(m, b, 64));
	s = MUST(open(name, O_RDWR | O_NOCTTY));
	close(m);
	RET(read(s, b, 64));
	RET(write(s, "x", 1));
	RET(access(name, F_OK));
	RET(open("/dev/pts/99999", O_RDWR));
	return 0;
}
