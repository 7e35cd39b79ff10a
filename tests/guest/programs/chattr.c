// chattr(1): flags of inodes on tmpfs: what immutable and append-only files refuse, who may set them.
#include "check.h"
#include <linux/fs.h>
#include <sys/xattr.h>
static int flags(int fd) {
	int v = -1;
	MUST(ioctl(fd, FS_IOC_GETFLAGS, &v));
	return v;
}
static int set(int fd, int v) { return ioctl(fd, FS_IOC_SETFLAGS, &v); }
int main(void) {
	private_mounts();
	MUST(mkdir("m", 0755));
	MUST(mount("none", "m", "tmpfs", 0, NULL));
	MUST(chdir("m"));
	int fd = file_with("f", "text");
	printf("new: %x\n", flags(fd));
	RET(set(fd, FS_NODUMP_FL));
	printf("nodump: %x\n", flags(fd));
	RET(set(fd, FS_COMPR_FL));
	RET(set(fd, FS_IMMUTABLE_FL));
	printf("immutable: %x\n", flags(fd));
	OK(open("f", O_RDWR));
	OK(open("f", O_RDONLY));
	RET(truncate("f", 0));
	RET(chmod("f", 0600));
	RET(chown("f", 1, 1));
	RET(unlink("f"));
	RET(rename("f", "g"));
	RET(link("f", "g"));
	RET(setxattr("f", "user.a", "b", 1, 0));
	RET(removexattr("f", "user.a"));
	RET(utimensat(AT_FDCWD, "f", NULL, 0));
	RET(access("f", W_OK));
	RET(pwrite(fd, "T", 1, 0));
	RET(ftruncate(fd, 1));
	RET(fallocate(fd, 0, 0, 100));
	struct statx x;
	RET(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
	printf("statx: immutable %d append %d nodump %d\n", !!(x.stx_attributes & STATX_ATTR_IMMUTABLE),
	       !!(x.stx_attributes & STATX_ATTR_APPEND), !!(x.stx_attributes & STATX_ATTR_NODUMP));
	RET(set(fd, FS_APPEND_FL));
	OK(open("f", O_RDWR));
	OK(open("f", O_WRONLY | O_APPEND));
	OK(open("f", O_WRONLY | O_APPEND | O_TRUNC));
	RET(truncate("f", 0));
	RET(unlink("f"));
	RET(chmod("f", 0600));
	RET(setxattr("f", "user.a", "b", 1, 0));
	RET(utimensat(AT_FDCWD, "f", NULL, 0));
	int a = MUST(open("f", O_WRONLY | O_APPEND));
	RET(fcntl(a, F_SETFL, 0));
	RET(write(a, "more", 4));
	RET(set(fd, 0));
	show_file("f");

	MUST(mkdir("d", 0777));
	close(file_with("d/f", ""));
	int d = MUST(open("d", O_RDONLY));
	RET(set(d, FS_APPEND_FL));
	OK(open("d/g", O_CREAT | O_WRONLY, 0600));
	RET(unlink("d/f"));
	RET(rename("d/f", "d/h"));
	RET(rmdir("d"));
	RET(set(d, FS_IMMUTABLE_FL));
	OK(open("d/i", O_CREAT | O_WRONLY, 0600));
	OK(open("d/f", O_WRONLY));
	RET(mkdir("d/k", 0700));
	RET(set(d, 0));

	MUST(mkfifo("p", 0600));
	int v = 0;
	RET(ioctl(MUST(open("p", O_RDWR)), FS_IOC_GETFLAGS, &v));
	MUST(chmod("f", 0666));
	become_nobody();
	fd = MUST(open("f", O_RDWR));
	RET(set(fd, FS_NODUMP_FL));
	int own = MUST(open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
	RET(set(own, FS_NODUMP_FL));
	RET(set(own, FS_NODUMP_FL | FS_IMMUTABLE_FL));
	return 0;
}
