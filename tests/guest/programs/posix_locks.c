// POSIX record locks: ranges, splitting, F_GETLK, close releases, not inherited, and deadlock detection.
#include "check.h"
static int fd;
static long lk(int cmd, int type, off_t start, off_t len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}
static void get(pid_t owner, off_t start, off_t len) {
	struct flock l = {.l_type = F_WRLCK, .l_start = start, .l_len = len};
	MUST(fcntl(fd, F_GETLK, &l));
	if (l.l_type == F_UNLCK)
		printf("[%ld,%ld) free\n", (long)start, (long)(start + len));
	else
		printf("[%ld,%ld) %s from %ld len %ld owner %d\n", (long)start, (long)(start + len), l.l_type == F_WRLCK ? "write" : "read", (long)l.l_start, (long)l.l_len, l.l_pid == owner);
}
int main(void) {
	fd = file_with("f", "0123456789");
	pid_t me = getpid();
	RET(lk(F_SETLK, F_WRLCK, 0, 100));
	RET(lk(F_SETLK, F_UNLCK, 40, 20));
	RET(lk(F_SETLK, F_RDLCK, 80, 0));
	reap("child", CHILD({
		get(me, 0, 10);
		get(me, 45, 5);
		get(me, 50, 20);
		get(me, 200, 1);
		RET(lk(F_SETLK, F_RDLCK, 90, 1));
		RET(lk(F_SETLK, F_WRLCK, 90, 1));
		RET(lk(F_SETLK, F_WRLCK, 45, 5));
	}));
	int other = open("f", O_RDONLY);
	close(other); // releases all of this process's locks
	reap("child", CHILD(get(me, 0, 1000)));
	// A waiter gets it when the holder unlocks.
	RET(lk(F_SETLK, F_WRLCK, 0, 1));
	gate g = gate_new();
	pid_t c = CHILD({ gate_open(g); RET(lk(F_SETLKW, F_WRLCK, 0, 1)); });
	gate_wait(g);
	ms(40);
	lk(F_SETLK, F_UNLCK, 0, 1);
	reap("waiter", c);
	// Deadlock: each holds what the other wants.
	lk(F_SETLK, F_WRLCK, 0, 1);
	c = CHILD({ lk(F_SETLK, F_WRLCK, 1, 1); gate_open(g); RET(lk(F_SETLKW, F_WRLCK, 0, 1)); });
	gate_wait(g);
	await_state(c, 'S');
	ms(20);
	RET(lk(F_SETLKW, F_WRLCK, 1, 1));
	lk(F_SETLK, F_UNLCK, 0, 0);
	reap("child", c);
	struct flock l = {.l_type = 9};
	RET(fcntl(fd, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = -1};
	RET(fcntl(fd, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = 0, .l_len = -5};
	RET(fcntl(fd, F_SETLK, &l));
	reap("child", CHILD(get(me, 0, 100)));
	RET(fcntl(fd, F_SETLK, BAD));
	int ro = open("f", O_RDONLY);
	l = (struct flock){.l_type = F_WRLCK};
	RET(fcntl(ro, F_SETLK, &l));
	return 0;
}
