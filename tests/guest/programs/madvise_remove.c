// MADV_REMOVE punches a hole into the memory file behind a shared mapping.
#include "check.h"
int main(void) {
	int fd = memfd_create("m", 0);
	MUST(ftruncate(fd, 4 * PAGE));
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(p, 'z', 4 * PAGE);
	struct stat st;
	fstat(fd, &st);
	printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
	RET(madvise(p + PAGE, 2 * PAGE, MADV_REMOVE));
	fstat(fd, &st);
	printf("blocks %ld size %ld\n", (long)st.st_blocks, (long)st.st_size);
	printf("%d %d %d %d\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
	char c = 1;
	RET(pread(fd, &c, 1, PAGE));
	printf("%d\n", c);
	p[PAGE] = 'n';
	RET(pread(fd, &c, 1, PAGE));
	printf("%c\n", c);
	int r = memfd_create("n", 0);
	MUST(ftruncate(r, PAGE));
	char *priv = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, r, 0);
	RET(madvise(priv, PAGE, MADV_REMOVE));
	return 0;
}
