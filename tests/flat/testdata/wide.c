// Address space without much memory: a program reserves far more than any program usually has, by the gigabyte and by the terabyte, gives some of it back, forks and
// executes itself again and again, so that what it leaves unused would add up.
// long: 12
#include "stress.h"
#include <sys/wait.h>
#define GB (1UL << 30)
#define MOST 400

static struct part {
	char *at;
	uint64_t len, mark;
} parts[MOST];
static int n;
static uint64_t seed = 0x9e3779b97f4a7c15;

static void check(const char *when) {
	for (int i = 0; i < n; i++) {
		struct part *p = &parts[i];
		if (*(uint64_t *)p->at != p->mark || *(uint64_t *)(p->at + p->len - 8) != p->mark + 1)
			WRONG("%s: part %d, %lu GB at %p: %lx", when, i, p->len / GB, p->at, *(uint64_t *)p->at);
	}
}

static void mark(struct part *p) {
	p->mark = next(&seed);
	*(uint64_t *)p->at = p->mark;
	*(uint64_t *)(p->at + p->len - 8) = p->mark + 1;
}

static void add(uint64_t len) {
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		WRONG("%lu GB beside %d others: %s", len / GB, n, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++)
		if (at < parts[i].at + parts[i].len && parts[i].at < at + len)
			WRONG("%p of %lu GB is where %p of %lu GB is", at, len / GB, parts[i].at, parts[i].len / GB);
	if (*(uint64_t *)at || *(uint64_t *)(at + len - 8))
		WRONG("%lu GB at %p are not zero", len / GB, at);
	parts[n] = (struct part){.at = at, .len = len};
	mark(&parts[n++]);
}

static void drop(int i) {
	MUST(munmap(parts[i].at, parts[i].len));
	parts[i] = parts[--n];
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	int again = argc > 2 ? atoi(argv[2]) : 1 + millis / 200;
	for (int i = 0; i < 300; i++)
		add(GB);
	for (int i = 0; i < 8; i++)
		add(300 * GB);
	add(4096 * GB);
	check("mapped");
	for (int i = 0; i < 200; i++) {
		drop(next(&seed) % n);
		add(GB * (1 + next(&seed) % 3));
	}
	check("mapped again");
	// Where the first ones were there is room again.
	char *hint = parts[0].at;
	MUST(munmap(hint, parts[0].len));
	char *got = mmap(hint, GB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (got != hint)
		WRONG("%p and not %p, which is free", got, hint);
	MUST(munmap(got, GB));
	parts[0] = parts[--n];
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			check("in the child");
			drop(i);
			for (int j = 0; j < n; j += 7)
				mark(&parts[j]);
			add(500 * GB);
			check("changed by the child");
			_exit(wrong != 0);
		}
		int status;
		MUST(waitpid(pid, &status, 0));
		if (status)
			WRONG("the child ended with %#x", status);
		check("in the parent");
	}
	if (wrong || again == 0) {
		VERDICT("wide");
		return 0;
	}
	char ms[20], left[20];
	sprintf(ms, "%d", millis);
	sprintf(left, "%d", again - 1);
	execl("/proc/self/exe", argv[0], ms, left, NULL);
	perror("exec");
	return 1;
}
