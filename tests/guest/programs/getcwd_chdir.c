// chdir, fchdir, getcwd: relative and absolute, limits and errors; each process has its own.
#include "check.h"
int main(void) {
	char base[512], b[512];
	getcwd(base, sizeof base);
	size_t n = strlen(base);
	mkdir("a", 0755);
	mkdir("a/b", 0755);
	symlink("a/b", "l");
	RET(chdir("l"));
	getcwd(b, sizeof b);
	printf("%s\n", b + n);
	RET(chdir("../.."));
	RET(syscall(SYS_getcwd, b, sizeof b) == n + 1);
	RET(syscall(SYS_getcwd, b, n));
	RET(syscall(SYS_getcwd, b, 0));
	RET(syscall(SYS_getcwd, BAD, 512));
	int fd = open("a", O_RDONLY);
	reap("child", CHILD({ chdir("/"); getcwd(b, sizeof b); printf("%s\n", b); }));
	RET(fchdir(fd));
	getcwd(b, sizeof b);
	printf("%s\n", b + n);
	close(file_with("f", ""));
	RET(chdir("f"));
	RET(chdir("none"));
	RET(chdir(""));
	RET(chdir(BAD));
	RET(fchdir(99));
	RET(fchdir(open("f", O_RDONLY)));
	RET(readlink("/proc/self/cwd", b, sizeof b) == n + 2);
	RET(chdir("/"));
	RET(chdir(".."));
	getcwd(b, sizeof b);
	printf("%s\n", b);
	return 0;
}
