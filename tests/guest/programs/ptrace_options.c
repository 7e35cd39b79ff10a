// ptrace: following fork, vfork, clone, exec and exit; attach, seize, interrupt, detach; signals with injection.
#include "check.h"
#include <sys/ptrace.h>
static int st;
static void await_event(pid_t c, const char *what) {
	for (;;) {
		MUST(waitpid(c, &st, __WALL));
		if (WIFSTOPPED(st) && (st >> 16) == 0 && WSTOPSIG(st) != SIGSTOP && WSTOPSIG(st) != SIGTRAP) {
			ptrace(PTRACE_CONT, c, 0, WSTOPSIG(st));
			continue;
		}
		break;
	}
	printf("%s: stopped %d event %d\n", what, WIFSTOPPED(st), st >> 16);
}
static volatile int hits;
static void h(int s) { hits++; }
int main(void) {
	unsigned long msg;
	pid_t c = CHILD({
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		pid_t k = fork();
		if (k == 0)
			_exit(5);
		waitpid(k, NULL, 0);
		execl("/bin/true", "true", NULL);
		_exit(99);
	});
	waitpid(c, &st, 0);
	RET(ptrace(PTRACE_SETOPTIONS, c, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
	RET(ptrace(PTRACE_SETOPTIONS, c, 0, 0x40000000));
	ptrace(PTRACE_CONT, c, 0, 0);
	await_event(c, "fork");
	RET(ptrace(PTRACE_GETEVENTMSG, c, 0, &msg));
	pid_t k = msg;
	await_event(k, "the new child");
	ptrace(PTRACE_CONT, k, 0, 0);
	ptrace(PTRACE_CONT, c, 0, 0);
	await_event(k, "its exit");
	ptrace(PTRACE_GETEVENTMSG, k, 0, &msg);
	printf("status %lx\n", msg);
	ptrace(PTRACE_CONT, k, 0, 0);
	reap("grandchild seen by its tracer", k);
	await_event(c, "exec");
	ptrace(PTRACE_GETEVENTMSG, c, 0, &msg);
	IS(msg == c);
	ptrace(PTRACE_CONT, c, 0, 0);
	await_event(c, "exit");
	ptrace(PTRACE_CONT, c, 0, 0);
	reap("child", c);
	gate g = gate_new();
	c = CHILD({ handle(SIGUSR1, h, 0); handle(SIGUSR2, h, 0); gate_open(g); while (!hits) ms(5); _exit(hits); });
	gate_wait(g);
	RET(ptrace(PTRACE_ATTACH, c, 0, 0));
	waitpid(c, &st, 0);
	say_status("attached", st);
	RET(ptrace(PTRACE_ATTACH, c, 0, 0));
	kill(c, SIGUSR1);
	ptrace(PTRACE_CONT, c, 0, 0);
	waitpid(c, &st, 0);
	say_status("signal seen first", st);
	RET(ptrace(PTRACE_CONT, c, 0, 0)); // suppressed
	kill(c, SIGUSR2);
	waitpid(c, &st, 0);
	say_status("next", st);
	RET(ptrace(PTRACE_DETACH, c, 0, SIGUSR2));
	reap("detached with the signal", c);
	c = CHILD({ for (;;) pause(); });
	RET(ptrace(PTRACE_SEIZE, c, 0, PTRACE_O_EXITKILL));
	RET(ptrace(PTRACE_INTERRUPT, c, 0, 0));
	waitpid(c, &st, 0);
	printf("interrupted: %s event %d\n", sname(WSTOPSIG(st)), st >> 16);
	RET(ptrace(PTRACE_CONT, c, 0, 0));
	RET(ptrace(PTRACE_KILL, c, 0, 0) == 0 || errno == ESRCH);
	kill(c, SIGKILL);
	reap("seized", c);
	return 0;
}
