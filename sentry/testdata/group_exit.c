// A fatal signal in one thread ends all threads, whatever they are doing just then.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *sleeper(void *arg) { pause(); return NULL; }
static void *spinner(void *arg) { for (;;) getppid(); return NULL; }
static void *looper(void *arg) { for (volatile long i = 0;; i++); return NULL; }
static void *crash(void *arg) { *(volatile int *)8 = 1; return NULL; }

int main(void) {
	for (int i = 0; i < 60; i++) {
		pid_t p = fork();
		if (p == 0) {
			pthread_t t;
			void *(*kinds[])(void *) = {sleeper, spinner, looper, sleeper, crash, sleeper, sleeper};
			for (int k = 0; k < 7; k++)
				if (pthread_create(&t, NULL, kinds[k], NULL)) return 1;
			pause();
		}
		int status;
		if (waitpid(p, &status, 0) != p || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
			printf("round %d: status %#x\n", i, status);
			return 1;
		}
	}
	printf("ok\n");
	return 0;
}
