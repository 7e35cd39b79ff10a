// execveat: by directory, by descriptor with AT_EMPTY_PATH, of scripts, and its errors.
#include "check.h"
static char *ev[] = {NULL};
static void run(const char *what, int dir, const char *path, int flags) {
	fflush(stdout);
	pid_t p = CHILD({
		char *av[] = {"zero", "hello", NULL};
		syscall(SYS_execveat, dir, path, av, ev, flags);
		printf("%s: %s\n", what, ename(errno));
		_exit(1);
	});
	reap(what, p);
}
int main(void) {
	mkdir("d", 0755);
	int fd = open("d/s", O_WRONLY | O_CREAT, 0755);
	MUST(write(fd, "#!/bin/sh\necho script got $1\n", 29));
	close(fd);
	int dir = MUST(open("d", O_RDONLY | O_DIRECTORY));
	run("dirfd", dir, "s", 0);
	int echo = MUST(open("/bin/echo", O_RDONLY | O_CLOEXEC));
	run("fd", echo, "", AT_EMPTY_PATH);
	run("fd without the flag", echo, "", 0);
	int pth = MUST(open("/bin/echo", O_PATH));
	run("O_PATH", pth, "", AT_EMPTY_PATH);
	int script = MUST(open("d/s", O_RDONLY));
	run("script by fd", script, "", AT_EMPTY_PATH);
	int sc = MUST(open("d/s", O_RDONLY | O_CLOEXEC));
	run("script by cloexec fd", sc, "", AT_EMPTY_PATH);
	symlink("/bin/echo", "d/link");
	run("nofollow", dir, "link", AT_SYMLINK_NOFOLLOW);
	run("follow", dir, "link", 0);
	run("bad flag", dir, "s", 0x8000);
	run("bad fd", 99, "s", 0);
	run("not a directory", echo, "s", 0);
	run("directory", dir, "", AT_EMPTY_PATH);
	run("absolute path ignores the fd", 99, "/bin/echo", 0);
	return 0;
}
