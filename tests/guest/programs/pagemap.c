// /proc/self/pagemap: present, file/shared and exclusive bits follow what happens to the pages.
#include "check.h"
static int fd;
static void show(const char *what, void *p) {
	uint64_t e = 0;
	MUST(pread(fd, &e, 8, (uintptr_t)p / PAGE * 8));
	printf("%s: present %d file %d exclusive %d\n", what, (int)(e >> 63), (int)(e >> 61 & 1), (int)(e >> 56 & 1));
}
int main(void) {
	fd = MUST(open("/proc/self/pagemap", O_RDONLY));
	char *p = anon(4);
	MUST(madvise(p, 4 * PAGE, MADV_NOHUGEPAGE));
	show("untouched", p);
	MUST(madvise(p, 4 * PAGE, MADV_POPULATE_WRITE));
	show("written", p);
	MUST(madvise(p, PAGE, MADV_DONTNEED));
	show("dropped", p);
	char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s[0] = 1;
	show("shared", s);
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({ PEEK(p + PAGE); gate_open(g); gate_wait(h); });
	gate_wait(g);
	show("shared by fork", p + PAGE);
	p[PAGE] = 2;
	show("copied", p + PAGE);
	gate_open(h);
	reap("child", c);
	uint64_t v[2];
	RET(pread(fd, v, 8, (uintptr_t)p / PAGE * 8 + 1));
	RET(pread(fd, v, 7, (uintptr_t)p / PAGE * 8));
	RET(pread(fd, v, 16, (uintptr_t)p / PAGE * 8));
	return 0;
}
