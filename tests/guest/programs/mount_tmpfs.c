// Mounting tmpfs: it hides and reveals, options, size limit, busy and lazy unmount, errors.
#include "check.h"
#include <sys/statfs.h>
int main(void) {
	RET(mount("none", "none", "tmpfs", 0, NULL) < 0);
	private_mounts();
	mkdir("m", 0755);
	close(file_with("m/hidden", "below"));
	RET(mount("t", "m", "tmpfs", 0, "size=64k,mode=700,nr_inodes=10"));
	RET(access("m/hidden", F_OK));
	struct stat st;
	stat("m", &st);
	printf("%o\n", st.st_mode & 0777);
	struct statfs s;
	statfs("m", &s);
	printf("%lx blocks %ld files %ld\n", (long)s.f_type, (long)(s.f_blocks * s.f_bsize), (long)s.f_files);
	int fd = file_with("m/f", "");
	char b[4096] = "";
	long total = 0, n;
	while ((n = write(fd, b, sizeof b)) > 0)
		total += n;
	printf("wrote %ld then %s\n", total, ename(errno));
	RET(ftruncate(fd, 0));
	RET(write(fd, b, 4096));
	int made = 0;
	char name[16];
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "m/%d", i);
		if (mknod(name, S_IFREG | 0644, 0) == 0)
			made++;
	}
	printf("inodes made %d then %s\n", made, ename(errno));
	RET(umount("m"));
	RET(umount2("m", MNT_DETACH));
	RET(write(fd, b, 1));
	RET(access("m/hidden", F_OK));
	RET(umount("m"));
	RET(umount2("m", 0x100));
	RET(mount("t", "m", "nosuchfs", 0, NULL));
	RET(mount("t", "none", "tmpfs", 0, NULL));
	RET(mount("t", "m", "tmpfs", 0, "bogus=1"));
	RET(mount("t", "m/hidden", "tmpfs", 0, NULL));
	RET(mount("t", "m", NULL, 0, NULL));
	RET(mount("t", BAD, "tmpfs", 0, NULL));
	return 0;
}
