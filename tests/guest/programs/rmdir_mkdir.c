// mkdir and rmdir: modes, umask, link counts, and errors.
#include "check.h"
int main(void) {
	struct stat st;
	umask(027);
	RET(mkdir("d", 0777));
	stat("d", &st);
	printf("%o\n", st.st_mode);
	RET(mkdir("d", 0777));
	RET(mkdir("x/y", 0777));
	close(file_with("f", ""));
	RET(mkdir("f", 0777));
	RET(mkdir("f/x", 0777));
	RET(mkdir("d/sub", 01777));
	stat("d/sub", &st);
	printf("%o\n", st.st_mode);
	RET(rmdir("d"));
	RET(rmdir("f"));
	RET(rmdir("nothing"));
	RET(rmdir("d/sub"));
	RET(rmdir("d"));
	RET(rmdir("/"));
	symlink("nowhere", "l");
	RET(mkdir("l", 0755));
	int fd = open(".", O_RDONLY);
	RET(mkdirat(fd, "at", 0755));
	RET(unlinkat(fd, "at", 0));
	RET(unlinkat(fd, "at", AT_REMOVEDIR));
	RET(mkdirat(99, "at", 0755));
	umask(0);
	if (geteuid() == 0) {
		mkdir("g", 0755);
		chown("g", 0, 77);
		chmod("g", 02775);
		mkdir("g/sub", 0755);
		close(file_with("g/file", ""));
		stat("g/sub", &st);
		printf("setgid is inherited: %d gid %d\n", (st.st_mode & S_ISGID) != 0, st.st_gid);
		stat("g/file", &st);
		printf("file: %d gid %d\n", (st.st_mode & S_ISGID) != 0, st.st_gid);
	}
	return 0;
}
