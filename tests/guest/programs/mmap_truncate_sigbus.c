// Touching a mapping past the end of its file is SIGBUS; system calls get EFAULT; growth heals it.
#include "check.h"
int main(void) {
	catch_faults();
	int fd = file_with("f", "");
	MUST(ftruncate(fd, 4 * PAGE));
	char *s = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memset(s, 's', 4 * PAGE);
	p[3 * PAGE] = 'p';
	MUST(ftruncate(fd, PAGE + 10));
	printf("last page: %s\n", sname(FAULTS(PEEK(s + PAGE))));
	printf("past it: %s\n", sname(FAULTS(PEEK(s + 2 * PAGE))));
	IS(fault_code == BUS_ADRERR);
	IS(fault_addr == s + 2 * PAGE);
	printf("store: %s\n", sname(FAULTS(POKE(s + 3 * PAGE))));
	printf("private copies go too: %s\n", sname(FAULTS(PEEK(p + 3 * PAGE))));
	printf("rest of the last page is zeroed: %c %d\n", s[PAGE + 9], s[PAGE + 10]);
	RET(write(open("/dev/null", O_WRONLY), s + 2 * PAGE, 1));
	int q[2];
	MUST(pipe(q));
	RET(write(q[1], s + 2 * PAGE, 1));
	RET(write(q[1], s + 2 * PAGE - 4, 8));
	MUST(ftruncate(fd, 4 * PAGE));
	printf("after growth: %s %d\n", sname(FAULTS(PEEK(s + 2 * PAGE))), s[2 * PAGE]);
	return 0;
}
