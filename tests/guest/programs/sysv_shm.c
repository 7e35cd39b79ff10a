// System V shared memory: attach, detach, sharing, removal while attached, flags, stat and errors.
#include "check.h"
#include <sys/ipc.h>
#include <sys/shm.h>
int main(void) {
	catch_faults();
	struct shmid_ds ds;
	int id = MUST(shmget(IPC_PRIVATE, 5000, 0600));
	char *a = shmat(id, NULL, 0);
	IS(a != (void *)-1);
	strcpy(a, "shared");
	char *b = shmat(id, NULL, SHM_RDONLY);
	printf("%s, store: %s\n", b, sname(FAULTS(POKE(b))));
	reap("child", CHILD({ strcpy(a, "from child"); RET(shmctl(id, IPC_STAT, &ds)); printf("attached %ld\n", (long)ds.shm_nattch); }));
	printf("%s\n", b);
	RET(shmctl(id, IPC_STAT, &ds));
	printf("size %ld attached %ld cpid %d lpid differs %d\n", (long)ds.shm_segsz, (long)ds.shm_nattch, ds.shm_cpid == getpid(), ds.shm_lpid != 0);
	RET(shmdt(b));
	RET(shmdt(b));
	RET(shmdt(a + 1));
	RET(shmctl(id, IPC_RMID, NULL));
	shmctl(id, IPC_STAT, &ds);
	printf("marked %d attached %ld\n", (ds.shm_perm.mode & SHM_DEST) != 0, (long)ds.shm_nattch);
	char *c = shmat(id, NULL, 0);
	printf("still attachable: %s\n", c == (void *)-1 ? ename(errno) : c);
	shmdt(c);
	RET(shmdt(a));
	OK(shmat(id, NULL, 0));
	OK(shmget(IPC_PRIVATE, 0, 0600));
	OK(shmget(0x7a110003, 100, 0600));
	id = MUST(shmget(0x7a110003, 100, IPC_CREAT | 0600));
	OK(shmget(0x7a110003, 100, IPC_CREAT | IPC_EXCL | 0600));
	OK(shmget(0x7a110003, 10000, 0600));
	char *place = mmap(NULL, 16384, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	OK(shmat(id, place + 1, 0));
	IS(shmat(id, place + 100, SHM_RND | SHM_REMAP) == place);
	OK(shmat(id, place, 0));
	OK(shmat(id, NULL, SHM_REMAP));
	munmap(place, 4096);
	shmctl(id, IPC_STAT, &ds);
	printf("munmap detaches: %ld\n", (long)ds.shm_nattch);
	reap("stranger", CHILD({ if (geteuid() == 0) { become_nobody(); OK(shmat(id, NULL, 0)); RET(shmctl(id, IPC_RMID, NULL)); } }));
	RET(shmctl(id, IPC_RMID, NULL));
	RET(shmctl(id, IPC_STAT, &ds));
	return 0;
}
