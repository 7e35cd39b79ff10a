// Programs at fixed addresses, several at once: a fork's child sees its own memory and not what its parent writes later, and
// a program that one at the same addresses executes finds its own data.
// build: -no-pie -fno-pie
#include "check.h"

static volatile int table[3 << 10] = {1}; // some pages of data
static volatile int other[3 << 10];

static int sum(void) {
	int s = 0;
	for (int i = 0; i < 3 << 10; i += 256)
		s += table[i] + 2 * other[i];
	return s;
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0)
		return sum();
	char *self = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < 3 << 10; i++)
		table[i] = other[i] = 2;
	int before = sum();

	int go[2], st;
	MUST(pipe(go));
	pid_t p = fork();
	if (p == 0) {
		char c;
		read(go[0], &c, 1);
		_exit(sum() == before ? 0 : 1);
	}
	for (int i = 0; i < 3 << 10; i++)
		table[i] = other[i] = 7;
	int mine = sum();
	write(go[1], "x", 1);
	waitpid(p, &st, 0);
	IS(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	IS(sum() == mine);

	// A child that reads only, while the parent writes.
	p = fork();
	if (p == 0) {
		for (int i = 0; i < 2000; i++)
			if (sum() != mine || getppid() == 0)
				_exit(1);
		_exit(0);
	}
	for (int r = 0; r < 50; r++)
		for (int i = 0; i < 3 << 10; i += 16)
			table[i] = r;
	waitpid(p, &st, 0);
	IS(WIFEXITED(st) && WEXITSTATUS(st) == 0);

	p = vfork();
	if (p == 0) {
		execl(self, self, "again", NULL);
		_exit(99);
	}
	waitpid(p, &st, 0);
	printf("executed: %d\n", WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st));
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			execl(self, self, "again", NULL);
			_exit(99);
		}
	for (int i = 0; i < 3; i++) {
		wait(&st);
		printf("executed: %d\n", WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st));
	}
	return 0;
}
