// A file mapped the way a dynamic linker maps a library: all of it read-only, then its text, its data and zero pages over that.
#include "check.h"

enum { head = 5, text = 40, consts = 9, data = 30, bss = 13, filled = head + text + consts + data };

static int sum(const unsigned char *p, int pages) {
	int n = 0;
	for (int i = 0; i < pages; i++) n += p[i * PAGE] * (i + 1);
	return n;
}

int main(void) {
	char name[] = "/tmp/like_library.XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	unsigned char page[PAGE];
	for (int i = 0; i < filled; i++) {
		memset(page, i + 1, PAGE);
		if (write(fd, page, i == filled - 1 ? 100 : PAGE) < 0) return 1;
	}
	unsigned char *m = mmap(0, (filled + bss) * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	unsigned char *t = m + head * PAGE, *c = t + text * PAGE, *d = c + consts * PAGE, *z = d + data * PAGE;
	printf("text %d\n", mmap(t, text * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, head * PAGE) == t);
	printf("consts %d\n", mmap(c, consts * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, (head + text) * PAGE) == c);
	printf("data %d\n", mmap(d, data * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, (head + text + consts) * PAGE) == d);
	printf("bss %d\n", mmap(z, bss * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == z);
	memset(z - PAGE + 100, 0, PAGE - 100);
	d[3 * PAGE] = 200;
	printf("sums %d %d %d %d %d\n", sum(m, head), sum(t, text), sum(c, consts), sum(d, data), sum(z, bss));
	for (int i = 0; i < data; i += 2) d[i * PAGE + 1] = 77;
	z[5 * PAGE] = 9;
	printf("sums %d %d\n", sum(d, data), sum(z, bss));
	for (int i = 0; i < 3; i++) {
		pread(fd, page, PAGE, (long)(head + text + consts + i) * PAGE);
		printf("the file has %d %d\n", page[0], page[1]);
	}
	printf("relro %d\n", mprotect(d, 4 * PAGE, PROT_READ));
	fflush(stdout);
	for (int k = 0; k < 4; k++) {
		pid_t p = fork();
		if (p == 0) {
			volatile unsigned char *at[] = {m, t + 7 * PAGE, d + 3 * PAGE, d + 4 * PAGE};
			*at[k] = 1;
			_exit(d[3 * PAGE] == 200 && d[4 * PAGE] == 1 ? 3 : 4);
		}
		int st;
		waitpid(p, &st, 0);
		printf("write %d: signal %d status %d\n", k, WIFSIGNALED(st) ? WTERMSIG(st) : 0, WIFEXITED(st) ? WEXITSTATUS(st) : -1);
	}
	printf("own %d %d\n", d[3 * PAGE], d[4 * PAGE]);
	return 0;
}
