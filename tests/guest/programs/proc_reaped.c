// proc: what remains of the directories of a process and of a thread that have been waited for, looked at before or held open.
#include "check.h"
#include <pthread.h>
static char path[64];
static const char *of(int pid, const char *name) {
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path;
}
static int tid;
static void *thread(void *arg) {
	char c;
	tid = gettid();
	write(((int *)arg)[1], "x", 1);
	read(((int *)arg)[2], &c, 1);
	return NULL;
}
int main(void) {
	int up[2], down[2];
	struct stat st;
	char c;
	MUST(pipe(up));
	MUST(pipe(down));
	for (int round = 0; round < 3; round++) {
		int pid = fork();
		if (pid == 0) {
			read(down[0], &c, 1);
			_exit(0);
		}
		int dir = open(of(pid, ""), O_RDONLY | O_DIRECTORY), file = open(of(pid, "stat"), O_RDONLY);
		IS(dir >= 0 && file >= 0);
		RET(stat(of(pid, "task"), &st));
		char child[64];
		snprintf(child, sizeof child, "task/%d/stat", pid);
		RET(stat(of(pid, child), &st));
		write(down[1], "x", 1);
		siginfo_t si;
		RET(waitid(P_PID, pid, &si, WEXITED | WNOWAIT));
		RET(stat(of(pid, "stat"), &st)); // a zombie is still there
		RET(waitid(P_PID, pid, &si, WEXITED));
		RET(stat(of(pid, ""), &st));
		RET(stat(of(pid, "task"), &st));
		RET(faccessat(dir, "stat", F_OK, 0));
		RET(openat(dir, "stat", O_RDONLY));
		RET(read(file, &c, 1));
		close(dir);
		close(file);
	}
	for (int round = 0; round < 3; round++) {
		pthread_t t;
		int fds[3] = {0, up[1], down[0]};
		pthread_create(&t, NULL, thread, fds);
		read(up[0], &c, 1);
		char own[64];
		snprintf(own, sizeof own, "task/%d/comm", tid);
		RET(stat(of(getpid(), own), &st));
		RET(stat(of(tid, "comm"), &st));
		write(down[1], "x", 1);
		pthread_join(t, NULL);
		while (syscall(SYS_tgkill, getpid(), tid, 0) == 0)
			usleep(1000); // the thread is joined a moment before it is gone
		RET(stat(of(getpid(), own), &st));
		RET(stat(of(tid, "comm"), &st));
	}
	return 0;
}
