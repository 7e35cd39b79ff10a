// stat of each kind of file: modes, sizes, devices, link counts; fstatat flags; statx masks.
#include "check.h"
#include <sys/sysmacros.h>
static void show(const char *n, int flags) {
	struct stat st;
	if (fstatat(AT_FDCWD, n, &st, flags)) {
		printf("%s: %s\n", n, ename(errno));
		return;
	}
	printf("%s: %o links %ld size %ld uid %d blksize>0 %d rdev %d:%d\n", n, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_nlink, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, st.st_uid == getuid(), st.st_blksize > 0, major(st.st_rdev), minor(st.st_rdev));
}
int main(void) {
	umask(0);
	close(open("f", O_CREAT | O_WRONLY, 0640));
	mkdir("d", 0751);
	mkfifo("p", 0604);
	symlink("f", "l");
	struct sockaddr_un a = {AF_UNIX, "s"};
	bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof a);
	const char *n[] = {"f", "d", "p", "l", "s", "none", "f/x"};
	for (int i = 0; i < 7; i++)
		show(n[i], 0);
	show("l", AT_SYMLINK_NOFOLLOW);
	show("/dev/null", 0);
	show("/dev/zero", 0);
	show("/dev/full", 0);
	show("/dev/urandom", 0);
	show("/dev/tty", 0);
	show("", 0);
	show("f", 0x8000);
	int p[2];
	pipe(p);
	struct stat st;
	RET(fstat(p[0], &st));
	printf("pipe %o\n", st.st_mode);
	socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	RET(fstat(p[0], &st));
	printf("socket %o\n", st.st_mode);
	RET(fstat(99, &st));
	RET(fstat(0, BAD));
	struct statx sx;
	RET(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx));
	printf("mask %x mode %o size %ld\n", sx.stx_mask & STATX_BASIC_STATS, sx.stx_mode, (long)sx.stx_size);
	RET(statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_SIZE, &sx));
	printf("%o %ld\n", sx.stx_mode & S_IFMT, (long)sx.stx_size);
	RET(statx(p[0], "", AT_EMPTY_PATH, STATX_TYPE, &sx));
	RET(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_TYPE, &sx));
	RET(statx(AT_FDCWD, "f", 0, 0x80000000, &sx));
	RET(statx(AT_FDCWD, "f", 0x8000, STATX_TYPE, &sx));
	RET(statx(AT_FDCWD, "f", 0, STATX_TYPE, BAD));
	return 0;
}
