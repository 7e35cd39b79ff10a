// System calls see protections: EFAULT on what the program could not touch, short results where some was done.
#include "check.h"
int main(void) {
	char *p = anon(4);
	int fd = file_with("f", "0123456789");
	memset(p, 'x', 4 * PAGE);
	MUST(mprotect(p + PAGE, PAGE, PROT_READ));
	MUST(mprotect(p + 2 * PAGE, PAGE, PROT_NONE));
	RET(pread(fd, p + PAGE, 4, 0));
	RET(pread(fd, p + 2 * PAGE, 4, 0));
	RET(pread(fd, p, 4, 0));
	int q[2];
	MUST(pipe(q));
	RET(write(q[1], p + PAGE, 4));
	RET(write(q[1], p + 2 * PAGE, 4));
	RET(write(q[1], NULL, 0));
	RET(write(q[1], BAD, 0));
	RET(read(q[0], p + PAGE, 4));
	RET(write(q[1], (void *)0xffff800000000000, 4));
	RET(write(q[1], (void *)-4096L, 8));
	RET(syscall(SYS_getcwd, BAD, 100));
	RET(stat(BAD, NULL));
	struct stat st;
	RET(stat(BAD, &st));
	RET(syscall(SYS_openat, AT_FDCWD, p + 2 * PAGE, O_RDONLY));
	// A path whose end lies on an unreadable page.
	p[2 * PAGE - PAGE - 1] = 'y';
	MUST(mprotect(p + PAGE, PAGE, PROT_NONE));
	RET(access(p + PAGE - 3, F_OK));
	return 0;
}
