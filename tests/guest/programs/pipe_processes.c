// A pipeline of processes, atomic writes from many, and a reader that is woken by the last close.
#include "check.h"
int main(void) {
	int p[2];
	MUST(pipe(p));
	for (int k = 0; k < 4; k++)
		CHILD({
			char line[100];
			memset(line, 'a' + k, 99);
			line[99] = '\n';
			for (int i = 0; i < 50; i++)
				write(p[1], line, 100);
		});
	close(p[1]);
	char b[100];
	int n = 0, torn = 0, each[4] = {0};
	FILE *f = fdopen(p[0], "r");
	while (fread(b, 1, 100, f) == 100) {
		n++;
		each[b[0] - 'a']++;
		for (int i = 0; i < 99; i++)
			torn += b[i] != b[0];
	}
	printf("lines %d torn %d each %d %d %d %d\n", n, torn, each[0], each[1], each[2], each[3]);
	while (wait(NULL) > 0)
		;
	// Ping-pong over two pipes.
	int a[2], c[2];
	pipe(a);
	pipe(c);
	pid_t k = CHILD({ int v; close(a[1]); while (read(a[0], &v, 4) == 4) { v++; write(c[1], &v, 4); } });
	close(a[0]);
	int v = 0;
	for (int i = 0; i < 300; i++) {
		write(a[1], &v, 4);
		read(c[0], &v, 4);
	}
	printf("counted to %d\n", v);
	close(a[1]);
	reap("partner", k);
	// A large write blocks until all of it is read.
	pipe(a);
	k = CHILD({ char *big = calloc(1, 300000); close(a[0]); RET(write(a[1], big, 300000)); });
	close(a[1]);
	char buf[10000];
	long total = 0, m;
	while ((m = read(a[0], buf, sizeof buf)) > 0)
		total += m;
	printf("read %ld\n", total);
	reap("writer", k);
	return 0;
}
