// A zombie: state Z in /proc, no command line, no descriptors, still there for kill, gone after wait.
#include "check.h"
int main(void) {
	pid_t c = CHILD(_exit(1));
	IS(await_state(c, 'Z'));
	RET(kill(c, 0));
	RET(kill(c, SIGTERM));
	char path[64], b[64];
	snprintf(path, sizeof path, "/proc/%d/cmdline", c);
	int fd = open(path, O_RDONLY);
	RET(read(fd, b, 64));
	snprintf(path, sizeof path, "/proc/%d/exe", c);
	RET(readlink(path, b, 64));
	snprintf(path, sizeof path, "/proc/%d/maps", c);
	int m = open(path, O_RDONLY);
	RET(read(m, b, 64));
	snprintf(path, sizeof path, "/proc/%d/comm", c);
	int comm = open(path, O_RDONLY);
	IS(read(comm, b, 64) > 0);
	RET(getpgid(c) == getpgrp());
	reap("zombie", c);
	RET(kill(c, 0));
	RET(access(path, F_OK));
	RET(lseek(comm, 0, SEEK_SET));
	RET(read(comm, b, 64));
	return 0;
}
