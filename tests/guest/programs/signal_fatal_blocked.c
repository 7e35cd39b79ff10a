// A fault whose signal is blocked or ignored kills the process.
#include "check.h"
static void h(int s) { printf("not reached\n"); }
int main(void) {
	struct rlimit r = {0, 0};
	setrlimit(RLIMIT_CORE, &r);
	sigset_t all;
	sigfillset(&all);
	reap("blocked", CHILD({ handle(SIGSEGV, h, 0); sigprocmask(SIG_BLOCK, &all, NULL); PEEK(NULL); }));
	reap("ignored", CHILD({ signal(SIGSEGV, SIG_IGN); PEEK(NULL); }));
	reap("default", CHILD(PEEK(NULL)));
	reap("ud2 ignored", CHILD({ signal(SIGILL, SIG_IGN); __asm__ volatile("ud2"); }));
	reap("fault in the handler", CHILD({ handle(SIGSEGV, (void (*)(int))8, 0); PEEK(NULL); }));
	// Sent by kill, the same signals can be blocked and ignored.
	reap("sent and blocked", CHILD({ sigprocmask(SIG_BLOCK, &all, NULL); kill(getpid(), SIGSEGV); printf("survived\n"); }));
	reap("sent and ignored", CHILD({ signal(SIGSEGV, SIG_IGN); kill(getpid(), SIGSEGV); printf("survived\n"); }));
	return 0;
}
