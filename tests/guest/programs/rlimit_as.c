// RLIMIT_AS and RLIMIT_DATA bound mmap, brk and mremap with ENOMEM; NORESERVE makes no difference.
#include "check.h"
static long pages(int field) {
	FILE *f = fopen("/proc/self/statm", "r");
	long v[7];
	CHECK(fscanf(f, "%ld %ld %ld %ld %ld %ld %ld", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6) == 7);
	fclose(f);
	return v[field];
}
int main(void) {
	int rw = PROT_READ | PROT_WRITE, pa = MAP_PRIVATE | MAP_ANONYMOUS;
	pages(0);
	char *grow = anon(4);
	struct rlimit r = {(pages(0) + 1000) * PAGE, RLIM_INFINITY};
	MUST(setrlimit(RLIMIT_AS, &r));
	OK(mmap(NULL, 1001 * PAGE, rw, pa, -1, 0));
	OK(mmap(NULL, 1001 * PAGE, PROT_NONE, pa | MAP_NORESERVE, -1, 0));
	OK(mremap(grow, 4 * PAGE, 1100 * PAGE, MREMAP_MAYMOVE));
	char *p = mmap(NULL, 900 * PAGE, rw, pa, -1, 0);
	IS(p != MAP_FAILED);
	OK(mmap(NULL, 200 * PAGE, rw, pa, -1, 0));
	char *b = sbrk(0);
	IS((char *)syscall(SYS_brk, b + 200 * PAGE) == b);
	IS(malloc(4 << 20) == NULL);
	printf("replacing counts nothing twice: %d\n", mmap(p, 900 * PAGE, rw, pa | MAP_FIXED, -1, 0) == p);
	MUST(munmap(p, 900 * PAGE));
	OK(mmap(NULL, 200 * PAGE, rw, pa, -1, 0));
	r.rlim_cur = RLIM_INFINITY;
	MUST(setrlimit(RLIMIT_AS, &r));
	r.rlim_cur = PAGE; // not 0, which Linux takes for "no limit" in mmap
	MUST(setrlimit(RLIMIT_DATA, &r));
	OK(mmap(NULL, 1000 * PAGE, rw, pa, -1, 0));
	OK(mmap(NULL, 1000 * PAGE, PROT_READ, pa, -1, 0));
	OK(mmap(NULL, 1000 * PAGE, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	IS((char *)syscall(SYS_brk, b + PAGE) == b);
	return 0;
}
