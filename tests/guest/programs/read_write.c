// read, write, pread, pwrite, lseek: offsets, holes, ends of file, negative and huge values.
#include "check.h"
int main(void) {
	char b[32] = "";
	int fd = file_with("f", "0123456789");
	RET(read(fd, b, 4));
	RET(lseek(fd, 0, SEEK_CUR));
	RET(pread(fd, b, 4, 8));
	RET(pread(fd, b, 4, 100));
	RET(lseek(fd, 0, SEEK_CUR));
	RET(lseek(fd, -2, SEEK_END));
	RET(read(fd, b, 10));
	RET(read(fd, b, 10));
	RET(lseek(fd, -1, SEEK_SET));
	RET(lseek(fd, 0, 99));
	RET(lseek(fd, 20, SEEK_SET));
	RET(read(fd, b, 1));
	RET(write(fd, "x", 1));
	RET(pread(fd, b, 32, 8));
	printf("hole %d %d %c\n", b[2], b[11], b[12]);
	RET(pread(fd, b, 1, -1));
	RET(pwrite(fd, b, 1, -1));
	RET(pwrite(fd, b, 1, INT64_MAX));
	RET(lseek(fd, 5, SEEK_SET));
	RET(read(fd, BAD, 2));
	RET(lseek(fd, 0, SEEK_CUR));
	RET(read(fd, b, 0));
	RET(read(-1, b, 1));
	int d = open(".", O_RDONLY);
	RET(read(d, b, 1));
	RET(write(d, b, 1));
	int p[2];
	pipe(p);
	RET(lseek(p[0], 0, SEEK_SET));
	RET(pread(p[0], b, 1, 0));
	RET(pwrite(p[1], b, 1, 0));
	RET(read(p[1], b, 1));
	RET(write(p[0], b, 1));
	// One write over 2 GiB is cut to MAX_RW_COUNT.
	char *big = mmap(NULL, 3UL << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int n = open("/dev/null", O_WRONLY);
	RET(write(n, big, 3UL << 30));
	return 0;
}
