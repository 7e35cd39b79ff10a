// IPC namespaces: System V objects and message queues are not seen across.
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>
int main(void) {
	int id = MUST(shmget(0x7a110001, 4096, IPC_CREAT | 0600));
	if (geteuid() == 0)
		reap("elsewhere", CHILD({
			RET(unshare(CLONE_NEWIPC));
			RET(shmget(0x7a110001, 4096, 0600));
			OK(shmget(0x7a110001, 8192, IPC_CREAT | 0600));
			RET(msgget(IPC_PRIVATE, 0600) >= 0);
		}));
	RET(shmget(0x7a110001, 8192, 0600));
	RET(shmctl(id, IPC_RMID, NULL));
	return 0;
}
