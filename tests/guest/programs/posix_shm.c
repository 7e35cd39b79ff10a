// shm_open in /dev/shm: shared between processes, named and removed like files.
#include "check.h"
#include <semaphore.h>
int main(void) {
	shm_unlink("/gosv_test_shm");
	RET(shm_open("/gosv_test_shm", O_RDWR, 0600));
	int fd = MUST(shm_open("/gosv_test_shm", O_RDWR | O_CREAT | O_EXCL, 0600));
	RET(ftruncate(fd, PAGE));
	RET(access("/dev/shm/gosv_test_shm", R_OK));
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sem_t *s = (sem_t *)(p + 512);
	RET(sem_init(s, 1, 0));
	pid_t c = CHILD({
		int k = shm_open("/gosv_test_shm", O_RDWR, 0);
		char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, k, 0);
		strcpy(q, "written by the child");
		sem_post((sem_t *)(q + 512));
	});
	RET(sem_wait(s));
	printf("%s\n", p);
	reap("child", c);
	RET(shm_unlink("/gosv_test_shm"));
	RET(shm_unlink("/gosv_test_shm"));
	sem_unlink("/gosv_test_sem");
	sem_t *n = sem_open("/gosv_test_sem", O_CREAT | O_EXCL, 0600, 1);
	IS(n != SEM_FAILED);
	RET(sem_trywait(n));
	RET(sem_trywait(n));
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	RET(sem_timedwait(n, &t));
	RET(sem_unlink("/gosv_test_sem"));
	return 0;
}
