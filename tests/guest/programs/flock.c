// flock: shared and exclusive, across descriptors and processes, inherited by fork, released by close.
#include "check.h"
#include <sys/file.h>
int main(void) {
	int a = file_with("f", ""), b = open("f", O_RDONLY), c = dup(a);
	RET(flock(a, LOCK_EX));
	RET(flock(b, LOCK_SH | LOCK_NB));
	RET(flock(c, LOCK_EX | LOCK_NB));
	RET(flock(a, LOCK_SH));
	RET(flock(b, LOCK_SH | LOCK_NB));
	RET(flock(a, LOCK_EX | LOCK_NB));
	RET(flock(b, LOCK_UN));
	RET(flock(a, LOCK_EX | LOCK_NB));
	reap("child has it too", CHILD({ RET(flock(a, LOCK_EX | LOCK_NB)); int d = open("f", O_RDONLY); RET(flock(d, LOCK_SH | LOCK_NB)); }));
	close(a);
	RET(flock(b, LOCK_SH | LOCK_NB));
	close(c);
	RET(flock(b, LOCK_SH | LOCK_NB));
	gate g = gate_new();
	pid_t k = CHILD({ int d = open("f", O_RDWR); gate_open(g); RET(flock(d, LOCK_EX)); });
	gate_wait(g);
	ms(40);
	MUST(flock(b, LOCK_UN));
	reap("waiter", k);
	RET(flock(b, 16));
	RET(flock(99, LOCK_EX));
	RET(flock(open("f", O_PATH), LOCK_EX));
	// fcntl locks and flock do not meet.
	RET(flock(b, LOCK_EX));
	int d = open("f", O_RDWR);
	struct flock fl = {.l_type = F_WRLCK};
	RET(fcntl(d, F_SETLK, &fl));
	return 0;
}
