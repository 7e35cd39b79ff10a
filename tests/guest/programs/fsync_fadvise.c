// sync calls, posix_fadvise, readahead, statfs: results and errors on each kind of descriptor.
#include "check.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
int main(void) {
	int fd = file_with("f", "abc"), p[2];
	pipe(p);
	RET(fsync(fd));
	RET(fdatasync(fd));
	RET(fsync(open(".", O_RDONLY)));
	RET(fsync(p[0]));
	RET(fsync(99));
	RET(syncfs(fd));
	RET(syncfs(99));
	RET(sync_file_range(fd, 0, 100, SYNC_FILE_RANGE_WRITE));
	RET(sync_file_range(fd, 0, 100, 0x100));
	RET(sync_file_range(p[0], 0, 100, 2));
	RET(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	RET(posix_fadvise(fd, 0, 0, 99));
	RET(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL));
	RET(posix_fadvise(99, 0, 0, POSIX_FADV_NORMAL));
	RET(readahead(fd, 0, 100));
	RET(readahead(p[0], 0, 100));
	RET(readahead(99, 0, 100));
	struct statfs s;
	RET(statfs(".", &s));
	IS(s.f_bsize > 0 && s.f_namelen == 255 && s.f_blocks >= s.f_bfree && s.f_bfree >= s.f_bavail);
	RET(statfs("/proc", &s));
	printf("proc %lx\n", (long)s.f_type);
	RET(statfs("/dev/shm", &s));
	printf("shm %lx\n", (long)s.f_type);
	RET(fstatfs(p[0], &s));
	printf("pipe %lx\n", (long)s.f_type);
	RET(fstatfs(99, &s));
	RET(statfs("none", &s));
	RET(statfs(".", BAD));
	sync();
	return 0;
}
