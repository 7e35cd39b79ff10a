// Time stamps: what each operation touches, utimensat with NOW, OMIT and exact times, and who may.
#include "check.h"
static struct stat st;
static struct timespec m, c, a;
static void mark(void) {
	ms(20);
	stat("f", &st);
	m = st.st_mtim;
	c = st.st_ctim;
	a = st.st_atim;
	ms(20);
}
#define NE(x, y) ((x).tv_sec != (y).tv_sec || (x).tv_nsec != (y).tv_nsec)
static void what(const char *op) {
	stat("f", &st);
	printf("%s: mtime %d ctime %d\n", op, NE(st.st_mtim, m), NE(st.st_ctim, c));
	mark();
}
int main(void) {
	int fd = file_with("f", "x");
	mark();
	pwrite(fd, "y", 1, 0);
	what("write");
	pwrite(fd, "y", 0, 0);
	what("empty write");
	chmod("f", 0600);
	what("chmod");
	link("f", "g");
	what("link");
	rename("f", "h");
	rename("h", "f");
	stat("f", &st);
	printf("rename: mtime %d\n", NE(st.st_mtim, m));
	mark();
	ftruncate(fd, 10);
	what("truncate");
	ftruncate(fd, 10);
	mark();
	struct timespec t[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
	RET(utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &st);
	printf("%ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	struct timespec o[2] = {{0, UTIME_OMIT}, {5, 0}};
	RET(utimensat(AT_FDCWD, "f", o, 0));
	stat("f", &st);
	printf("%ld %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
	struct timespec n[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
	RET(utimensat(AT_FDCWD, "f", n, 0));
	stat("f", &st);
	printf("%d %ld\n", labs(st.st_atim.tv_sec - time(NULL)) < 5, (long)st.st_mtim.tv_sec);
	struct timespec bad[2] = {{0, 1000000000}, {0, 0}}, neg[2] = {{-1, 0}, {-2, 0}};
	RET(utimensat(AT_FDCWD, "f", bad, 0));
	RET(utimensat(AT_FDCWD, "none", t, 0));
	RET(utimensat(AT_FDCWD, "f", t, 0x8000));
	RET(futimens(fd, neg));
	fstat(fd, &st);
	printf("%ld %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
	symlink("f", "l");
	RET(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
	lstat("l", &st);
	printf("%ld\n", (long)st.st_mtim.tv_sec);
	chmod("f", 0644);
	reap("nobody", CHILD({ if (geteuid() == 0) { become_nobody(); RET(utimensat(AT_FDCWD, "f", t, 0)); RET(utimensat(AT_FDCWD, "f", NULL, 0)); } }));
	// A new entry touches the directory.
	mkdir("d", 0755);
	utimensat(AT_FDCWD, "d", t, 0);
	close(open("d/x", O_CREAT | O_WRONLY, 0644));
	stat("d", &st);
	printf("directory touched: %d\n", st.st_mtim.tv_sec != 1100000000);
	return 0;
}
