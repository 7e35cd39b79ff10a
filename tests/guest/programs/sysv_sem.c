// System V semaphores: atomic sets of operations, waiting, counts, removal wakes, permissions and errors.
#include "check.h"
#include <sys/ipc.h>
#include <sys/sem.h>
union semun { int val; struct semid_ds *buf; unsigned short *array; };
static int id;
static long op(int n, int v, int flags) {
	struct sembuf b = {n, v, flags};
	return semop(id, &b, 1);
}
int main(void) {
	id = MUST(semget(IPC_PRIVATE, 3, 0600));
	unsigned short init[3] = {1, 0, 5}, got[3];
	RET(semctl(id, 0, SETALL, (union semun){.array = init}));
	RET(op(0, -1, 0));
	RET(op(0, -1, IPC_NOWAIT));
	RET(op(0, 0, IPC_NOWAIT));
	struct sembuf two[2] = {{2, -3, 0}, {1, -1, IPC_NOWAIT}};
	RET(semop(id, two, 2));
	RET(semctl(id, 2, GETVAL));
	two[1].sem_op = 1;
	RET(semop(id, two, 2));
	semctl(id, 0, GETALL, (union semun){.array = got});
	printf("%d %d %d\n", got[0], got[1], got[2]);
	pid_t c = CHILD({ RET(op(0, -1, 0)); });
	while (semctl(id, 0, GETNCNT) == 0)
		ms(2);
	RET(semctl(id, 0, GETNCNT));
	MUST(op(0, 1, 0));
	reap("waiter", c);
	RET(semctl(id, 0, GETPID) == c);
	c = CHILD({ RET(op(1, 0, 0)); });
	while (semctl(id, 1, GETZCNT) == 0)
		ms(2);
	MUST(semctl(id, 1, SETVAL, (union semun){.val = 0}));
	reap("waiter for zero", c);
	struct timespec t = {0, 20000000};
	struct sembuf w = {0, -1, 0};
	RET(semtimedop(id, &w, 1, &t));
	struct semid_ds ds;
	RET(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
	printf("nsems %ld mode %o\n", (long)ds.sem_nsems, ds.sem_perm.mode);
	RET(semctl(id, 0, SETVAL, (union semun){.val = 40000}));
	RET(op(2, 32767, 0));
	RET(op(3, 1, 0));
	RET(semctl(id, 5, GETVAL));
	RET(semop(id, &w, 0));
	RET(semop(id, &w, 1000));
	RET(semop(id, BAD, 1));
	RET(semctl(id, 0, 99));
	c = CHILD({ RET(op(0, -1, 0)); });
	while (semctl(id, 0, GETNCNT) == 0)
		ms(2);
	MUST(semctl(id, 0, IPC_RMID));
	reap("woken by removal", c);
	RET(op(0, 1, 0));
	RET(semget(IPC_PRIVATE, 0, 0600));
	RET(semget(0x7a110002, 1, 0600));
	id = MUST(semget(0x7a110002, 1, IPC_CREAT | IPC_EXCL | 0600));
	RET(semget(0x7a110002, 1, IPC_CREAT | IPC_EXCL | 0600));
	RET(semget(0x7a110002, 2, 0600));
	RET(semget(0x7a110002, 1, 0) == id);
	reap("stranger", CHILD({ if (geteuid() == 0) { become_nobody(); RET(semget(0x7a110002, 1, 0600)); RET(op(0, 1, 0)); RET(semctl(id, 0, IPC_RMID)); } }));
	semctl(id, 0, IPC_RMID);
	return 0;
}
