// umask is per process and shared by threads; threads share the working directory until unshare(CLONE_FS).
#include "check.h"
static void *changer(void *a) {
	if (a)
		MUST(unshare(CLONE_FS));
	umask(a ? 011 : 077);
	chdir("/");
	return NULL;
}
int main(void) {
	char b[512];
	printf("%o\n", umask(022) >= 0);
	pthread_t t;
	pthread_create(&t, NULL, changer, NULL);
	pthread_join(t, NULL);
	printf("umask %o cwd %s\n", umask(022), getcwd(b, 512));
	chdir("/tmp");
	pthread_create(&t, NULL, changer, (void *)1);
	pthread_join(t, NULL);
	printf("umask %o cwd %s\n", umask(022), getcwd(b, 512));
	printf("%o\n", umask(07777));
	printf("%o\n", umask(0));
	return 0;
}
