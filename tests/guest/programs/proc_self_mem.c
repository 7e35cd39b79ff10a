// /proc/self/mem and another process's: reading, writing over read-only code, errors at holes.
#include "check.h"
static const char ro[] = "read only text";
int main(void) {
	char b[32] = "", v[] = "variable";
	int fd = MUST(open("/proc/self/mem", O_RDWR));
	RET(pread(fd, b, 9, (uintptr_t)v));
	printf("%s\n", b);
	RET(pwrite(fd, "VARI", 4, (uintptr_t)v));
	printf("%s\n", v);
	RET(pwrite(fd, "READ", 4, (uintptr_t)ro));
	printf("%.14s\n", *(const char *volatile *)&(const char *){ro});
	RET(pread(fd, b, 8, 0));
	RET(pread(fd, b, 8, 0xffffffffff600000));
	char *p = anon(2);
	munmap(p + PAGE, PAGE);
	RET(pread(fd, b, 16, (uintptr_t)p + PAGE - 8));
	RET(pread(fd, BAD, 16, (uintptr_t)p));
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({ strcpy(v, "child's"); gate_open(g); gate_wait(h); printf("child: %s\n", v); });
	gate_wait(g);
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", c);
	int k = open(path, O_RDWR);
	RET(pread(k, b, 8, (uintptr_t)v));
	printf("%s\n", b);
	RET(pwrite(k, "patched", 8, (uintptr_t)v));
	gate_open(h);
	reap("child", c);
	RET(pread(k, b, 8, (uintptr_t)v));
	return 0;
}
