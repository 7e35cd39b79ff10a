// User namespaces: id maps, what ids look like inside and outside, capabilities inside, and the rules for maps.
#include "check.h"
static void show(const char *w) {
	uid_t r, e, s;
	gid_t g, h, i;
	getresuid(&r, &e, &s);
	getresgid(&g, &h, &i);
	printf("%s: uid %d %d %d gid %d %d %d\n", w, r, e, s, g, h, i);
}
int main(void) {
	become_nobody();
	prctl(PR_SET_DUMPABLE, 1);
	uid_t u = getuid();
	gid_t gid = getgid();
	char b[64];
	pid_t c = CHILD({
		RET(unshare(CLONE_NEWUSER));
		show("unmapped");
		show_file("/proc/self/uid_map");
		snprintf(b, sizeof b, "0 %d 1\n", u);
		RET(put("/proc/self/gid_map", "0 65534 1"));
		RET(put("/proc/self/setgroups", "deny"));
		RET(put("/proc/self/uid_map", "0 12345 1"));
		RET(put("/proc/self/uid_map", b));
		RET(put("/proc/self/uid_map", b));
		snprintf(b, sizeof b, "100 %d 1", gid);
		RET(put("/proc/self/gid_map", b));
		show("mapped");
		char m[128];
		int fd = open("/proc/self/uid_map", O_RDONLY);
		m[read(fd, m, 127)] = 0;
		unsigned x[3];
		sscanf(m, "%u %u %u", x, x + 1, x + 2);
		printf("%u %d %u, length of the line %zu\n", x[0], x[1] == u, x[2], strlen(m));
		show_file("/proc/self/setgroups");
		RET(setgroups(0, NULL));
		RET(setuid(0));
		RET(setuid(5));
		RET(sethostname("x", 1));
		RET(unshare(CLONE_NEWUTS));
		RET(sethostname("inside", 6));
		RET(unshare(CLONE_NEWNS));
		RET(mount("t", "/tmp", "tmpfs", 0, NULL));
		struct stat st;
		close(open("/tmp/f", O_CREAT | O_WRONLY, 0644));
		stat("/tmp/f", &st);
		printf("owner %d %d\n", st.st_uid, st.st_gid);
		stat("/proc/1", &st);
		RET(chown("/tmp/f", 5, -1));
		RET(prctl(PR_CAPBSET_READ, 21));
		RET(mknod("/tmp/null", S_IFCHR | 0666, 0x103));
		RET(syscall(SYS_reboot, 0, 0, 0, 0));
	});
	reap("child", c);
	return 0;
}
