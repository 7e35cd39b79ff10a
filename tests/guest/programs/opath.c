// O_PATH descriptors: what works with them and what does not.
#include "check.h"
int main(void) {
	char b[8];
	close(file_with("f", "data"));
	mkdir("d", 0755);
	close(file_with("d/in", "inside"));
	symlink("f", "l");
	int fd = MUST(open("f", O_PATH));
	RET(read(fd, b, 1));
	RET(write(fd, b, 1));
	RET(fchmod(fd, 0600));
	RET(fchown(fd, -1, -1));
	RET(ioctl(fd, FIOCLEX));
	RET(fsync(fd));
	RET(lseek(fd, 0, SEEK_SET));
	struct stat st;
	RET(fstat(fd, &st));
	RET(fcntl(fd, F_GETFD));
	RET(fcntl(fd, F_GETFL) == O_PATH || fcntl(fd, F_GETFL) == (O_PATH | 0100000));
	RET(fcntl(fd, F_SETFL, O_APPEND));
	IS(dup(fd) > 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int r = open(path, O_RDWR);
	RET(read(r, b, 4));
	RET(chmod(path, 0600));
	stat("f", &st);
	printf("%o\n", st.st_mode & 0777);
	int d = open("d", O_PATH | O_DIRECTORY);
	RET(read(openat(d, "in", O_RDONLY), b, 6));
	RET(fchdir(d));
	RET(access("in", F_OK));
	RET(fchdir(fd));
	chdir("..");
	int l = open("l", O_PATH | O_NOFOLLOW);
	fstat(l, &st);
	printf("the link itself: %d\n", S_ISLNK(st.st_mode));
	RET(openat(l, "", O_RDONLY));
	RET(syscall(SYS_getdents64, d, b, 8));
	RET(poll(&(struct pollfd){fd, POLLIN}, 1, 0));
	RET(fstatat(fd, "", &st, AT_EMPTY_PATH));
	RET(faccessat(fd, "", R_OK, AT_EMPTY_PATH));
	OK(open("f", O_PATH | O_CREAT | O_TRUNC | O_WRONLY));
	stat("f", &st);
	printf("not truncated: %ld\n", (long)st.st_size);
	return 0;
}
