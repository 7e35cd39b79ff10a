// fsconfig: flags of every file system count by name, whatever kind of value comes with them; what is reconfigured keeps
// no mount busy; and propagate_from in mountinfo, which names a group that can be seen.
#include "check.h"
#define sys_fsconfig(fd, cmd, key, value, aux) syscall(431, fd, cmd, key, value, aux)
static int mounted_ro(const char *at) {
	char line[512], want[64];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	int ro = -1;
	snprintf(want, sizeof want, "/%s ", at);
	while (fgets(line, sizeof line, f))
		if (strstr(line, want))
			ro = strstr(line, " - tmpfs ") && strstr(strstr(line, " - tmpfs "), " ro");
	fclose(f);
	return ro;
}
static void optional(const char *dir) {
	char line[1024];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	while (fgets(line, sizeof line, f))
		if (strstr(line, dir))
			printf("%s: shared %d master %d propagate_from %d\n", dir, !!strstr(line, " shared:"), !!strstr(line, " master:"),
			       !!strstr(line, " propagate_from:"));
	fclose(f);
}
int main(void) {
	private_mounts();
	MUST(mkdir("mnt1", 0755));
	int fs = MUST(syscall(430, "tmpfs", 0));
	RET(sys_fsconfig(fs, 0, "rw", NULL, 0));
	RET(sys_fsconfig(fs, 1, "sync", "false", 0));
	RET(sys_fsconfig(fs, 2, "sync", "binary", 6));
	RET(sys_fsconfig(fs, 3, "sync", "nowhere", AT_FDCWD));
	RET(sys_fsconfig(fs, 3, "sync", "", AT_FDCWD));
	RET(sys_fsconfig(fs, 4, "sync", "", AT_FDCWD));
	RET(sys_fsconfig(fs, 5, "sync", NULL, 0));
	RET(sys_fsconfig(fs, 5, "sync", NULL, 99));
	RET(sys_fsconfig(fs, 3, "size", "nowhere", AT_FDCWD));
	RET(sys_fsconfig(fs, 3, "source", "nowhere", AT_FDCWD));
	RET(sys_fsconfig(fs, 1, "size", "1m", 0));
	RET(sys_fsconfig(fs, 1, "source", "here", 0));
	RET(sys_fsconfig(fs, 6, NULL, NULL, 0));
	int m = MUST(syscall(432, fs, 0, 0));
	RET(syscall(429, m, "", AT_FDCWD, "mnt1", 4));
	close(m);
	RET(mounted_ro("mnt1"));
	RET(sys_fsconfig(fs, 0, "ro", NULL, 0));
	RET(sys_fsconfig(fs, 7, NULL, NULL, 0));
	RET(mounted_ro("mnt1"));
	int pick = MUST(syscall(433, AT_FDCWD, "mnt1", 0));
	RET(sys_fsconfig(pick, 1, "rw", "whatever", 0));
	RET(sys_fsconfig(pick, 7, NULL, NULL, 0));
	RET(mounted_ro("mnt1"));
	RET(umount2("mnt1", 0));
	close(pick);
	close(fs);

	// A slave of a slave, where the mount between them cannot be seen from a new root.
	MUST(mount("top", "mnt1", "tmpfs", 0, NULL));
	MUST(mkdir("mnt1/source", 0755));
	MUST(mkdir("mnt1/root", 0755));
	MUST(mkdir("between", 0755));
	MUST(mount("s", "mnt1/source", "tmpfs", 0, NULL));
	MUST(mount(NULL, "mnt1/source", NULL, MS_SHARED, NULL));
	MUST(mount("mnt1/source", "between", NULL, MS_BIND, NULL));
	MUST(mount(NULL, "between", NULL, MS_SLAVE, NULL));
	MUST(mount(NULL, "between", NULL, MS_SHARED, NULL));
	MUST(mount("between", "mnt1/root", NULL, MS_BIND, NULL));
	MUST(mount(NULL, "mnt1/root", NULL, MS_SLAVE, NULL));
	optional("mnt1/root ");
	MUST(mkdir("mnt1/proc", 0755));
	MUST(mount("proc", "mnt1/proc", "proc", 0, NULL));
	MUST(chroot("mnt1"));
	MUST(chdir("/"));
	optional(" /root ");
	optional(" /source ");
	return 0;
}
