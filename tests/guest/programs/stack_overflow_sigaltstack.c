// A stack overflow is survived by a handler on an alternate stack.
#include "check.h"
static sigjmp_buf jb;
static volatile int on_alt;
static char alt[65536];
static void h(int s, siginfo_t *i, void *u) {
	char c;
	on_alt = &c >= alt && &c < alt + sizeof alt;
	siglongjmp(jb, i->si_code);
}
static __attribute__((noinline)) int forever(int n) {
	volatile char a[4096];
	a[0] = n;
	return forever(n + 1) + a[0];
}
int main(void) {
	struct rlimit r = {1 << 20, 1 << 20};
	MUST(setrlimit(RLIMIT_STACK, &r));
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
	MUST(sigaltstack(&ss, NULL));
	handle_info(SIGSEGV, h, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		int code = sigsetjmp(jb, 1);
		if (code == 0)
			forever(0);
		printf("round %d: SEGV_MAPERR %d, on the alternate stack %d\n", i, code == SEGV_MAPERR, on_alt);
	}
	// Without an alternate stack there is no room for the frame: the program dies.
	reap("no alternate stack", CHILD({
		stack_t off = {.ss_flags = SS_DISABLE};
		struct rlimit c = {0, 0};
		setrlimit(RLIMIT_CORE, &c);
		sigaltstack(&off, NULL);
		forever(0);
	}));
	return 0;
}
