// The stack grows on touch down to RLIMIT_STACK, and a touch below that is SIGSEGV.
#include "check.h"
static __attribute__((noinline)) int deep(int n) {
	volatile char a[8192];
	a[0] = n;
	return n == 0 ? 0 : deep(n - 1) + (a[0] == (char)n);
}
int main(void) {
	printf("6 MiB deep: %d\n", deep(700));
	struct rlimit r = {1 << 20, 1 << 20};
	reap("endless recursion", CHILD({
		struct rlimit c = {0, 0};
		setrlimit(RLIMIT_CORE, &c);
		setrlimit(RLIMIT_STACK, &r);
		printf("%d\n", deep(1000000));
	}));
	reap("within 1 MiB", CHILD({ setrlimit(RLIMIT_STACK, &r); printf("%d\n", deep(80)); }));
	// A big jump downward within the limit is allowed.
	reap("skipping", CHILD({
		volatile char *sp = (volatile char *)__builtin_frame_address(0);
		sp[-(7 << 20)] = 1;
		printf("touched\n");
	}));
	return 0;
}
