// A private file mapping: its writes stay private, others' writes show on pages not yet written.
#include "check.h"
int main(void) {
	int fd = file_with("f", "");
	for (int i = 0; i < 3; i++) {
		char b[PAGE];
		memset(b, 'a' + i, PAGE);
		MUST(write(fd, b, PAGE));
	}
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	printf("%c%c%c\n", p[0], p[PAGE], p[2 * PAGE]);
	p[PAGE] = 'X';
	char c;
	MUST(pread(fd, &c, 1, PAGE));
	printf("file still %c, mapping %c, rest of its page %c\n", c, p[PAGE], p[PAGE + 1]);
	MUST(pwrite(fd, "N", 1, 0));
	printf("not written page follows the file: %c\n", p[0]);
	MUST(pwrite(fd, "Z", 1, PAGE));
	printf("written page does not: %c\n", p[PAGE]);
	reap("child", CHILD({
		printf("child sees %c%c\n", p[0], p[PAGE]);
		p[0] = 'C';
	}));
	printf("parent %c\n", p[0]);
	// An offset into the file, and unaligned offset.
	char *q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 2 * PAGE);
	printf("%c\n", q[5]);
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
	return 0;
}
