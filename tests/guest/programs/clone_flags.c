// clone with single sharing flags: what is shared and what is not.
#include "check.h"
static char stack[65536] __attribute__((aligned(16)));
static int data;
static int fd;
static int body(void *a) {
	data = 1;
	close(fd);
	chdir("/");
	umask(0);
	return 0;
}
static void try(const char *name, int flags) {
	char cwd[512], now[512];
	data = 0;
	fd = open("/dev/null", O_RDONLY);
	getcwd(cwd, sizeof cwd);
	umask(022);
	pid_t p = MUST(clone(body, stack + sizeof stack, flags | SIGCHLD, NULL));
	int st;
	MUST(waitpid(p, &st, 0));
	getcwd(now, sizeof now);
	printf("%s: memory %d files %d cwd %d umask %d\n", name, data, fcntl(fd, F_GETFD) < 0, strcmp(cwd, now) != 0, umask(022) == 0);
	chdir(cwd);
	close(fd);
}
int main(void) {
	try("nothing", 0);
	try("CLONE_VM", CLONE_VM);
	try("CLONE_FILES", CLONE_FILES);
	try("CLONE_FS", CLONE_FS);
	try("all", CLONE_VM | CLONE_FILES | CLONE_FS);
	try("CLONE_VM|VFORK", CLONE_VM | CLONE_VFORK);
	return 0;
}
