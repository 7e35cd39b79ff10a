// msync: flags, holes and alignment.
#include "check.h"
int main(void) {
	int fd = file_with("f", "");
	MUST(ftruncate(fd, 3 * PAGE));
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p[0] = 1;
	RET(msync(p, 3 * PAGE, MS_SYNC));
	RET(msync(p, 3 * PAGE, MS_ASYNC));
	RET(msync(p, 3 * PAGE, MS_SYNC | MS_ASYNC));
	RET(msync(p, 3 * PAGE, MS_INVALIDATE));
	RET(msync(p, 3 * PAGE, 0));
	RET(msync(p, 3 * PAGE, 0x100));
	RET(msync(p + 1, PAGE, MS_SYNC));
	RET(msync(p, 0, MS_SYNC));
	RET(mlock(p, PAGE));
	RET(msync(p, PAGE, MS_INVALIDATE));
	MUST(munmap(p + PAGE, PAGE));
	RET(msync(p, 3 * PAGE, MS_SYNC));
	char *a = anon(1);
	RET(msync(a, PAGE, MS_SYNC));
	return 0;
}
