// A socket with SO_RCVTIMEO, sem waits and msgrcv are interrupted even with SA_RESTART.
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
static void h(int s) {}
int main(void) {
	handle(SIGALRM, h, SA_RESTART);
	char b[64];
	int sv[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	struct timeval tv = {1, 0};
	MUST(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	ualarm(20000, 0);
	RET(read(sv[0], b, 1));
	int sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	struct sembuf op = {0, -1, 0};
	ualarm(20000, 0);
	RET(semop(sem, &op, 1));
	semctl(sem, 0, IPC_RMID);
	int q = MUST(msgget(IPC_PRIVATE, 0600));
	ualarm(20000, 0);
	RET(msgrcv(q, b, 10, 0, 0));
	msgctl(q, IPC_RMID, NULL);
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m, NULL);
	ualarm(20000, 0);
	RET(sigwaitinfo(&m, NULL));
	tv.tv_sec = 0;
	tv.tv_usec = 30000;
	MUST(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	RET(read(sv[0], b, 1));
	return 0;
}
