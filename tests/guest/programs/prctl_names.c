// Thread names: PR_SET_NAME, /proc/self/comm, truncation, inheritance and reset by execve.
#include "check.h"
static void *body(void *a) {
	char b[20] = "";
	prctl(PR_GET_NAME, b);
	printf("thread inherits: %s\n", b);
	prctl(PR_SET_NAME, "mine");
	prctl(PR_GET_NAME, b);
	printf("thread: %s\n", b);
	return NULL;
}
int main(int argc, char **argv) {
	char b[20] = "";
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		prctl(PR_GET_NAME, b);
		printf("after exec: %s\n", b);
		return 0;
	}
	prctl(PR_GET_NAME, b);
	printf("at start: %s\n", b);
	RET(prctl(PR_SET_NAME, "a name that is too long"));
	prctl(PR_GET_NAME, b);
	printf("%s\n", b);
	show_file("/proc/self/comm");
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	show_file("/proc/self/comm");
	RET(put("/proc/self/comm", "written"));
	prctl(PR_GET_NAME, b);
	printf("%s\n", b);
	reap("child", CHILD({ prctl(PR_GET_NAME, b); printf("child: %s\n", b); }));
	RET(prctl(PR_SET_NAME, BAD));
	symlink("/proc/self/exe", "alink");
	char exe[512] = "";
	readlink("/proc/self/exe", exe, 511);
	unlink("alink");
	symlink(exe, "alink");
	execl("./alink", "zero", "again", NULL);
	return 1;
}
