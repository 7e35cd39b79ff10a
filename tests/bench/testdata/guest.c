// The measured side of tests/bench: each operation by name, timed from inside, so that what is compared
// is the operation and not the start of a process. Prints nanoseconds an operation.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int fd, tmpfd, pipes[2][2];
static char buf[4096];
static const char *tmpname = "bench.tmp";

static void die(const char *what) { perror(what); exit(1); }

static void empty_call(void) { syscall(SYS_getppid); }
static void read_zero(void) { if (read(fd, buf, 1) != 1) die("read"); }
static void write_null(void) { if (write(fd, buf, 1) != 1) die("write"); }
static void pread_4k(void) { if (pread(tmpfd, buf, 4096, 0) != 4096) die("pread"); }
static void open_close(void) {
	int f = open(tmpname, O_RDONLY);
	if (f < 0) die("open");
	close(f);
}
static void do_stat(void) {
	struct stat st;
	if (stat(tmpname, &st)) die("stat");
}
static void map_touch(size_t n) {
	char *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) die("mmap");
	for (size_t i = 0; i < n; i += 4096) p[i] = 1;
	munmap(p, n);
}
static void mmap_4k(void) { map_touch(4096); }
static void mmap_1m(void) { map_touch(1 << 20); }
static void fork_wait(void) {
	pid_t p = fork();
	if (p < 0) die("fork");
	if (p == 0) _exit(0);
	if (waitpid(p, 0, 0) != p) die("waitpid");
}
static void fork_exec(void) {
	pid_t p = fork();
	if (p < 0) die("fork");
	if (p == 0) { execl("/bin/true", "true", (char *)0); _exit(127); }
	int st;
	if (waitpid(p, &st, 0) != p || st) die("exec of true");
}
static void spawn_exec(void) {
	pid_t p;
	char *argv[] = {"true", 0};
	if (posix_spawn(&p, "/bin/true", 0, 0, argv, environ)) die("posix_spawn");
	int st;
	if (waitpid(p, &st, 0) != p || st) die("exec of true");
}
static void *nothing(void *a) { return a; }
static void thread_join(void) {
	pthread_t t;
	if (pthread_create(&t, 0, nothing, 0)) die("pthread_create");
	pthread_join(t, 0);
}
static volatile int got;
static void handler(int s) { got = s; }
static void signal_self(void) {
	got = 0;
	raise(SIGUSR1);
	if (!got) die("no signal");
}
static void pipe_round(void) {
	if (write(pipes[0][1], buf, 1) != 1 || read(pipes[1][0], buf, 1) != 1) die("pipe");
}
static void *echo(void *a) {
	char c;
	while (read(pipes[0][0], &c, 1) == 1)
		if (write(pipes[1][1], &c, 1) != 1) break;
	return a;
}

static void need_zero(void) { if ((fd = open("/dev/zero", O_RDONLY)) < 0) die("/dev/zero"); }
static void need_null(void) { if ((fd = open("/dev/null", O_WRONLY)) < 0) die("/dev/null"); }
static void need_file(void) {
	tmpfd = open(tmpname, O_RDWR | O_CREAT, 0600);
	if (tmpfd < 0 || write(tmpfd, buf, 4096) != 4096) die(tmpname);
}
static void need_handler(void) { signal(SIGUSR1, handler); }
static void need_pipes(void) { if (pipe(pipes[0]) || pipe(pipes[1])) die("pipe"); }
static void need_process(void) {
	need_pipes();
	if (fork() == 0) {
		close(pipes[0][1]);
		echo(0);
		_exit(0);
	}
	close(pipes[0][0]);
}
static void need_thread(void) {
	pthread_t t;
	need_pipes();
	pthread_create(&t, 0, echo, 0);
}

static struct {
	const char *name;
	void (*prepare)(void), (*op)(void);
} ops[] = {
	{"call", 0, empty_call},
	{"read-zero", need_zero, read_zero},
	{"write-null", need_null, write_null},
	{"pipe-processes", need_process, pipe_round},
	{"pipe-threads", need_thread, pipe_round},
	{"open-close", need_file, open_close},
	{"stat", need_file, do_stat},
	{"pread-4k", need_file, pread_4k},
	{"mmap-4k", 0, mmap_4k},
	{"mmap-1m", 0, mmap_1m},
	{"fork-wait", 0, fork_wait},
	{"fork-exec", 0, fork_exec},
	{"spawn-exec", 0, spawn_exec},
	{"thread-join", 0, thread_join},
	{"signal-self", need_handler, signal_self},
};

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// guest OPERATION MILLISECONDS: doubles the number of repetitions until they take that long.
int main(int argc, char **argv) {
	if (argc < 3) return 2;
	uint64_t want = strtoull(argv[2], 0, 10) * 1000000ull;
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		if (strcmp(ops[i].name, argv[1])) continue;
		if (ops[i].prepare) ops[i].prepare();
		ops[i].op();
		for (uint64_t n = 1;; n *= 2) {
			uint64_t t = now();
			for (uint64_t k = 0; k < n; k++) ops[i].op();
			t = now() - t;
			if (t >= want || n >= 1ull << 40) {
				printf("%.1f\n", (double)t / n);
				fflush(stdout);
				unlink(tmpname);
				_exit(0);
			}
		}
	}
	fprintf(stderr, "no such operation: %s\n", argv[1]);
	return 2;
}
