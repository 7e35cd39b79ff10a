// A shared file mapping and read/write see each other's changes, in one process and another.
#include "check.h"
int main(void) {
	int fd = file_with("f", "");
	MUST(ftruncate(fd, 3 * PAGE));
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(p + PAGE - 3, "spanning");
	char b[32] = "";
	RET(pread(fd, b, 9, PAGE - 3));
	printf("%s\n", b);
	RET(pwrite(fd, "written", 8, 2 * PAGE));
	printf("%s\n", p + 2 * PAGE);
	reap("child", CHILD({
		int g = open("f", O_RDWR);
		char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g, 2 * PAGE);
		printf("child: %s\n", q);
		strcpy(q, "by the child");
	}));
	printf("parent: %s\n", p + 2 * PAGE);
	// The mapping outlives the descriptor and the name.
	close(fd);
	unlink("f");
	strcpy(p, "no name");
	printf("%s %s\n", p, p + 2 * PAGE);
	RET(msync(p, 3 * PAGE, MS_SYNC));
	// Bytes past the end of the file within its last page read as zero and do not reach the file.
	fd = file_with("g", "abc");
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf("%d\n", p[3]);
	p[3] = 'd';
	struct stat st;
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	RET(ftruncate(fd, 10));
	RET(pread(fd, b, 10, 0));
	return 0;
}
