// sigaltstack: rules, what handlers see, SS_AUTODISARM, and inheritance.
#include "check.h"
static char alt[65536];
static volatile int on;
static stack_t seen;
static void h(int s) {
	char c;
	on = &c >= alt && &c < alt + sizeof alt;
	sigaltstack(NULL, &seen);
	stack_t other = {.ss_sp = alt, .ss_size = 32768};
	printf("in handler: on it %d, flags %x, change: ", on, seen.ss_flags);
	RET(sigaltstack(&other, NULL));
}
int main(void) {
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt}, old;
	RET(sigaltstack(NULL, &old));
	printf("flags %x\n", old.ss_flags);
	RET(sigaltstack(&ss, NULL));
	handle(SIGUSR1, h, SA_ONSTACK);
	raise(SIGUSR1);
	handle(SIGUSR1, h, 0);
	raise(SIGUSR1);
	ss.ss_size = sizeof alt;
	RET(sigaltstack(&ss, NULL));
	ss.ss_size = 100;
	RET(sigaltstack(&ss, NULL));
	ss.ss_size = sizeof alt;
	ss.ss_flags = 0x40;
	RET(sigaltstack(&ss, NULL));
	ss.ss_flags = SS_ONSTACK;
	RET(sigaltstack(&ss, NULL));
	RET(sigaltstack(BAD, NULL));
	RET(sigaltstack(NULL, BAD));
	ss.ss_flags = 1 << 31; // SS_AUTODISARM
	RET(sigaltstack(&ss, NULL));
	handle(SIGUSR1, h, SA_ONSTACK);
	raise(SIGUSR1);
	sigaltstack(NULL, &old);
	printf("restored: flags %x, same %d\n", old.ss_flags, old.ss_sp == alt);
	reap("child", CHILD({ sigaltstack(NULL, &old); printf("fork keeps it: %d\n", old.ss_sp == alt); }));
	ss.ss_flags = SS_DISABLE;
	RET(sigaltstack(&ss, &old));
	RET(sigaltstack(NULL, &old));
	printf("flags %x\n", old.ss_flags);
	return 0;
}
