// execve: arguments, environment, close-on-exec, cwd and umask; signal handlers reset, ignored ones stay.
#include "check.h"
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		for (int i = 0; i < argc; i++)
			printf("argv[%d]=%s\n", i, argv[i]);
		extern char **environ;
		for (char **e = environ; *e; e++)
			printf("%s\n", *e);
		RET(fcntl(100, F_GETFD));
		RET(fcntl(101, F_GETFD));
		struct sigaction sa;
		sigaction(SIGUSR1, NULL, &sa);
		IS(sa.sa_handler == SIG_DFL);
		sigaction(SIGUSR2, NULL, &sa);
		IS(sa.sa_handler == SIG_IGN);
		sigset_t m;
		sigprocmask(SIG_BLOCK, NULL, &m);
		IS(sigismember(&m, SIGHUP));
		sigpending(&m);
		IS(sigismember(&m, SIGHUP));
		printf("umask %o\n", umask(0));
		stack_t ss;
		sigaltstack(NULL, &ss);
		IS(ss.ss_flags == SS_DISABLE);
		return 6;
	}
	handle(SIGUSR1, exit, 0);
	signal(SIGUSR2, SIG_IGN);
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGHUP);
	sigprocmask(SIG_BLOCK, &m, NULL);
	raise(SIGHUP);
	MUST(dup2(1, 100));
	MUST(dup3(1, 101, O_CLOEXEC));
	umask(027);
	static char alt[32768];
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
	MUST(sigaltstack(&ss, NULL));
	char *av[] = {"name", "again", "", "with space", NULL}, *ev[] = {"A=1", "B=", "NOEQUALS", NULL};
	execve("/proc/self/exe", av, ev);
	return 1;
}
