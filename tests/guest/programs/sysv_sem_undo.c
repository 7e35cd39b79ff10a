// SEM_UNDO: adjustments are applied when a process ends, not at execve, and threads share them.
#include "check.h"
#include <sys/ipc.h>
#include <sys/sem.h>
static int id;
static long op(int n, int v, int flags) {
	struct sembuf b = {n, v, flags};
	return semop(id, &b, 1);
}
static void *taker(void *a) {
	op(0, -1, SEM_UNDO);
	return NULL;
}
int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "again") == 0) {
		id = atoi(argv[2]);
		printf("after exec %d\n", semctl(id, 0, GETVAL));
		return 0;
	}
	id = MUST(semget(IPC_PRIVATE, 2, 0600));
	op(0, 5, 0);
	reap("child", CHILD({ RET(op(0, -3, SEM_UNDO)); RET(semctl(id, 0, GETVAL)); }));
	RET(semctl(id, 0, GETVAL));
	reap("killed child", CHILD({ op(0, -2, SEM_UNDO); raise(SIGKILL); }));
	RET(semctl(id, 0, GETVAL));
	reap("thread", CHILD({ pthread_t t; pthread_create(&t, NULL, taker, NULL); pthread_join(t, NULL); RET(semctl(id, 0, GETVAL)); }));
	RET(semctl(id, 0, GETVAL));
	reap("exec", CHILD({ char b[16]; op(0, -4, SEM_UNDO); snprintf(b, 16, "%d", id); execl("/proc/self/exe", "x", "again", b, NULL); }));
	RET(semctl(id, 0, GETVAL));
	// An undo wakes who waits for it.
	semctl(id, 1, SETVAL, 1);
	gate g = gate_new();
	pid_t holder = CHILD({ op(1, -1, SEM_UNDO); gate_open(g); ms(60); });
	gate_wait(g);
	RET(op(1, -1, 0));
	reap("holder", holder);
	// Setting a value forgets the adjustments.
	holder = CHILD({ op(0, -2, SEM_UNDO); semctl(id, 0, SETVAL, 9); });
	reap("setter", holder);
	RET(semctl(id, 0, GETVAL));
	semctl(id, 0, IPC_RMID);
	return 0;
}
