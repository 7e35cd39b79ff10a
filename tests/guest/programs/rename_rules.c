// rename: over files, directories, itself, hard links of the same file, into itself, and with open descriptors.
#include "check.h"
int main(void) {
	int fd = file_with("a", "file a");
	close(file_with("b", "file b"));
	RET(rename("a", "b"));
	show_file("b");
	RET(access("a", F_OK));
	RET(pwrite(fd, "F", 1, 0));
	show_file("b");
	RET(rename("b", "b"));
	RET(link("b", "c"));
	RET(rename("b", "c"));
	RET(access("b", F_OK));
	mkdir("d", 0755);
	mkdir("e", 0755);
	close(file_with("e/x", "x"));
	RET(rename("d", "e"));
	RET(rename("e", "d"));
	show_file("d/x");
	RET(rename("d", "d/sub"));
	RET(rename("b", "d"));
	RET(rename("d", "b"));
	mkdir("empty", 0755);
	RET(rename("b", "empty"));
	RET(rename("nothing", "z"));
	RET(rename("b", "nodir/z"));
	RET(rename("", "z"));
	RET(rename("b", ""));
	RET(rename(".", "z"));
	RET(rename("d/..", "z"));
	RET(rename("d", "empty/"));
	RET(rename("b", "z/"));
	// A directory that is a working directory keeps being it.
	mkdir("w", 0755);
	chdir("w");
	RET(rename("../w", "../v"));
	char cwd[512];
	getcwd(cwd, sizeof cwd);
	printf("%s\n", strrchr(cwd, '/'));
	chdir("..");
	int dir = open("v", O_RDONLY | O_DIRECTORY);
	RET(renameat(AT_FDCWD, "c", dir, "moved"));
	show_file("v/moved");
	RET(renameat(fd, "c", dir, "moved"));
	RET(renameat(99, "c", dir, "moved"));
	return 0;
}
