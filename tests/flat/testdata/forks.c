// Children of forks that use their parent's addresses while it waits, in every way that this can end: they exec, exit, sleep, compute,
// change their memory and what is mapped, fork on, lose their parent. Each sees its own memory and its parent's as it was.
// long: 20
#include "stress.h"

enum { PAGES = 40 };

static volatile unsigned char *mem;   // private, of known contents
static volatile unsigned *shared;     // between all
static volatile int counter;          // in .data

static void fill(unsigned char v) {
	for (int i = 0; i < PAGES; i++) mem[i * 4096] = v + i;
}

static void expect(unsigned char v, const char *who) {
	for (int i = 0; i < PAGES; i++)
		if (mem[i * 4096] != (unsigned char)(v + i)) {
			WRONG("%s: page %d is %d, not %d", who, i, mem[i * 4096], (unsigned char)(v + i));
			_exit(3);
		}
}

static void rest(long us) {
	struct timespec t = {0, us * 1000};
	nanosleep(&t, NULL);
}

static void compute(long us) {
	long until = now_ns() + us * 1000;
	while (now_ns() < until)
		for (volatile int i = 0; i < 1000; i++) {}
}

static int ended(pid_t p) {
	int st;
	if (waitpid(p, &st, 0) != p) return -1;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static void *thread(void *arg) {
	mem[0] = 7;
	compute(50);
	return arg;
}

static char *self;

// child does its kind's part; what it returns is the exit status.
static int child(int kind, unsigned char v) {
	expect(v, "child at first");
	counter++;
	__sync_fetch_and_add(shared, 1);
	switch (kind) {
	case 0:
		return 10;
	case 1:
		execl(self, self, "exec", NULL);
		return 1;
	case 2:
		fill(v + 100);
		rest(300);
		expect(v + 100, "child after sleep");
		return 12;
	case 3:
		fill(v + 50);
		compute(3000);
		expect(v + 50, "child after work");
		return 13;
	case 4: { // what is mapped changes, also under the parent's pages
		munmap((void *)(mem + 4096), 8 * 4096);
		unsigned char *p = mmap((void *)(mem + 4096), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		p[0] = 99;
		mprotect((void *)(mem + 20 * 4096), 4096, PROT_NONE);
		for (int i = 0; i < 30; i++) {
			char *q = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			q[4096] = 1;
			if (i % 2) munmap(q, 3 * 4096);
		}
		return p[0] == 99 && mem[0] == v ? 14 : 2;
	}
	case 5: { // a family
		pid_t p = fork();
		if (p == 0) {
			expect(v, "grandchild");
			fill(v + 3);
			_exit(child(2, v + 3) == 12 ? 15 : 2);
		}
		expect(v, "child while grandchild");
		int st = ended(p);
		expect(v, "child after grandchild");
		return st;
	}
	case 6: { // the grandchild goes on without its parent
		pid_t p = fork();
		if (p == 0) {
			expect(v, "orphan");
			rest(200);
			fill(v + 9);
			expect(v + 9, "orphan");
			__sync_fetch_and_add(shared + 1, 1);
			_exit(0);
		}
		return 16;
	}
	case 7: {
		pthread_t t;
		if (pthread_create(&t, NULL, thread, NULL)) return 1;
		compute(100);
		pthread_join(t, NULL);
		return mem[0] == 7 ? 17 : 2;
	}
	case 8:
		*(volatile int *)8 = 1;
		return 1;
	case 9: { // it execs in a vfork of its own
		pid_t p = vfork();
		if (p == 0) {
			execl(self, self, "exec", NULL);
			_exit(1);
		}
		int st = ended(p);
		expect(v, "child after vfork");
		return st;
	}
	case 10:
		kill(getpid(), SIGSTOP);
		expect(v, "child after a stop");
		return 20;
	}
	return 1;
}

static volatile sig_atomic_t signals;
static void on_signal(int sig) { signals++; }

static void round_of(int kind, unsigned char v) {
	fill(v);
	int before = counter;
	pid_t p = fork();
	if (p == 0) _exit(child(kind, v));
	if (kind % 3 == 0) expect(v, "parent at once");
	if (kind == 10) {
		int st;
		waitpid(p, &st, WUNTRACED);
		kill(p, SIGCONT);
	}
	int st = ended(p);
	expect(v, "parent");
	if (counter != before) WRONG("kind %d: the child's counter shows", kind);
	static const int want[] = {10, 11, 12, 13, 14, 15, 16, 17, 128 + SIGSEGV, 11, 20};
	if (st != want[kind]) WRONG("kind %d: %d, not %d", kind, st, want[kind]);
}

// one is one of several programs.
static int one(unsigned x) {
	signal(SIGALRM, on_signal);
	struct itimerval tick = {{0, 700}, {0, 700}};
	setitimer(ITIMER_REAL, &tick, NULL);
	for (long until = now_ns() + millis * 1000000L; now_ns() < until;) {
		x = x * 1103515245 + 12345;
		int kind = (x >> 16) % 11;
		fill(x);
		pid_t c = fork();
		if (c == 0) {
			setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
			_exit(child(kind, x));
		}
		int st;
		if (kind == 10) {
			while (waitpid(c, &st, WUNTRACED) < 0) {}
			kill(c, SIGCONT);
		}
		while (waitpid(c, &st, 0) < 0) {}
		expect(x, "parent among others");
	}
	setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
	while (wait(NULL) > 0) {}
	return signals > 0 ? 0 : 1;
}

int main(int argc, char **argv) {
	self = argv[0];
	if (argc > 1 && !strcmp(argv[1], "exec")) return 11;
	arguments(argc, argv);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	mem = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (argc > 2) return one(atoi(argv[2]));
	for (int kind = 0; kind <= 10; kind++) {
		long until = now_ns() + millis * 1000000L / 11;
		unsigned n = 0;
		do round_of(kind, n++);
		while (now_ns() < until);
	}
	VERDICT("one after the other");

	// All kinds in turn, with signals to the parent, from four programs that fork at the same time, each with addresses of its own.
	pid_t p[4];
	for (int i = 0; i < 4; i++) {
		char seed[2] = {'1' + i};
		if ((p[i] = fork()) == 0) {
			execl(self, self, argv[1] ? argv[1] : "150", seed, NULL);
			_exit(9);
		}
	}
	for (int i = 0; i < 4; i++) printf("program %d: %d\n", i, ended(p[i]));
	while (wait(NULL) > 0) {}
	return 0;
}
