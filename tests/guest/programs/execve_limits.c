// execve: E2BIG for one string over 128 KiB and for all of them over a quarter of the stack limit.
#include "check.h"
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[0], "counted") == 0) {
		size_t n = 0;
		for (int i = 0; i < argc; i++)
			n += strlen(argv[i]) + 1;
		printf("argc %d, bytes %zu\n", argc, n);
		return 0;
	}
	char *big = malloc(200000);
	memset(big, 'b', 200000);
	big[131072] = 0;
	char *one[] = {"counted", big, NULL}, *ev[] = {NULL};
	RET(execve("/proc/self/exe", one, ev));
	big[131071] = 0;
	reap("131071 bytes", CHILD({ execve("/proc/self/exe", one, ev); printf("%s\n", ename(errno)); }));
	char **many = calloc(40, sizeof *many);
	many[0] = "counted";
	for (int i = 1; i < 30; i++)
		many[i] = big;
	struct rlimit r = {8 << 20, RLIM_INFINITY};
	getrlimit(RLIMIT_STACK, &r);
	r.rlim_cur = 8 << 20;
	MUST(setrlimit(RLIMIT_STACK, &r));
	RET(execve("/proc/self/exe", many, ev));
	many[12] = NULL;
	reap("12 of them", CHILD({ execve("/proc/self/exe", many, ev); printf("%s\n", ename(errno)); }));
	r.rlim_cur = 1 << 20;
	MUST(setrlimit(RLIMIT_STACK, &r));
	RET(execve("/proc/self/exe", many, ev));
	char **lots = calloc(20001, sizeof *lots);
	for (int i = 0; i < 20000; i++)
		lots[i] = "x";
	lots[0] = "counted";
	reap("20000 arguments", CHILD({ execve("/proc/self/exe", lots, ev); printf("%s\n", ename(errno)); }));
	return 0;
}
