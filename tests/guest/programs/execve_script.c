// Scripts: the interpreter line with one argument, nested scripts, too long lines, and a missing interpreter.
#include "check.h"
static void run(const char *f) {
	fflush(stdout);
	pid_t p = CHILD({
		execl(f, "zero", "one", "two words", NULL);
		printf("%s: %s\n", f, ename(errno));
		_exit(1);
	});
	reap(f, p);
}
static void script(const char *name, const char *text) {
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}
int main(void) {
	script("plain", "#!/bin/sh\necho plain: $0 $# $1 \"$2\"\nexit 3\n");
	run("./plain");
	script("arg", "#! /bin/sh -e \nfalse\necho not reached\n");
	run("./arg");
	script("echo", "#!/bin/echo a b  c\n");
	run("./echo");
	script("nested", "#!./plain x y\n");
	run("./nested");
	script("deep1", "#!./nested\n");
	script("deep2", "#!./deep1\n");
	script("deep3", "#!./deep2\n");
	script("deep4", "#!./deep3\n");
	run("./deep1");
	run("./deep4");
	script("missing", "#!/nonexistent/interpreter\n");
	run("./missing");
	script("empty", "#!\n");
	run("./empty");
	script("spaces", "#!   \t \n");
	run("./spaces");
	script("nonewline", "#!/bin/echo last");
	run("./nonewline");
	script("nothing", "");
	run("./nothing");
	script("text", "echo I am text\n");
	run("./text");
	char longline[400] = "#!/bin/sh ";
	memset(longline + 10, 'x', 300);
	strcpy(longline + 310, "\n");
	script("long", longline);
	run("./long");
	script("dirint", "#!/tmp\n");
	run("./dirint");
	script("self", "#!./self\n");
	run("./self");
	script("slash", "#!/bin/echo\r\n");
	run("./slash");
	return 0;
}
