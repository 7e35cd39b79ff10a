// pidfd_send_signal takes an open directory of /proc, which stays that of the process it was opened for.
#include "check.h"
static long sendto_fd(int fd, int sig) { return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0); }
static int dir(pid_t pid, const char *rest, int flags) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d%s", pid, rest);
	return MUST(open(path, O_RDONLY | flags));
}
int main(void) {
	pid_t c = CHILD(for (;;) pause());
	int d = dir(c, "", O_DIRECTORY);
	RET(sendto_fd(d, 0));
	RET(sendto_fd(dir(c, "/fd", O_DIRECTORY), 0));
	RET(sendto_fd(dir(c, "/stat", 0), 0));
	RET(sendto_fd(dir(c, "", O_PATH), 0));
	RET(sendto_fd(MUST(open("/proc", O_RDONLY)), 0));
	RET(sendto_fd(MUST(open(".", O_RDONLY)), 0));
	RET(syscall(SYS_pidfd_getfd, d, 0, 0));
	RET(waitid(3 /* P_PIDFD */, d, NULL, WEXITED | WNOHANG));
	RET(sendto_fd(d, SIGTERM));
	reap("child", c);
	RET(sendto_fd(d, 0));
	return 0;
}
