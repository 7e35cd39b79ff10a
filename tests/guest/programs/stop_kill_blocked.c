// SIGSTOP and SIGKILL reach a process in each kind of wait.
#include "check.h"
#include <sys/epoll.h>
#include <sys/file.h>
static void try(const char *what, void (*f)(void)) {
	fflush(stdout);
	pid_t c = CHILD(f());
	IS(await_state(c, 'S'));
	kill(c, SIGSTOP);
	int st;
	waitpid(c, &st, WUNTRACED);
	say_status(what, st);
	kill(c, SIGCONT);
	ms(10);
	kill(c, SIGKILL);
	reap(what, c);
}
static int p[2];
static void in_read(void) { char b; read(p[0], &b, 1); }
static void in_write(void) { char b[65536]; int q[2]; pipe(q); for (;;) write(q[1], b, sizeof b); }
static void in_wait(void) { CHILD({ prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) pause(); }); wait(NULL); }
static void in_flock(void) { int fd = open("l", O_RDWR | O_CREAT, 0644); flock(fd, LOCK_EX); }
static void in_fifo(void) { open("fifo", O_RDONLY); }
static void in_epoll(void) { struct epoll_event e; for (;;) epoll_wait(epoll_create1(0), &e, 1, -1); /* EINTR after a stop */ }
static void in_futex(void) { int f = 0; syscall(SYS_futex, &f, 0, 0, NULL); }
static void in_accept(void) { struct sockaddr_un a = {AF_UNIX, "s"}; int s = socket(AF_UNIX, SOCK_STREAM, 0); bind(s, (void *)&a, sizeof a); listen(s, 1); accept(s, NULL, NULL); }
static void in_vfork(void) { if (vfork() == 0) { prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) pause(); } }
int main(void) {
	MUST(pipe(p));
	mkfifo("fifo", 0644);
	int fd = open("l", O_RDWR | O_CREAT, 0644);
	flock(fd, LOCK_EX);
	try("read", in_read);
	try("write", in_write);
	try("wait", in_wait);
	try("flock", in_flock);
	try("open of a fifo", in_fifo);
	try("epoll", in_epoll);
	try("futex", in_futex);
	try("accept", in_accept);
	pid_t c = CHILD(in_vfork());
	ms(30);
	kill(c, SIGKILL);
	reap("vfork", c);
	return 0;
}
