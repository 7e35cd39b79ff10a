// ptrace: peeking and poking memory and registers, breakpoints by int3, single steps, and errors.
#include "check.h"
#include <sys/ptrace.h>
#include <sys/user.h>
static long value = 0x1122334455667788;
__attribute__((noinline)) static void target(void) { __asm__ volatile("nop\nnop"); }
int main(void) {
	int st;
	struct user_regs_struct r;
	RET(ptrace(PTRACE_PEEKDATA, getpid(), &value, 0));
	RET(ptrace(PTRACE_CONT, 999999, 0, 0));
	pid_t c = CHILD({
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		target();
		_exit(value == 5 ? 7 : 8);
	});
	waitpid(c, &st, 0);
	errno = 0;
	printf("%lx\n", ptrace(PTRACE_PEEKDATA, c, &value, 0));
	RET(ptrace(PTRACE_POKEDATA, c, &value, 5));
	RET(ptrace(PTRACE_PEEKDATA, c, 8, 0));
	RET(ptrace(PTRACE_POKEDATA, c, 8, 0));
	long code = ptrace(PTRACE_PEEKTEXT, c, target, 0);
	RET(ptrace(PTRACE_POKETEXT, c, target, (code & ~0xffL) | 0xcc));
	RET(ptrace(PTRACE_CONT, c, 0, 0));
	waitpid(c, &st, 0);
	say_status("breakpoint", st);
	ptrace(PTRACE_GETREGS, c, 0, &r);
	IS(r.rip == (unsigned long)target + 1);
	siginfo_t si;
	RET(ptrace(PTRACE_GETSIGINFO, c, 0, &si));
	printf("code %d\n", si.si_code);
	ptrace(PTRACE_POKETEXT, c, target, code);
	r.rip--;
	ptrace(PTRACE_SETREGS, c, 0, &r);
	int steps = 0;
	do {
		ptrace(PTRACE_SINGLESTEP, c, 0, 0);
		waitpid(c, &st, 0);
		ptrace(PTRACE_GETREGS, c, 0, &r);
		steps++;
	} while (r.rip >= (unsigned long)target && r.rip < (unsigned long)target + 3 && steps < 10);
	printf("steps %d, %s\n", steps, sname(WSTOPSIG(st)));
	ptrace(PTRACE_GETSIGINFO, c, 0, &si);
	printf("code %d\n", si.si_code);
	struct user_fpregs_struct fp;
	RET(ptrace(PTRACE_GETFPREGS, c, 0, &fp));
	printf("mxcsr %x\n", fp.mxcsr);
	RET(ptrace(PTRACE_PEEKUSER, c, offsetof(struct user, regs.rip), 0) == r.rip);
	RET(ptrace(PTRACE_PEEKUSER, c, 100000, 0));
	struct iovec v = {&r, sizeof r};
	RET(ptrace(PTRACE_GETREGSET, c, 1, &v));
	printf("length %zu\n", v.iov_len);
	RET(ptrace(PTRACE_CONT, c, 0, 0));
	RET(ptrace(PTRACE_CONT, c, 0, 0) == -1);
	reap("child", c);
	return 0;
}
