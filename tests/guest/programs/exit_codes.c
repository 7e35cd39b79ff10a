// Exit statuses: low eight bits, atexit order, _exit skipping it, return from main, quick_exit, abort.
#include "check.h"
static void a(void) { printf("first registered\n"); }
static void b(void) { printf("second registered\n"); }
int main(void) {
	struct rlimit r = {0, 0};
	setrlimit(RLIMIT_CORE, &r);
	reap("exit 256", CHILD(exit(256)));
	reap("exit -1", CHILD(exit(-1)));
	reap("_exit", CHILD({ atexit(a); _exit(3); }));
	reap("exit", CHILD({ atexit(a); atexit(b); exit(4); }));
	reap("quick_exit", CHILD({ at_quick_exit(a); quick_exit(5); }));
	reap("abort", CHILD(abort()));
	reap("abort with a handler that returns", CHILD({ signal(SIGABRT, (void (*)(int))(void *)getpid); abort(); }));
	reap("abort while blocked", CHILD({ sigset_t s; sigfillset(&s); sigprocmask(SIG_BLOCK, &s, NULL); abort(); }));
	return 77;
}
