// What one may see of other processes: directories, status, children, tasks, permissions of environ and mem.
#include "check.h"
static int readable(pid_t c, const char *f) {
	char p[64], b[16];
	snprintf(p, sizeof p, "/proc/%d/%s", c, f);
	int fd = open(p, O_RDONLY);
	int r = fd < 0 ? -errno : read(fd, b, 16) < 0 ? -errno : 1;
	close(fd);
	return r;
}
int main(void) {
	gate g = gate_new();
	pid_t c = CHILD({ prctl(PR_SET_NAME, "other (x) y"); gate_open(g); for (;;) pause(); });
	gate_wait(g);
	await_state(c, 'S');
	char p[64], b[512];
	snprintf(p, sizeof p, "/proc/%d", c);
	struct stat st;
	stat(p, &st);
	IS(st.st_uid == geteuid());
	printf("%o\n", st.st_mode);
	IS(state_of(c) == 'S');
	snprintf(p, sizeof p, "/proc/%d/stat", c);
	int fd = open(p, O_RDONLY);
	b[read(fd, b, 511)] = 0;
	IS(strstr(b, "(other (x) y) S") != NULL);
	snprintf(p, sizeof p, "/proc/self/task/%d/children", gettid());
	fd = open(p, O_RDONLY);
	b[read(fd, b, 511)] = 0;
	IS(atoi(b) == c);
	int seen = 0, me = 0;
	DIR *d = opendir("/proc");
	struct dirent *e;
	while ((e = readdir(d))) {
		seen += atoi(e->d_name) == c;
		me += atoi(e->d_name) == getpid();
	}
	printf("listed %d %d\n", seen, me);
	if (geteuid() == 0)
		reap("stranger", CHILD({ become_nobody(); printf("environ %s maps %s stat %d status %d\n", ename(-readable(c, "environ")), ename(-readable(c, "maps")), readable(c, "stat"), readable(c, "status")); snprintf(p, sizeof p, "/proc/%d/exe", c); RET(readlink(p, b, 100)); snprintf(p, sizeof p, "/proc/%d/fd", c); RET(open(p, O_RDONLY)); }));
	kill(c, SIGKILL);
	reap("other", c);
	snprintf(p, sizeof p, "/proc/%d", c);
	RET(access(p, F_OK));
	return 0;
}
