// Reads of /dev/zero clear exactly what was asked for: pieces of pages, several ranges with empty ones between, memory that was never
// touched, and what lies before memory that is not there.
#include "check.h"
#include <sys/uio.h>

#define N (3 << 20)

static long other_than(const unsigned char *p, size_t n, unsigned char v) {
	for (size_t i = 0; i < n; i++)
		if (p[i] != v) return i;
	return -1;
}

int main(void) {
	int fd = MUST(open("/dev/zero", O_RDONLY));
	unsigned char *p = mmap(0, N + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 0xaa, N);
	static const size_t at[][2] = {{0, 1}, {4095, 2}, {1, 8191}, {100, 70000}, {4096, 1 << 20}, {12345, (1 << 20) - 7}};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		size_t o = at[i][0], n = at[i][1];
		memset(p, 0xaa, N);
		printf("read %zu at %zu: %zd", n, o, read(fd, p + o, n));
		printf(" before %ld in %ld after %ld\n", other_than(p, o, 0xaa), other_than(p + o, n, 0), other_than(p + o + n, N - o - n, 0xaa));
	}
	memset(p, 0xaa, N);
	struct iovec v[] = {{p + 10, 20}, {p, 0}, {p + 5000, 5000}, {0, 0}, {p + 50, 1}, {p, 0}};
	printf("readv %zd:", readv(fd, v, 6));
	printf(" %ld %ld %ld", other_than(p + 10, 20, 0), other_than(p + 5000, 5000, 0), other_than(p + 50, 1, 0));
	printf(" rest %ld %ld %ld %ld\n", other_than(p, 10, 0xaa), other_than(p + 30, 20, 0xaa), other_than(p + 51, 4949, 0xaa), other_than(p + 10000, N - 10000, 0xaa));

	// Memory that is not there, or may not be written to.
	MUST(munmap(p + N, 8192));
	RET(read(fd, p + N - 5000, 9000));
	printf("across the end: cleared %ld\n", other_than(p + N - 5000, 5000, 0));
	RET(read(fd, p + N, 10));
	memset(p, 0xaa, 12288);
	MUST(mprotect(p + 8192, 4096, PROT_READ));
	RET(read(fd, p + 8000, 1000));
	printf("at a read-only page: cleared %ld kept %ld\n", other_than(p + 8000, 192, 0), other_than(p + 8192, 4096, 0xaa));
	RET(read(fd, p, 0));

	// Pages that a child shares are not cleared in it.
	memset(p, 0x55, 8192);
	int ready[2], go[2];
	char c;
	if (pipe(ready) || pipe(go)) return 1;
	pid_t pid = fork();
	if (pid == 0) {
		if (read(go[0], &c, 1) != 1) _exit(2);
		_exit(other_than(p, 8192, 0x55) < 0 ? 0 : 1);
	}
	RET(read(fd, p, 8192));
	printf("over shared pages: cleared %ld", other_than(p, 8192, 0));
	fflush(stdout);
	if (write(go[1], "", 1) != 1) return 1;
	int st;
	waitpid(pid, &st, 0);
	printf(" child %d\n", st);
	return 0;
}
