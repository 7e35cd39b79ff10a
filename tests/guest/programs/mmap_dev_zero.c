// Mappings of /dev/zero and /dev/null: private memory, shared memory, and none.
#include "check.h"
int main(void) {
	int z = MUST(open("/dev/zero", O_RDWR));
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, z, 0);
	IS(p != MAP_FAILED);
	p[PAGE] = 1;
	printf("%d %d\n", p[0], p[PAGE]);
	int *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, z, 0);
	reap("child", CHILD({ s[0] = 5; p[0] = 9; }));
	printf("shared %d private %d\n", s[0], p[0]);
	int n = MUST(open("/dev/null", O_RDWR));
	OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, n, 0));
	char b[8] = "1234567";
	RET(read(z, b, 4));
	printf("%d%d%d%d%c\n", b[0], b[1], b[2], b[3], b[4]);
	RET(write(z, b, 4));
	RET(read(n, b, 4));
	RET(write(n, b, 4));
	RET(write(n, BAD, 4));
	RET(read(z, BAD, 4));
	int f = MUST(open("/dev/full", O_RDWR));
	RET(write(f, "x", 1));
	RET(read(f, b, 2));
	RET(lseek(z, 100, SEEK_SET));
	return 0;
}
