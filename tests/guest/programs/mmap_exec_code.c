// Code written to memory runs, after mprotect and in a writable executable mapping that changes under way.
#include "check.h"
static void emit(unsigned char *p, int v) {
	unsigned char code[] = {0xb8, 0, 0, 0, 0, 0xc3}; // mov eax, imm32; ret
	memcpy(code + 1, &v, 4);
	memcpy(p, code, sizeof code);
}
typedef int (*fn)(void);
int main(void) {
	catch_faults();
	unsigned char *p = (unsigned char *)anon(1);
	emit(p, 1234);
	printf("no exec: %s\n", sname(FAULTS(((fn)p)())));
	IS(fault_code == SEGV_ACCERR);
	RET(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	printf("%d\n", ((fn)p)());
	unsigned char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int sum = 0;
	for (int i = 0; i < 100; i++) {
		emit(q, i);
		sum += ((fn)q)();
	}
	printf("rewritten: %d\n", sum);
	// Two mappings of one memfd, one to write and one to run.
	int fd = memfd_create("jit", 0);
	MUST(ftruncate(fd, PAGE));
	unsigned char *w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int i = 5; i < 8; i++) {
		emit(w, i * 11);
		printf("dual: %d\n", ((fn)x)());
	}
	printf("jump to null: %s\n", sname(FAULTS(((fn)0)())));
	return 0;
}
