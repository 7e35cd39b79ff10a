// fork refuses memory that mmap would have refused as a whole: mappings that became one, larger than the machine.
#include "check.h"
#include <sys/sysinfo.h>
int main(void) {
	struct sysinfo si;
	MUST(sysinfo(&si));
	size_t part = (si.totalram + si.totalswap) * si.mem_unit / 4 & -PAGE;
	char *at = MUST((char *)mmap(NULL, 6 * part, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	OK(mmap(NULL, 6 * part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(munmap(at, 6 * part));
	for (int i = 0; i < 3; i++)
		MUST(mmap(at + i * part, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	reap("less than there is", CHILD());
	for (int i = 3; i < 6; i++)
		MUST(mmap(at + i * part, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	RET(fork());
	MUST(madvise(at, 3 * part, MADV_DONTFORK));
	reap("half of it", CHILD());
	MUST(madvise(at, 3 * part, MADV_DOFORK));
	RET(fork());
	MUST(munmap(at, 3 * part));
	reap("the other half", CHILD());
	return 0;
}
