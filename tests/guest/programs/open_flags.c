// open: O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, access modes and F_GETFL.
#include "check.h"
int main(void) {
	umask(022);
	OK(open("new", O_RDONLY));
	int fd = MUST(open("new", O_WRONLY | O_CREAT | O_EXCL, 0666));
	RET(open("new", O_WRONLY | O_CREAT | O_EXCL, 0666));
	struct stat st;
	fstat(fd, &st);
	printf("mode %o\n", st.st_mode);
	RET(write(fd, "hello", 5));
	char b[8];
	RET(read(fd, b, 5));
	RET(fcntl(fd, F_GETFL) & O_ACCMODE);
	int a = MUST(open("new", O_RDWR | O_APPEND));
	RET(write(a, " more", 5));
	RET(lseek(a, 0, SEEK_CUR));
	RET(pwrite(a, "!", 1, 0));
	fstat(a, &st);
	printf("size %ld\n", (long)st.st_size);
	OK(open("new", O_RDONLY | O_TRUNC));
	fstat(a, &st);
	printf("size %ld\n", (long)st.st_size);
	RET(open("new", O_DIRECTORY));
	OK(open(".", O_DIRECTORY));
	RET(open(".", O_WRONLY));
	RET(open(".", O_RDONLY | O_CREAT, 0644));
	RET(open("dir/", O_WRONLY | O_CREAT, 0644));
	symlink("new", "link");
	RET(open("link", O_NOFOLLOW));
	OK(open("link", O_RDONLY));
	symlink("target", "dangling");
	RET(open("dangling", O_RDONLY));
	RET(open("dangling", O_WRONLY | O_CREAT | O_EXCL, 0644));
	OK(open("dangling", O_WRONLY | O_CREAT, 0644));
	RET(access("target", F_OK));
	RET(open("new/", O_RDONLY));
	RET(open("new/x", O_RDONLY));
	RET(open("", O_RDONLY));
	RET(open("nodir/x", O_WRONLY | O_CREAT, 0644));
	RET(fcntl(MUST(open("new", O_RDONLY | O_CLOEXEC)), F_GETFD));
	int three = MUST(open("new", O_ACCMODE));
	RET(read(three, b, 1));
	RET(write(three, b, 1));
	OK(open("mode", O_RDWR | O_CREAT, 0));
	stat("mode", &st);
	printf("mode %o\n", st.st_mode);
	return 0;
}
