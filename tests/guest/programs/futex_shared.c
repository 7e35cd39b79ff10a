// Futexes across processes: in shared anonymous memory, and in two mappings of one file at different addresses.
#include "check.h"
#include <linux/futex.h>
static long fx(void *u, int op, int v, void *t) { return syscall(SYS_futex, u, op, v, t, NULL, 0); }
int main(void) {
	int *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t c = CHILD({
		while (s[0] == 0)
			fx(s, FUTEX_WAIT, 0, NULL);
		printf("child saw %d\n", s[0]);
		s[1] = 1;
		fx(s + 1, FUTEX_WAKE, 1, NULL);
	});
	ms(50);
	s[0] = 9;
	fx(s, FUTEX_WAKE, 1, NULL);
	while (s[1] == 0)
		fx(s + 1, FUTEX_WAIT, 0, NULL);
	reap("child", c);
	int fd = file_with("f", "");
	MUST(ftruncate(fd, 2 * PAGE));
	c = CHILD({
		int g = open("f", O_RDWR);
		anon(3);
		int *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0);
		struct timespec t = {1, 500000000};
		m[0] = 1;
		RET(fx(m + 1024, FUTEX_WAIT, 0, &t));
	});
	int *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
	int *first = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	long n = 0;
	IS(m != first);
	for (int i = 0; i < 200 && n == 0; i++) {
		ms(5);
		n = fx(m, FUTEX_WAKE, 1, NULL);
	}
	reap("child", c);
	printf("woken through the other mapping: %ld\n", n);
	// Private operations do not meet shared waiters; a private mapping's word belongs to this process.
	int *p = (int *)anon(1);
	c = CHILD({ struct timespec t = {0, 80000000}; RET(fx(p, FUTEX_WAIT, 0, &t)); });
	ms(30);
	RET(fx(p, FUTEX_WAKE, 1, NULL));
	reap("child", c);
	return 0;
}
