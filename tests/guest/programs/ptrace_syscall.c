// ptrace: tracing system calls of a child, changing arguments and results, PTRACE_O_TRACESYSGOOD, syscall info.
#include "check.h"
#include <sys/ptrace.h>
#include <sys/user.h>
int main(void) {
	int st;
	pid_t c = CHILD({
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		long r = syscall(SYS_getppid);
		long k = syscall(SYS_write, 1, "shout\n", 6);
		_exit(r == 4242 ? (int)k : 99);
	});
	waitpid(c, &st, 0);
	say_status("child", st);
	RET(ptrace(PTRACE_SETOPTIONS, c, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	int entries = 0, enter = 1, sig = 0;
	for (;;) {
		ptrace(PTRACE_SYSCALL, c, 0, sig);
		sig = 0;
		waitpid(c, &st, 0);
		if (WIFEXITED(st))
			break;
		if (WSTOPSIG(st) != (SIGTRAP | 0x80)) {
			sig = WSTOPSIG(st);
			continue;
		}
		struct user_regs_struct r;
		ptrace(PTRACE_GETREGS, c, 0, &r);
		if (enter)
			entries++;
		if (r.orig_rax == SYS_getppid && !enter) {
			r.rax = 4242;
			ptrace(PTRACE_SETREGS, c, 0, &r);
		}
		if (r.orig_rax == SYS_write && enter) {
			printf("rax at entry: %lld\n", (long long)r.rax);
			r.rdx = 3;
			ptrace(PTRACE_SETREGS, c, 0, &r);
			fflush(stdout);
		}
		enter = !enter;
	}
	printf("\n");
	say_status("child", st);
	printf("entries %d\n", entries);
	return 0;
}
