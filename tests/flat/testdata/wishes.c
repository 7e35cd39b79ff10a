// Addresses that a program would like to have, without insisting: low ones, round ones, and what follows them. Nobody else has those here, but for the low ones
// of a child that executes this program again.
// long: 5
#include "stress.h"
#include <sys/wait.h>
#define MB (1UL << 20)

static char *wish(uint64_t at, uint64_t len) {
	char *p = mmap((void *)at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != (char *)at) {
		WRONG("%p and not %#lx", p, at);
		return NULL;
	}
	if (p[0] || p[len - 1])
		WRONG("%p is not zero", p);
	memset(p, at >> 20, PAGE);
	memset(p + len - PAGE, at >> 20, PAGE);
	return p;
}

static void check(char *p, uint64_t len) {
	char c = (uint64_t)p >> 20;
	if (p && (p[1] != c || p[PAGE - 1] != c || p[len - 1] != c))
		WRONG("%p holds %d, %d, %d and not %d", p, p[1], p[PAGE - 1], p[len - 1], c);
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	int child = argc > 2;
	static struct { uint64_t at, len; } all[] = {
		{0x50000000, MB}, {0x50100000, MB}, {0x52000000, 64 * MB}, // what a compiler puts constants and code in
		{0xc000000000, 64 * MB}, {0xc004000000, 64 * MB}, {0xc008000000, 64 * MB}, // a heap that grows
		{0x1000000000, 8192 * MB}, {0x200000000000, 1024 * 1024 * MB},
	};
	int n = child ? 1 : sizeof all / sizeof *all;
	char *got[sizeof all / sizeof *all];
	for (int i = 0; i < n; i++)
		got[i] = wish(all[i].at, all[i].len);
	// What it has already it does not get again.
	if (mmap((void *)all[0].at, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == (void *)all[0].at)
		WRONG("%#lx once more", all[0].at);
	for (long end = now_ns() + millis * 1000000L / 2; now_ns() < end && !wrong;) {
		for (int i = 0; i < n; i++)
			check(got[i], all[i].len);
		if (child)
			continue;
		pid_t pid = fork();
		if (pid == 0) {
			for (int i = 0; i < n; i++)
				check(got[i], all[i].len);
			memset(got[3], 1, PAGE);
			execl("/proc/self/exe", argv[0], "20", "child", NULL);
			_exit(99);
		}
		for (int i = 0; i < n; i++)
			check(got[i], all[i].len);
		int status;
		MUST(waitpid(pid, &status, 0));
		if (status)
			WRONG("the child ended with %#x", status);
		MUST(munmap(got[0], all[0].len));
		got[0] = wish(all[0].at, all[0].len);
	}
	if (!child)
		VERDICT("wishes");
	return wrong != 0;
}
