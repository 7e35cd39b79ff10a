// Hard links: counts, same inode, after unlink of each name, and what cannot be linked.
#include "check.h"
static struct stat st, su;
static void n(const char *f) {
	stat(f, &st);
	printf("%s: links %ld size %ld\n", f, (long)st.st_nlink, (long)st.st_size);
}
int main(void) {
	int fd = file_with("a", "text");
	RET(link("a", "b"));
	n("a");
	stat("b", &su);
	IS(st.st_ino == su.st_ino);
	RET(link("a", "b"));
	RET(pwrite(fd, "T", 1, 0));
	show_file("b");
	RET(unlink("a"));
	n("b");
	mkdir("d", 0755);
	RET(link("b", "d/c"));
	RET(link("d", "e"));
	RET(link("nothing", "e"));
	RET(link("b", "nodir/e"));
	RET(unlink("b"));
	RET(unlink("d/c"));
	fstat(fd, &st);
	printf("open but gone: links %ld\n", (long)st.st_nlink);
	RET(link("/dev/null", "null"));
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	RET(linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW));
	stat("d", &st);
	RET(linkat(AT_FDCWD, "d", AT_FDCWD, "x", 0x8000));
	return 0;
}
