// fallocate on a memory file: preallocation, KEEP_SIZE, hole punching, and unsupported modes.
#include "check.h"
static int fd;
static void show(void) {
	struct stat st;
	fstat(fd, &st);
	printf("size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);
}
int main(void) {
	fd = memfd_create("m", 0);
	RET(fallocate(fd, 0, 0, 4 * PAGE));
	show();
	RET(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE));
	show();
	memset(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), 'x', 4 * PAGE);
	RET(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE - 2, PAGE + 4));
	show();
	char b[PAGE * 4];
	pread(fd, b, sizeof b, 0);
	printf("%d %d %d %d %d\n", b[PAGE - 3], b[PAGE - 2], b[PAGE + 100], b[2 * PAGE + 1], b[2 * PAGE + 2]);
	RET(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE));
	RET(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE));
	RET(fallocate(fd, 0, 0, 0));
	RET(fallocate(fd, 0, -1, 10));
	RET(fallocate(fd, 0, 0, -1));
	RET(fallocate(fd, 0, INT64_MAX, 10));
	RET(fallocate(fd, 0x800, 0, 10));
	RET(fallocate(open("/dev/null", O_WRONLY), 0, 0, 10));
	int p[2];
	pipe(p);
	RET(fallocate(p[1], 0, 0, 10));
	RET(fallocate(99, 0, 0, 10));
	RET(fallocate(open(".", O_RDONLY), 0, 0, 10));
	int f = file_with("f", "abc");
	RET(fallocate(f, 0, 0, 100));
	struct stat st;
	fstat(f, &st);
	printf("%ld\n", (long)st.st_size);
	RET(fallocate(open("f", O_RDONLY), 0, 0, 100));
	RET(posix_fallocate(f, 0, 200));
	return 0;
}
