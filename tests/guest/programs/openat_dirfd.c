// The *at calls: relative to a directory descriptor that follows the directory when it moves.
#include "check.h"
int main(void) {
	mkdir("d", 0755);
	int d = open("d", O_RDONLY | O_DIRECTORY);
	int f = openat(d, "f", O_CREAT | O_RDWR, 0644);
	OK(f);
	RET(mkdirat(d, "sub", 0755));
	RET(symlinkat("f", d, "l"));
	RET(mknodat(d, "p", S_IFIFO | 0644, 0));
	RET(linkat(d, "f", d, "hard", 0));
	RET(rename("d", "e"));
	RET(faccessat(d, "f", F_OK, 0));
	OK(openat(d, "../e/f", O_RDONLY));
	RET(unlinkat(d, "hard", 0));
	RET(unlinkat(d, "sub", 0));
	RET(unlinkat(d, "sub", AT_REMOVEDIR));
	RET(fchmodat(d, "f", 0600, 0));
	RET(openat(f, "x", O_RDONLY));
	RET(openat(-1, "x", O_RDONLY));
	OK(openat(-1, "/dev/null", O_RDONLY));
	RET(openat(f, "", O_RDONLY));
	RET(openat(d, "", O_RDONLY));
	struct stat st;
	RET(fstatat(f, "", &st, AT_EMPTY_PATH));
	RET(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
	IS(S_ISDIR(st.st_mode));
	return 0;
}
