// SEEK_DATA and SEEK_HOLE on a memory file with holes, and on a dense one.
#include "check.h"
int main(void) {
	int fd = memfd_create("m", 0);
	MUST(ftruncate(fd, 10 * PAGE));
	MUST(pwrite(fd, "x", 1, 3 * PAGE + 5));
	MUST(pwrite(fd, "x", 1, 7 * PAGE));
	RET(lseek(fd, 0, SEEK_DATA) / PAGE);
	RET(lseek(fd, 3 * PAGE, SEEK_HOLE) / PAGE);
	RET(lseek(fd, 4 * PAGE, SEEK_DATA) / PAGE);
	RET(lseek(fd, 0, SEEK_HOLE));
	RET(lseek(fd, 8 * PAGE, SEEK_DATA));
	RET(lseek(fd, 8 * PAGE, SEEK_HOLE) / PAGE);
	RET(lseek(fd, 10 * PAGE, SEEK_HOLE));
	RET(lseek(fd, 10 * PAGE, SEEK_DATA));
	RET(lseek(fd, -1, SEEK_DATA));
	MUST(pwrite(fd, "x", 1, 10 * PAGE - 1));
	RET(lseek(fd, 9 * PAGE, SEEK_HOLE) / PAGE);
	int f = file_with("f", "dense");
	RET(lseek(f, 0, SEEK_DATA));
	RET(lseek(f, 2, SEEK_HOLE));
	RET(lseek(f, 5, SEEK_DATA));
	int p[2];
	pipe(p);
	RET(lseek(p[0], 0, SEEK_HOLE));
	return 0;
}
