// execve in a thread ends the others, and the process keeps its pid whichever thread called.
#include "check.h"
static pid_t me;
static char self[512];
static void *caller(void *a) {
	char buf[32];
	snprintf(buf, sizeof buf, "%d", me);
	IS(gettid() != me);
	execl(self, "x", "again", buf, NULL);
	return NULL;
}
static void *spin(void *a) {
	for (;;)
		__asm__ volatile("pause");
}
int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "again") == 0) {
		IS(getpid() == atoi(argv[2]));
		IS(gettid() == getpid());
		int n = 0;
		DIR *d = opendir("/proc/self/task");
		struct dirent *e;
		while ((e = readdir(d)))
			n += e->d_name[0] != '.';
		printf("tasks %d\n", n);
		return 2;
	}
	// Not by /proc/self/exe, which leads nowhere once the first thread has exited.
	MUST(readlink("/proc/self/exe", self, sizeof self - 1));
	for (int i = 0; i < 2; i++) {
		pid_t c = CHILD({
			me = getpid();
			pthread_t t;
			pthread_create(&t, NULL, spin, NULL);
			pthread_create(&t, NULL, caller, NULL);
			if (i)
				syscall(SYS_exit, 0);
			for (;;)
				pause();
		});
		reap(i ? "leader had exited" : "leader waiting", c);
	}
	return 0;
}
