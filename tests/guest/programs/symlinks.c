// Symbolic links: readlink, truncation, relative to their directory, lstat, links to directories, lchown.
#include "check.h"
int main(void) {
	char b[100];
	mkdir("d", 0755);
	mkdir("d/e", 0755);
	close(file_with("d/f", "in d"));
	RET(symlink("f", "d/rel"));
	RET(symlink("e/../f", "d/up"));
	RET(symlink("d", "dl"));
	RET(symlink("f", "d/rel"));
	memset(b, '#', sizeof b);
	RET(readlink("d/up", b, sizeof b));
	printf("%.8s\n", b);
	RET(readlink("d/up", b, 3));
	RET(readlink("d/up", b, 0));
	RET(readlink("d/f", b, 10));
	RET(readlink("d/up", BAD, 10));
	show_file("d/rel");
	show_file("d/up");
	show_file("dl/f");
	show_file("dl/rel");
	struct stat st;
	lstat("d/up", &st);
	printf("link %d size %ld mode %o\n", S_ISLNK(st.st_mode), (long)st.st_size, st.st_mode & 07777);
	lstat("dl/", &st);
	printf("with a slash it is the directory: %d\n", S_ISDIR(st.st_mode));
	RET(rmdir("dl"));
	RET(rmdir("dl/"));
	RET(unlink("dl"));
	RET(chmod("d/rel", 0600));
	stat("d/f", &st);
	printf("%o\n", st.st_mode & 0777);
	RET(readlinkat(AT_FDCWD, "", b, 10));
	int l = open("d/rel", O_PATH | O_NOFOLLOW);
	RET(readlinkat(l, "", b, 10));
	char big[4200];
	memset(big, 'x', sizeof big);
	big[4096] = 0;
	RET(symlink(big, "big"));
	RET(link("d/rel", "hard"));
	lstat("hard", &st);
	printf("hard link to the link itself: %d\n", S_ISLNK(st.st_mode));
	RET(linkat(AT_FDCWD, "d/rel", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW));
	lstat("hard2", &st);
	printf("followed: %d\n", S_ISREG(st.st_mode));
	return 0;
}
