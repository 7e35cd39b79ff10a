// Program text that makes system calls and is written to through /proc/self/mem and by a tracer: what is written is what runs.
#include "check.h"
#include <sys/ptrace.h>
#include <sys/user.h>

// number() makes a system call and returns what it loads after it.
__asm__(".text\n.balign 4096\n.globl number\n.type number,@function\nnumber:\n"
        "mov $39, %eax\nsyscall\n"
        ".globl loaded\nloaded: mov $1, %eax\nret\n"
        ".balign 4096\n");
extern int number(void);
extern char loaded[];

int main(void) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	int fd = MUST(open("/proc/self/mem", O_RDWR)), v;
	for (int i = 0; i < 3; i++)
		v = number();
	printf("at first %d\n", v);
	for (v = 2; v < 6; v++) {
		RET(pwrite(fd, &v, 4, (long)loaded + 1));
		int a = number(), b = number();
		printf("then %d %d\n", a, b);
	}
	pid_t p = fork();
	if (p == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		for (int i = 0; i < 3; i++)
			number();
		raise(SIGSTOP);
		for (int i = 0; i < 3; i++)
			v = number();
		_exit(v);
	}
	int st;
	waitpid(p, &st, 0);
	IS(WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
	long was = ptrace(PTRACE_PEEKTEXT, p, loaded, 0);
	IS((was & 0xffffffffff) == 0x05b8);
	was = (was & ~0xff00L) | 9 << 8; // it loads 9
	// A breakpoint at each of two addresses, one after the other, hit three times each.
	RET(ptrace(PTRACE_POKETEXT, p, loaded, (was & ~0xffL) | 0xcc));
	for (int i = 0; i < 3; i++) {
		struct user_regs_struct r;
		MUST(ptrace(PTRACE_CONT, p, 0, 0));
		waitpid(p, &st, 0);
		IS(WIFSTOPPED(st) && WSTOPSIG(st) == SIGTRAP);
		MUST(ptrace(PTRACE_GETREGS, p, 0, &r));
		IS(r.rip == (unsigned long)loaded + 1);
		IS((pid_t)r.rax == p);
		r.rip--;
		MUST(ptrace(PTRACE_SETREGS, p, 0, &r));
		MUST(ptrace(PTRACE_POKETEXT, p, loaded, was));
		MUST(ptrace(PTRACE_SINGLESTEP, p, 0, 0));
		waitpid(p, &st, 0);
		MUST(ptrace(PTRACE_GETREGS, p, 0, &r));
		printf("stepped over: %lld\n", (long long)r.rax);
		MUST(ptrace(PTRACE_POKETEXT, p, loaded, (was & ~0xffL) | 0xcc));
	}
	MUST(ptrace(PTRACE_POKETEXT, p, loaded, was));
	MUST(ptrace(PTRACE_DETACH, p, 0, 0));
	waitpid(p, &st, 0);
	printf("exit status %d\n", WEXITSTATUS(st));
	return 0;
}
