// A sandbox has a limit of tasks: beyond it fork and thread creation fail, and nothing else does.
#include <pthread.h>
#include "check.h"

static void *sleeper(void *arg) { pause(); return NULL; }

int main(void) {
	int status, made = 0;
	pid_t p = fork();
	if (p == 0) {
		setpgid(0, 0);
		for (int depth = 0; depth < 9; depth++) fork();
		pause();
	}
	usleep(300000);
	pthread_t t;
	while (pthread_create(&t, NULL, sleeper, NULL) == 0 && made < 1000) made++;
	CHECK(made < 1000);
	CHECK(fork() == -1 && errno == EAGAIN);
	kill(-p, SIGKILL);
	// the children of the dead become ours
	int n = 0;
	while (waitpid(-1, &status, WNOHANG) >= 0 || errno == EINTR) {
		if (n++ > 3000) break;
		usleep(1000);
	}
	CHECK(errno == ECHILD);
	p = fork();
	if (p == 0) _exit(4);
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 4);
	printf("ok\n");
	fflush(stdout);
	_exit(0);
}
