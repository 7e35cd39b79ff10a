// Permission checks for owner, group, others, search on directories, access with real ids, and sticky directories.
#include "check.h"
int main(void) {
	umask(0);
	close(file_with("f", "x"));
	RET(access("f", F_OK));
	RET(access("f", X_OK));
	RET(access("f", 0x10));
	RET(faccessat(AT_FDCWD, "f", R_OK, 0x8000));
	if (geteuid() != 0) {
		chmod("f", 0);
		RET(access("f", R_OK));
		RET(open("f", O_RDONLY));
		return 0;
	}
	RET(chmod(".", 0755));
	mkdir("d", 0711);
	close(file_with("d/known", "k"));
	chmod("d/known", 0644);
	close(file_with("own", "x"));
	chown("own", 10, 20);
	chmod("own", 0074);
	mkdir("sticky", 01777);
	close(file_with("sticky/root", "r"));
	mkdir("closed", 0700);
	reap("owner", CHILD({ setgroups(0, NULL); setresgid(20, 20, 20); setresuid(10, 10, 10); RET(access("own", R_OK)); RET(access("own", X_OK)); }));
	reap("group", CHILD({ setgroups(1, (gid_t[]){20}); setresgid(1, 1, 1); setresuid(11, 11, 11); RET(access("own", R_OK | W_OK | X_OK)); }));
	reap("other", CHILD({
		become_nobody();
		RET(access("own", R_OK));
		RET(access("own", W_OK));
		RET(open("d", O_RDONLY));
		RET(access("d/known", R_OK));
		RET(access("d/unknown", F_OK));
		RET(access("closed/x", F_OK));
		RET(chdir("closed"));
		RET(unlink("sticky/root"));
		RET(rename("sticky/root", "sticky/mine"));
		OK(open("sticky/mine", O_CREAT | O_WRONLY, 0644));
		RET(unlink("sticky/mine"));
		RET(mkdir("d/new", 0755));
		RET(unlink("f"));
		RET(open("own", O_RDONLY | O_CREAT, 0644) >= 0);
		RET(open("own", O_WRONLY));
	}));
	reap("effective and real", CHILD({
		setresuid(65534, 0, 0);
		RET(access("closed", R_OK));
		RET(faccessat(AT_FDCWD, "closed", R_OK, AT_EACCESS));
		OK(open("closed", O_RDONLY));
	}));
	chmod("f", 0);
	RET(access("f", R_OK | W_OK));
	RET(access("f", X_OK));
	return 0;
}
