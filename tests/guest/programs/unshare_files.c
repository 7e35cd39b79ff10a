// unshare(CLONE_FILES) and clone without it: descriptor tables of threads.
#include "check.h"
static int fd;
static void *body(void *a) {
	if (a)
		MUST(unshare(CLONE_FILES));
	close(fd);
	return NULL;
}
int main(void) {
	pthread_t t;
	fd = open("/dev/null", O_RDONLY);
	pthread_create(&t, NULL, body, (void *)1);
	pthread_join(t, NULL);
	RET(fcntl(fd, F_GETFD));
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	RET(fcntl(fd, F_GETFD));
	usleep(100000); // the joined thread has not quite gone yet, natively too
	RET(unshare(CLONE_VM));
	RET(unshare(CLONE_SIGHAND));
	RET(unshare(0));
	RET(unshare(CLONE_SYSVSEM));
	return 0;
}
