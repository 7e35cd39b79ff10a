// MADV_DONTNEED drops private pages at once: zeroes again, or the file's contents; shared memory is kept.
#include "check.h"
int main(void) {
	char *p = anon(4);
	memset(p, 5, 4 * PAGE);
	RET(madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED));
	printf("%d %d %d %d\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
	int fd = file_with("f", "file contents");
	char *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(m, "MINE", 4);
	printf("%s\n", m);
	RET(madvise(m, PAGE, MADV_DONTNEED));
	printf("%s\n", m);
	char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s[0] = 8;
	RET(madvise(s, PAGE, MADV_DONTNEED));
	printf("shared kept: %d\n", s[0]);
	// Only one side of a fork loses its pages.
	p[0] = 6;
	reap("child", CHILD({ madvise(p, PAGE, MADV_DONTNEED); printf("child %d\n", p[0]); }));
	printf("parent %d\n", p[0]);
	// Discarding works on read-only memory too.
	MUST(mprotect(p, PAGE, PROT_READ));
	RET(madvise(p, PAGE, MADV_DONTNEED));
	printf("%d\n", p[0]);
	return 0;
}
