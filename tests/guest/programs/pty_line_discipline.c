// The line discipline: canonical input, erase, kill, end of file, echo, control characters, CR/NL mapping, VMIN and VTIME.
#include "check.h"
#include <termios.h>
static int m, s;
static char b[256];
static struct termios t;
static void quoted(const char *what, int fd) {
	usleep(20000);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	ssize_t n = read(fd, b, sizeof b);
	printf("%s: ", what);
	if (n < 0)
		printf("%s", ename(errno));
	for (int i = 0; i < n; i++)
		if (b[i] < 32 || b[i] == 127)
			printf("\\x%02x", (unsigned char)b[i]);
		else
			putchar(b[i]);
	printf(" (%zd)\n", n);
	fcntl(fd, F_SETFL, 0);
}
static void type(const char *keys) { MUST(write(m, keys, strlen(keys))); }
int main(void) {
	m = MUST(posix_openpt(O_RDWR | O_NOCTTY));
	unlockpt(m);
	s = MUST(open(ptsname(m), O_RDWR | O_NOCTTY));
	type("partial");
	quoted("no line yet", s);
	quoted("echo", m);
	type(" line\rnext\n");
	quoted("first line", s);
	quoted("second line", s);
	quoted("echo", m);
	type("abcd\177\177xy\n");
	quoted("erased", s);
	quoted("echo", m);
	type("killed\025kept\n");
	quoted("killed", s);
	quoted("echo", m);
	type("two words\027one\n");
	quoted("word erased", s);
	quoted("echo", m);
	type("eof\004");
	quoted("eof after text", s);
	type("\004");
	quoted("eof alone", s);
	type("lit\026\003eral\n");
	quoted("literal next", s);
	quoted("echo", m);
	type("\001\002\n");
	quoted("control characters", s);
	quoted("echo", m);
	tcgetattr(s, &t);
	t.c_lflag &= ~ECHO;
	t.c_iflag &= ~ICRNL;
	tcsetattr(s, TCSANOW, &t);
	type("cr\rnl\n");
	quoted("without ICRNL", s);
	quoted("no echo", m);
	t.c_iflag |= INLCR | ISTRIP | IUCLC;
	t.c_lflag &= ~ICANON;
	t.c_cc[VMIN] = 1;
	tcsetattr(s, TCSANOW, &t);
	type("a\nB\303");
	quoted("INLCR ISTRIP IUCLC", s);
	t.c_oflag = OPOST | OLCUC | ONLCR | OCRNL;
	tcsetattr(s, TCSANOW, &t);
	write(s, "low\nx\r", 6);
	quoted("OLCUC OCRNL", m);
	t.c_oflag = OPOST | XTABS;
	tcsetattr(s, TCSANOW, &t);
	write(s, "a\tb", 3);
	quoted("tabs", m);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	tcsetattr(s, TCSANOW, &t);
	RET(read(s, b, 10));
	t.c_cc[VTIME] = 1;
	tcsetattr(s, TCSANOW, &t);
	RET(read(s, b, 10));
	t.c_cc[VMIN] = 3;
	t.c_cc[VTIME] = 0;
	tcsetattr(s, TCSANOW, &t);
	pid_t c = CHILD({ type("1"); ms(20); type("2"); ms(20); type("3"); });
	RET(read(s, b, 10));
	reap("typist", c);
	// TCSAFLUSH drops what was typed; switching back to canonical mode keeps it.
	type("gone");
	usleep(10000);
	RET(tcsetattr(s, TCSAFLUSH, &t));
	quoted("flushed", s);
	RET(tcgetattr(99, &t));
	RET(tcsetattr(s, 99, &t));
	return 0;
}
