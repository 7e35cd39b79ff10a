// truncate and ftruncate: growing, shrinking, what is left, and errors.
#include "check.h"
int main(void) {
	int fd = file_with("f", "0123456789");
	struct stat st;
	RET(ftruncate(fd, 4));
	show_file("f");
	RET(ftruncate(fd, 8));
	char b[16];
	RET(pread(fd, b, 16, 0));
	printf("%.4s %d%d%d%d\n", b, b[4], b[5], b[6], b[7]);
	RET(truncate("f", 2));
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	RET(lseek(fd, 0, SEEK_CUR));
	RET(truncate("nothing", 1));
	RET(truncate(".", 1));
	RET(truncate("f", -1));
	RET(ftruncate(fd, -1));
	RET(ftruncate(open("f", O_RDONLY), 1));
	int p[2];
	pipe(p);
	RET(ftruncate(p[1], 1));
	RET(ftruncate(99, 1));
	RET(ftruncate(open("f", O_PATH), 1));
	close(file_with("ro", "x"));
	chmod("ro", 0444);
	reap("not owner", CHILD({ become_nobody(); RET(truncate("ro", 0)); }));
	RET(truncate(BAD, 0));
	// The last page's rest is zero after shrinking and growing.
	char *big = malloc(5000);
	memset(big, 'y', 5000);
	RET(pwrite(fd, big, 5000, 0));
	RET(ftruncate(fd, 100));
	RET(ftruncate(fd, 5000));
	RET(pread(fd, b, 1, 101));
	printf("%d\n", b[0]);
	return 0;
}
