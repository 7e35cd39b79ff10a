// A program against another C library: static, threads, signals, exec.
// cc: musl-gcc
// build: -static
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int n;
static void h(int s) { n++; }
static void *body(void *a) { return (void *)((long)a * 2); }
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		printf("executed\n");
		return 3;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	pthread_t t[8];
	long sum = 0;
	for (long i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, body, (void *)i);
	for (int i = 0; i < 8; i++) {
		void *r;
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	printf("sum %ld\n", sum);
	signal(SIGUSR1, h);
	raise(SIGUSR1);
	printf("signals %d\n", n);
	pid_t p = fork();
	if (p == 0) {
		execl("/proc/self/exe", "x", "again", NULL);
		_exit(1);
	}
	int st;
	waitpid(p, &st, 0);
	printf("status %d\n", WEXITSTATUS(st));
	char *m = malloc(10 << 20);
	memset(m, 1, 10 << 20);
	printf("malloc %d\n", m[5 << 20]);
	FILE *f = popen("echo from a shell", "r");
	char b[64] = "";
	fgets(b, sizeof b, f);
	printf("%sstatus %d\n", b, pclose(f));
	return 0;
}
