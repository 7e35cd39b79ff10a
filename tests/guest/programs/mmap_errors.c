// mmap: the argument errors.
#include "check.h"
int main(void) {
	int rw = PROT_READ | PROT_WRITE, pa = MAP_PRIVATE | MAP_ANONYMOUS;
	OK(mmap(NULL, 0, rw, pa, -1, 0));
	OK(mmap(NULL, PAGE, rw, MAP_ANONYMOUS, -1, 0));
	OK(mmap(NULL, PAGE, rw, MAP_PRIVATE, -1, 0));
	OK(mmap(NULL, PAGE, rw, MAP_PRIVATE, 99, 0));
	OK(syscall(SYS_mmap, NULL, PAGE, rw, pa, -1, 123));
	OK(mmap((void *)0x1001, PAGE, rw, pa | MAP_FIXED, -1, 0));
	OK(mmap((void *)0x7ffffffff000, 16 * PAGE, rw, pa | MAP_FIXED, -1, 0));
	OK(mmap(NULL, 1UL << 47, rw, pa | MAP_NORESERVE, -1, 0));
	OK(mmap(NULL, -1UL, rw, pa, -1, 0));
	int ro = file_with("f", "hello");
	close(ro);
	ro = open("f", O_RDONLY);
	OK(mmap(NULL, PAGE, rw, MAP_SHARED, ro, 0));
	OK(mmap(NULL, PAGE, rw, MAP_PRIVATE, ro, 0));
	int wo = open("f", O_WRONLY);
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0));
	OK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, wo, 0));
	int dir = open(".", O_RDONLY);
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0));
	int p[2];
	MUST(pipe(p));
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, p[0], 0));
	int path = open("f", O_PATH);
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, path, 0));
	OK(syscall(SYS_mmap, NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, ro, 0x7ffffffffffff000));
	OK(syscall(SYS_mmap, NULL, 2 * PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, ro, 0));
	// munmap: unaligned, empty, and of nothing at all.
	RET(munmap((void *)0x10001, PAGE));
	RET(munmap((void *)0x10000, 0));
	RET(munmap((void *)0x10000, PAGE));
	RET(munmap((void *)0x7ffffffff000, 1UL << 40));
	return 0;
}
