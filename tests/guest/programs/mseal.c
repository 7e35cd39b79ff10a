// mseal: what is sealed cannot be unmapped, moved, protected or thrown away, and the rest still can.
#include "check.h"
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
static long seal(void *p, size_t n, long flags) { return syscall(SYS_mseal, p, n, flags); }
int main(void) {
	char *p = anon(8), *spare = anon(8), *ro = anon(4);
	p[0] = p[2 * PAGE] = 'x';
	ro[0] = 'y';
	RET(seal(p + 1, PAGE, 0));
	RET(seal(p, PAGE, 1));
	RET(seal(p, 0, 0));
	MUST(munmap(p + 7 * PAGE, PAGE));
	RET(seal(p + 6 * PAGE, 2 * PAGE, 0));
	RET(mprotect(p + 6 * PAGE, PAGE, PROT_READ)); // the hole: nothing was sealed
	RET(seal(p + 2 * PAGE, 2 * PAGE, 0));
	RET(seal(p + 2 * PAGE, 2 * PAGE, 0));

	RET(munmap(p, 8 * PAGE));
	RET(munmap(p + 3 * PAGE, PAGE));
	IS(p[2 * PAGE] == 'x');
	RET(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	RET(mprotect(p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	RET(mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	RET(mremap(p + 2 * PAGE, 2 * PAGE, PAGE, 0));
	RET(mremap(p + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, spare));
	RET(mremap(spare, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * PAGE));
	RET(madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED)); // writable: the owner may as well write zeros
	IS(p[2 * PAGE] == 0);
	RET(mlock(p + 2 * PAGE, PAGE));
	RET(munlock(p + 2 * PAGE, PAGE));

	MUST(mprotect(ro, 4 * PAGE, PROT_READ));
	RET(seal(ro, 4 * PAGE, 0));
	RET(madvise(ro, PAGE, MADV_DONTNEED));
	RET(madvise(ro, PAGE, MADV_FREE));
	RET(madvise(ro, PAGE, MADV_WIPEONFORK));
	RET(madvise(ro, PAGE, MADV_WILLNEED));
	IS(ro[0] == 'y');

	RET(munmap(p, 2 * PAGE));
	RET(mprotect(p + 4 * PAGE, PAGE, PROT_NONE));
	reap("child", CHILD(RET(munmap(p + 2 * PAGE, PAGE)); IS(ro[0] == 'y')));
	return 0;
}
