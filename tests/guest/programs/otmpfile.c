// O_TMPFILE: a nameless file, given a name by linkat, and O_EXCL against it.
#include "check.h"
int main(void) {
	umask(0);
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	OK(fd);
	RET(write(fd, "nameless", 8));
	struct stat st;
	fstat(fd, &st);
	printf("links %ld mode %o size %ld\n", (long)st.st_nlink, st.st_mode, (long)st.st_size);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	RET(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	show_file("named");
	fstat(fd, &st);
	printf("links %ld\n", (long)st.st_nlink);
	RET(unlink("named"));
	int ex = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	OK(ex);
	snprintf(path, sizeof path, "/proc/self/fd/%d", ex);
	RET(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
	RET(open(".", O_TMPFILE | O_RDONLY, 0600));
	RET(open("nothing", O_TMPFILE | O_RDWR, 0600));
	close(file_with("f", ""));
	RET(open("f", O_TMPFILE | O_RDWR, 0600));
	if (geteuid() == 0) {
		int e = open(".", O_TMPFILE | O_WRONLY, 0600);
		RET(linkat(e, "", AT_FDCWD, "byempty", AT_EMPTY_PATH));
		RET(access("byempty", F_OK));
	}
	return 0;
}
