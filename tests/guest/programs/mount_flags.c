// Mount flags: read-only, noexec, nosuid, nodev, per mount and by remount, and what they forbid.
#include "check.h"
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
int main(void) {
	private_mounts();
	mkdir("m", 0755);
	MUST(mount("t", "m", "tmpfs", 0, NULL));
	int fd = open("m/s", O_CREAT | O_WRONLY, 0755);
	write(fd, "#!/bin/sh\nexit 3\n", 17);
	RET(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	close(fd);
	RET(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	RET(open("m/x", O_CREAT | O_WRONLY, 0644));
	RET(open("m/s", O_WRONLY));
	OK(open("m/s", O_RDONLY));
	RET(unlink("m/s"));
	RET(mkdir("m/d", 0755));
	RET(mkdir("m/s", 0755));
	RET(chmod("m/s", 0700));
	RET(access("m/s", W_OK));
	RET(utimensat(AT_FDCWD, "m/s", NULL, 0));
	RET(rename("m/s", "m/t"));
	struct statvfs v;
	statvfs("m", &v);
	printf("readonly %d\n", (v.f_flag & ST_RDONLY) != 0);
	RET(mount(NULL, "m", NULL, MS_REMOUNT | MS_NOEXEC | MS_NODEV | MS_NOSUID, NULL));
	statvfs("m", &v);
	printf("flags %lx\n", v.f_flag & 0xf);
	reap("noexec", CHILD({ execl("m/s", "s", NULL); printf("%s\n", ename(errno)); }));
	RET(access("m/s", X_OK));
	OK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open("m/s", O_RDONLY), 0));
	RET(mknod("m/null", S_IFCHR | 0666, makedev(1, 3)));
	RET(open("m/null", O_RDWR));
	RET(mount(NULL, "m", NULL, MS_REMOUNT, NULL));
	RET(open("m/null", O_RDWR) >= 0);
	reap("exec again", CHILD({ execl("m/s", "s", NULL); }));
	// A read-only bind mount of a writable file system.
	mkdir("ro", 0755);
	RET(mount("m", "ro", NULL, MS_BIND, NULL));
	RET(mount(NULL, "ro", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	RET(open("ro/new", O_CREAT | O_WRONLY, 0644));
	OK(open("m/new", O_CREAT | O_WRONLY, 0644));
	RET(access("ro/new", F_OK));
	return 0;
}
