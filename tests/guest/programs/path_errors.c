// Path resolution: too long, loops, dots, trailing slashes, empty, and many components.
#include "check.h"
int main(void) {
	char b[6000];
	memset(b, 'a', sizeof b);
	b[256] = 0;
	RET(access(b, F_OK));
	RET(mkdir(b, 0755));
	b[255] = 0;
	RET(mkdir(b, 0755));
	RET(rmdir(b));
	memset(b, '/', sizeof b);
	b[4096] = 0;
	RET(access(b, F_OK));
	b[4095] = 0;
	RET(access(b, F_OK));
	mkdir("d", 0755);
	close(file_with("f", "x"));
	RET(access("d/../f", F_OK));
	RET(access("./././d/.", F_OK));
	RET(access("//f", F_OK) == -1);
	RET(access("f/..", F_OK));
	RET(access("f/.", F_OK));
	RET(access("nothing/..", F_OK));
	RET(access("d//..///f", F_OK));
	RET(access("/../../..", F_OK));
	RET(mkdir("e/", 0755));
	RET(rmdir("e/"));
	RET(rmdir("d/."));
	RET(rmdir("d/.."));
	RET(rmdir("."));
	RET(unlink("d"));
	RET(unlink("f/"));
	RET(rename("f", "g/"));
	RET(rename("d", "dd/"));
	RET(mkdir("dd/.", 0755));
	RET(mkdir("/", 0755));
	RET(symlink("a", ""));
	RET(symlink("", "emptylink"));
	// 40 links are followed, 41 are not.
	char from[16], to[16];
	for (int i = 0; i < 45; i++) {
		snprintf(from, sizeof from, "l%d", i);
		snprintf(to, sizeof to, "l%d", i + 1);
		symlink(to, from);
	}
	close(file_with("l45", "end"));
	RET(access("l5", F_OK));
	RET(access("l4", F_OK));
	RET(access(BAD, F_OK));
	return 0;
}
