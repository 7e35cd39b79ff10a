// chmod and chown: by path, descriptor and *at; -1; links; and clearing of set-id bits.
#include "check.h"
static void show(const char *n) {
	struct stat st;
	MUST(lstat(n, &st));
	printf("%s %o %d %d\n", n, st.st_mode & 07777, st.st_uid == getuid() ? -1 : (int)st.st_uid, st.st_gid == getgid() ? -1 : (int)st.st_gid);
}
int main(void) {
	MUST(chmod(".", 0755));
	int fd = file_with("f", "");
	RET(chmod("f", 0));
	show("f");
	RET(fchmod(fd, 07777));
	show("f");
	RET(fchmodat(AT_FDCWD, "f", 0123, 0));
	show("f");
	RET(chmod("f", 0170644));
	show("f");
	RET(chmod("none", 0644));
	RET(fchmod(99, 0644));
	RET(chmod(BAD, 0));
	RET(syscall(452, AT_FDCWD, "f", 0600, 0x8000)); // fchmodat2
	RET(chown("f", -1, -1));
	if (geteuid() == 0) {
		symlink("f", "l");
		chmod("f", 06755);
		RET(chown("f", 5, 6));
		show("f");
		chmod("f", 02745);
		RET(chown("f", 7, -1));
		show("f");
		RET(lchown("l", 8, 9));
		show("l");
		show("f");
		RET(fchownat(fd, "", 10, 11, AT_EMPTY_PATH));
		show("f");
		reap("owner", CHILD({ setgroups(1, (gid_t[]){50}); setresgid(11, 11, 11); setresuid(10, 10, 10); RET(chmod("f", 0700)); RET(chown("f", -1, 50)); show("f"); RET(chown("f", -1, 51)); RET(chown("f", 12, -1)); RET(chmod("f", 02770)); show("f"); }));
		RET(chown("f", -1, 51));
		reap("owner, other group", CHILD({ setgroups(0, NULL); setresgid(11, 11, 11); setresuid(10, 10, 10); RET(chmod("f", 02770)); show("f"); }));
		reap("other", CHILD({ become_nobody(); RET(chmod("f", 0)); RET(chown("f", -1, -1)); }));
	} else {
		RET(chown("f", 0, -1));
	}
	RET(chown("none", 0, 0));
	return 0;
}
