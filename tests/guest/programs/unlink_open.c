// A file that is unlinked while open stays usable; removed directories refuse new entries.
#include "check.h"
int main(void) {
	int fd = file_with("f", "content");
	RET(unlink("f"));
	char b[16] = "";
	RET(pread(fd, b, 7, 0));
	printf("%s\n", b);
	RET(pwrite(fd, "more", 4, 7));
	struct stat st;
	fstat(fd, &st);
	printf("size %ld links %ld\n", (long)st.st_size, (long)st.st_nlink);
	char path[64], link[512] = "";
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	readlink(path, link, sizeof link - 1);
	printf("%s\n", strrchr(link, '/'));
	int again = MUST(open(path, O_RDONLY));
	RET(read(again, b, 16));
	mkdir("d", 0755);
	int d = open("d", O_RDONLY | O_DIRECTORY);
	chdir("d");
	RET(rmdir("../d"));
	RET(open("x", O_CREAT | O_WRONLY, 0644));
	RET(mkdir("y", 0755));
	RET(openat(d, "x", O_CREAT | O_WRONLY, 0644));
	RET(syscall(SYS_getcwd, link, sizeof link));
	OK(open(".", O_RDONLY));
	RET(access("..", F_OK));
	fstat(d, &st);
	printf("links %ld\n", (long)st.st_nlink);
	RET(rmdir("../nothing"));
	RET(unlinkat(d, "", AT_REMOVEDIR));
	RET(unlinkat(AT_FDCWD, "x", 0x8000));
	return 0;
}
