// New files in a set-group-id directory: the group is inherited; the bit stays only for members of the group, and an
// umask without group execution does not save it.
#include "check.h"
static void show(const char *what, const char *name) {
	struct stat st;
	MUST(stat(name, &st));
	printf("%s: mode %o group %d\n", what, st.st_mode & 07777, st.st_gid);
}
static void make(const char *who) {
	static const int masks[] = {0, S_IXGRP, 022};
	printf("%s\n", who);
	for (int i = 0; i < 3; i++) {
		umask(masks[i]);
		printf("umask %o\n", masks[i]);
		close(MUST(open("d/x", O_CREAT | O_EXCL | O_WRONLY, 02777)));
		show("executable", "d/x");
		close(MUST(open("d/p", O_CREAT | O_EXCL | O_WRONLY, 02666)));
		show("plain", "d/p");
		MUST(mkdir("d/d", 0777));
		show("directory", "d/d");
		MUST(mkfifo("d/f", 02777));
		show("fifo", "d/f");
		int t = MUST(open("d", O_TMPFILE | O_RDWR, 02777));
		char path[64];
		snprintf(path, sizeof path, "/proc/self/fd/%d", t);
		show("without a name", path);
		close(t);
		MUST(unlink("d/x"));
		MUST(unlink("d/p"));
		MUST(unlink("d/f"));
		MUST(rmdir("d/d"));
	}
	umask(0);
}
int main(void) {
	if (geteuid() != 0) {
		printf("not root\n");
		return 0;
	}
	MUST(mkdir("d", 0777));
	MUST(chown("d", 0, 1234));
	MUST(chmod("d", 02777));
	make("root");
	MUST(syscall(SYS_setgroups, 0, NULL));
	MUST(setresgid(4321, 4321, 4321));
	pid_t c = CHILD({ MUST(setresuid(1000, 1000, 1000)); make("not in the group"); });
	reap("outsider", c);
	gid_t g = 1234;
	MUST(syscall(SYS_setgroups, 1, &g));
	MUST(setresuid(1000, 1000, 1000));
	make("in the group");
	return 0;
}
