// A file open for writing cannot be executed, and a running one cannot be opened for writing.
#include "check.h"
static int copy_self(const char *to) {
	int in = MUST(open("/proc/self/exe", O_RDONLY)), out = MUST(open(to, O_WRONLY | O_CREAT, 0755));
	char b[65536];
	ssize_t n;
	while ((n = read(in, b, sizeof b)) > 0)
		MUST(write(out, b, n));
	close(in);
	return out;
}
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		gate g = {{atoi(argv[2]), -1}};
		gate_wait(g);
		printf("running\n");
		return 0;
	}
	int out = copy_self("copy");
	char *av[] = {"copy", "again", "0", NULL};
	RET(execve("./copy", av, NULL));
	close(out);
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({
		char n[8];
		snprintf(n, sizeof n, "%d", g.fd[0]);
		fcntl(h.fd[1], F_SETFD, FD_CLOEXEC);
		execl("./copy", "copy", "again", n, NULL);
		_exit(1);
	});
	close(h.fd[1]);
	char b;
	MUST(read(h.fd[0], &b, 1)); // end of file: the exec was done
	RET(open("copy", O_WRONLY));
	RET(open("copy", O_RDWR | O_TRUNC));
	RET(truncate("copy", 0));
	RET(rename("copy", "other"));
	OK(open("copy", O_WRONLY | O_CREAT, 0755));
	RET(unlink("other"));
	gate_open(g);
	reap("copy", c);
	return 0;
}
