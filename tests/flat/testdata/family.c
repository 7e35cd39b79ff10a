// A program and children that it has forked, which talk with each other and change their memory between: what they have written to, what is mapped
// and with which rights, all at the same addresses. Each sees its own memory only, whoever has run before it.
// long: 30
#include "stress.h"

enum { MEMBERS = 5, PAGES = 64, AREAS = 4 };

struct message { unsigned char from, to, op, arg; };
enum { TOUCH, REMAP, RIGHTS, DROP, GROW, COMPUTE, SIGNAL, READ, CODE, FORK, OPS };

static int pipes[MEMBERS][2];
static int me;                         // in .data, with another value in each
static pid_t my_pid;
static unsigned char *mem;             // private, of known contents, mapped before the forks
static unsigned version[PAGES];        // of what this one has in mem
static unsigned char *area[AREAS];     // mapped since, at addresses that others have used too
static unsigned size_of[AREAS];
static volatile sig_atomic_t signals;
static unsigned char into[2 * 4096];   // that the kernel writes to

static unsigned char value(int page, unsigned v) { return me * 41 + page * 7 + v * 13 + 1; }

static unsigned char *code;            // of a function that makes a call and returns code_value
static int code_value;
static void on_signal(int sig) { signals++; }

static void check(const char *when) {
	if (syscall(SYS_getpid) != my_pid) {
		WRONG("%s: %d has the memory of %d", when, (int)syscall(SYS_getpid), (int)my_pid);
		_exit(3);
	}
	for (int i = 0; i < PAGES; i++)
		for (int at = 0; at < 4096; at += 1365)
			if (mem[i * 4096 + at] != (version[i] ? value(i, version[i]) : i)) WRONG("%s: page %d of %d", when, i, me);
	if (code_value && ((int (*)(void))code)() != code_value) WRONG("%s: code of %d", when, me);
	for (int i = 0; i < AREAS; i++)
		for (unsigned at = 0; at < size_of[i]; at += 4096)
			if (area[i][at] != (unsigned char)(me + i)) WRONG("%s: area %d of %d", when, i, me);
}

static void touch(int page) {
	version[page]++;
	memset(mem + page * 4096, value(page, version[page]), 4096);
}

static void act(int op, unsigned arg) {
	int page = arg % PAGES, a = arg % AREAS;
	switch (op) {
	case TOUCH:
		for (unsigned i = 0; i <= arg % 5; i++) touch((page + i) % PAGES);
		break;
	case REMAP: { // a page that is another one for some time
		version[page] = 0;
		unsigned char *p = mmap(mem + page * 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		for (int i = 0; i < 4096; i++)
			if (p[i]) {
				WRONG("new page of %d has %d", me, p[i]);
				break;
			}
		memset(p, page, 4096);
		break;
	}
	case RIGHTS:
		if (mprotect(mem + page * 4096, 4096, PROT_READ)) WRONG("mprotect");
		if (arg & 128 && mprotect(mem + page * 4096, 4096, PROT_NONE)) WRONG("mprotect");
		if (write(pipes[0][1], mem + page * 4096, 0) < 0) WRONG("write");
		if (mprotect(mem + page * 4096, 4096, PROT_READ | PROT_WRITE)) WRONG("mprotect");
		if (arg & 64) touch(page);
		break;
	case DROP:
		madvise(mem + page * 4096, 4096, MADV_DONTNEED);
		version[page] = 0;
		memset(mem + page * 4096, page, 4096);
		break;
	case GROW:
		if (size_of[a]) munmap(area[a], size_of[a]);
		size_of[a] = (arg % 7) * 4096;
		if (size_of[a]) {
			area[a] = mmap(NULL, size_of[a], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			memset(area[a], me + a, size_of[a]);
		}
		break;
	case COMPUTE: {
		long until = now_ns() + (arg % 100 ? 20 : 3000) * 1000L;
		while (now_ns() < until) {}
		break;
	}
	case SIGNAL: {
		int before = signals;
		kill(my_pid, SIGUSR1);
		if (signals != before + 1) WRONG("%d signals of %d", signals - before, me);
		break;
	}
	case READ: { // the kernel writes, also to what has only been read since the fork
		int p[2];
		if (pipe(p)) WRONG("pipe");
		memset(into, 0, arg % 2 ? sizeof into : 0);
		if (write(p[1], mem, 4096) != 4096 || read(p[0], into + arg % 4096, 4096) != 4096) WRONG("pipe");
		if (memcmp(into + arg % 4096, mem, 4096)) WRONG("read of %d", me);
		close(p[0]);
		close(p[1]);
		break;
	}
	case CODE: { // mov $SYS_getppid,%eax; syscall; mov $code_value,%eax; ret
		code_value = arg | 1 << 30 | me << 24;
		mprotect(code, 4096, PROT_READ | PROT_WRITE);
		memcpy(code, "\xb8\x6e\0\0\0\x0f\x05\xb8", 8);
		memcpy(code + 8, &code_value, 4);
		code[12] = 0xc3;
		mprotect(code, 4096, PROT_READ | PROT_EXEC);
		for (int i = 0; i < 20; i++)
			if (((int (*)(void))code)() != code_value) WRONG("new code of %d", me);
		break;
	}
	case FORK: {
		pid_t p = fork();
		if (p == 0) {
			my_pid = syscall(SYS_getpid);
			for (int i = 0; i < PAGES; i++) touch(i);
			check("grandchild");
			_exit(atomic_load(&wrong) != 0);
		}
		int st = 0;
		while (waitpid(p, &st, 0) < 0) {}
		if (st) WRONG("grandchild: %#x", st);
	}
	}
}

// choose is one of the operations, mostly those that change few mappings.
static int choose(unsigned x) { return x % 32 < OPS ? x % 32 : x & 64 ? READ : TOUCH; }

static void give(struct message m) {
	if (write(pipes[m.to][1], &m, sizeof m) != sizeof m) WRONG("write");
}

static int take(struct message *m) {
	for (;;) {
		ssize_t n = read(pipes[me][0], m, sizeof *m);
		if (n == sizeof *m) return 1;
		if (n < 0 && errno == EINTR) continue;
		WRONG("read: %zd", n);
		return 0;
	}
}

// member does what it is told until it is told to end.
static void member(void) {
	struct message m;
	while (take(&m) && m.op != OPS) {
		check("before");
		act(m.op, m.arg);
		check("after");
		m.from = me, m.to = 0;
		give(m);
	}
	_exit(atomic_load(&wrong) != 0);
}

static void family(int members, uint64_t seed) {
	pid_t pid[MEMBERS];
	signals = 0;
	for (int i = 0; i < MEMBERS; i++)
		if (pipe(pipes[i])) WRONG("pipe");
	mem = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code_value = 0;
	memset(version, 0, sizeof version);
	for (int i = 0; i < PAGES; i++) memset(mem + i * 4096, i, 4096);
	me = 0;
	my_pid = syscall(SYS_getpid);
	for (int i = 1; i < members; i++)
		if ((pid[i] = fork()) == 0) {
			me = i;
			my_pid = syscall(SYS_getpid);
			member();
		}
	int out = 0; // how many have been told something
	int busy[MEMBERS] = {0};
	for (long until = now_ns() + millis * 1000000L / 4; now_ns() < until || out;) {
		uint64_t x = next(&seed);
		int to = 1 + x % (members - 1);
		if (now_ns() < until && !busy[to] && (!out || x >> 8 & 1)) { // sometimes several at a time
			give((struct message){0, to, choose(x >> 24), x >> 32});
			busy[to] = 1;
			out++;
			continue;
		}
		if (!out) continue;
		if (x >> 40 & 1) act(choose(x >> 48), x >> 56);
		struct message m;
		if (!take(&m)) break;
		for (int i = 1; i < members; i++) // any of them may have been first
			if (busy[i] && i == m.from) busy[i] = 0;
		out--;
		check("parent");
	}
	for (int i = 1; i < members; i++) give((struct message){0, i, OPS, 0});
	for (int i = 1; i < members; i++) {
		int st;
		while (waitpid(pid[i], &st, 0) < 0) {}
		if (st) WRONG("member %d: %#x", i, st);
	}
	check("parent at the end");
	for (int i = 0; i < MEMBERS; i++) close(pipes[i][0]), close(pipes[i][1]);
	for (int i = 0; i < AREAS; i++)
		if (size_of[i]) munmap(area[i], size_of[i]), size_of[i] = 0;
	munmap(mem, PAGES * 4096);
	munmap(code, 4096);
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	signal(SIGUSR1, on_signal);
	family(2, 1);
	VERDICT("parent and child");
	family(3, 2);
	VERDICT("two children");
	family(MEMBERS, 3);
	VERDICT("four children");
	every(300000, SIGVTALRM);
	family(3, 4);
	VERDICT("with a timer");
	IS(alarms > 0);
	return 0;
}
