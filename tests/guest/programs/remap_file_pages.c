// remap_file_pages rearranges the pages of a shared mapping.
#include "check.h"
int main(void) {
	int fd = memfd_create("m", 0);
	MUST(ftruncate(fd, 4 * PAGE));
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int i = 0; i < 4; i++)
		p[i * PAGE] = 'a' + i;
	RET(syscall(SYS_remap_file_pages, p, PAGE, 0, 3, 0));
	RET(syscall(SYS_remap_file_pages, p + 3 * PAGE, PAGE, 0, 0, 0));
	printf("%c%c%c%c\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
	p[0] = 'D';
	char c;
	MUST(pread(fd, &c, 1, 3 * PAGE));
	printf("%c\n", c);
	RET(syscall(SYS_remap_file_pages, p, PAGE, 1, 3, 0));
	char *a = anon(1);
	RET(syscall(SYS_remap_file_pages, a, PAGE, 0, 0, 0));
	return 0;
}
