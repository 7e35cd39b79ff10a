// Files of /proc/self: cmdline, environ, comm, exe, cwd, root, limits, status, stat and their agreement.
#include "check.h"
static char buf[16384];
static char *slurp(const char *p) {
	int fd = open(p, O_RDONLY);
	memset(buf, 0, sizeof buf);
	size_t n = 0;
	ssize_t k;
	while (fd >= 0 && (k = read(fd, buf + n, sizeof buf - 1 - n)) > 0)
		n += k;
	close(fd);
	return buf;
}
static void line(const char *key) {
	char *p = slurp("/proc/self/status");
	for (char *l = strtok(p, "\n"); l; l = strtok(NULL, "\n"))
		if (strncmp(l, key, strlen(key)) == 0)
			printf("%s\n", l);
}
int main(int argc, char **argv) {
	slurp("/proc/self/cmdline");
	IS(strcmp(buf, argv[0]) == 0);
	printf("%s\n", buf + strlen(buf) + 1);
	char exe[512] = "", real[PATH_MAX];
	readlink("/proc/self/exe", exe, 511);
	IS(strcmp(realpath(argv[0], real), exe) == 0);
	char cwd[512], l[512] = "";
	getcwd(cwd, 512);
	readlink("/proc/self/cwd", l, 511);
	IS(strcmp(cwd, l) == 0);
	memset(l, 0, sizeof l);
	RET(readlink("/proc/self/root", l, 511));
	printf("%s\n", l);
	memset(l, 0, sizeof l);
	readlink("/proc/self", l, 511);
	IS(atoi(l) == getpid());
	memset(l, 0, sizeof l);
	readlink("/proc/thread-self", l, 511);
	char want[64];
	snprintf(want, sizeof want, "%d/task/%d", getpid(), gettid());
	IS(strcmp(l, want) == 0);
	line("Name:");
	line("State:");
	line("Threads:");
	umask(0123);
	line("Umask:");
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m, NULL);
	signal(SIGUSR2, SIG_IGN);
	handle(SIGHUP, (void (*)(int))(void *)exit, 0);
	raise(SIGUSR1);
	line("SigPnd:");
	line("SigBlk:");
	line("SigIgn:");
	line("SigCgt:");
	line("NoNewPrivs:");
	line("Seccomp:");
	char *s = slurp("/proc/self/stat");
	int pid, ppid, pgrp, sid;
	char st;
	sscanf(s, "%d", &pid);
	sscanf(strrchr(s, ')') + 2, "%c %d %d %d", &st, &ppid, &pgrp, &sid);
	printf("%d %c %d %d %d\n", pid == getpid(), st, ppid == getppid(), pgrp == getpgrp(), sid == getsid(0));
	int fields = 0;
	for (char *p = strrchr(s, ')'); *p; p++)
		fields += *p == ' ';
	printf("fields %d\n", fields + 2);
	struct rlimit r = {123, 456};
	setrlimit(RLIMIT_NOFILE, &r);
	for (char *k = strtok(slurp("/proc/self/limits"), "\n"); k; k = strtok(NULL, "\n"))
		if (strstr(k, "open files") || strstr(k, "Limit "))
			printf("%s\n", k);
	RET(open("/proc/self/nothing", O_RDONLY));
	RET(mkdir("/proc/x", 0755) < 0);
	RET(open("/proc/999999/stat", O_RDONLY));
	RET(unlink("/proc/self/stat") < 0);
	return 0;
}
