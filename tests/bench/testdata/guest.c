// The measured side of tests/bench: each operation by name, timed from inside, so that what is compared
// is the operation and not the start of a process. Prints nanoseconds an operation.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
static int fd, tmpfd, pipes[2][2];
static char buf[1 << 20], buf2[1 << 20];
static const char *tmpname = "/dev/shm/gosv-bench.tmp"; // a tmpfs everywhere
static const char *hostname = "/usr/bin/true";

static void die(const char *what) { perror(what); exit(1); }

// Calls and copies.
static void empty_call(void) { getppid(); }
static void lseek_set(void) { if (lseek(tmpfd, 5, SEEK_SET) != 5) die("lseek"); }
static void mask(void) {
	sigset_t set;
	sigemptyset(&set);
	if (sigprocmask(SIG_BLOCK, &set, 0)) die("sigprocmask");
}
static void wake_none(void) {
	static uint32_t nobody;
	if (syscall(SYS_futex, &nobody, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0)) die("futex");
}
static void doze(void) { nanosleep(&(struct timespec){0, 50000}, 0); }
static void yield(void) { sched_yield(); }
static void read_event(void) {
	uint64_t v;
	if (read(fd, &v, sizeof v) != sizeof v) die("read of an eventfd");
}
static void get_time(void) {
	struct timespec t;
	if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t)) die("clock_gettime");
}
static void get_cpu(void) {
	unsigned cpu;
	if (syscall(SYS_getcpu, &cpu, 0, 0)) die("getcpu");
}
static char *heap; // in the middle of a page
static void move_break(void) {
	static long to;
	to ^= 8;
	if ((char *)syscall(SYS_brk, heap + to) != heap + to) die("brk");
}
static void read_zero(void) { if (read(fd, buf, 1) != 1) die("read"); }
static void write_null(void) { if (write(fd, buf, 1) != 1) die("write"); }
static void pread_4k(void) { if (pread(tmpfd, buf, 4096, 0) != 4096) die("pread"); }
static void read_1m(void) { if (read(fd, buf, sizeof buf) != sizeof buf) die("read"); }
static void pwrite_1m(void) { if (pwrite(tmpfd, buf, sizeof buf, 0) != sizeof buf) die("pwrite"); }
static void pread_1m(void) { if (pread(tmpfd, buf, sizeof buf, 0) != sizeof buf) die("pread"); }
static void readv_1m(void) {
	struct iovec to = {buf, sizeof buf}, from = {buf2, sizeof buf2};
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != sizeof buf) die("process_vm_readv");
}

// Files.
static void open_close_of(const char *name) {
	int f = open(name, O_RDONLY);
	if (f < 0) die(name);
	close(f);
}
static void stat_of(const char *name) {
	struct stat st;
	if (stat(name, &st)) die(name);
}
static void open_close(void) { open_close_of(tmpname); }
static void open_close_host(void) { open_close_of(hostname); }
static void do_stat(void) { stat_of(tmpname); }
static void stat_host(void) { stat_of(hostname); }

// Memory.
static void map_touch(size_t n) {
	char *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) die("mmap");
	for (size_t i = 0; i < n; i += 4096) p[i] = 1;
	munmap(p, n);
}
static void mmap_4k(void) { map_touch(4096); }
static void mmap_1m(void) { map_touch(1 << 20); }

// Processes and threads.
static void wait_for(pid_t p) {
	int st;
	if (waitpid(p, &st, 0) != p || st) die("a child failed");
}
static void fork_wait(void) {
	pid_t p = fork();
	if (p < 0) die("fork");
	if (p == 0) _exit(0);
	wait_for(p);
}
static void fork_exec(void) {
	pid_t p = fork();
	if (p < 0) die("fork");
	if (p == 0) { execl("/bin/true", "true", (char *)0); _exit(127); }
	wait_for(p);
}
static void vfork_exec(void) {
	pid_t p = vfork();
	if (p < 0) die("vfork");
	if (p == 0) { execl("./small", "small", (char *)0); _exit(127); }
	wait_for(p);
}
static void spawn(char **argv) {
	pid_t p;
	if (posix_spawn(&p, argv[0], 0, 0, argv, environ)) die("posix_spawn");
	wait_for(p);
}
static void spawn_exec(void) { spawn((char *[]){"/bin/true", 0}); }
static void python_start(void) { spawn((char *[]){"/usr/bin/python3", "-c", "pass", 0}); }
static void python_loop(void) {
	spawn((char *[]){"/usr/bin/python3", "-c", "x = 0\nfor i in range(10000000): x += i * i % 7", 0});
}
static void *nothing(void *a) { return a; }
static void thread_join(void) {
	pthread_t t;
	if (pthread_create(&t, 0, nothing, 0)) die("pthread_create");
	pthread_join(t, 0);
}

// Signals.
static volatile int got;
static void handler(int s) { got = s; }
static void signal_self(void) {
	got = 0;
	raise(SIGUSR1);
	if (!got) die("no signal");
}
// The handler goes on after the instruction that faulted.
extern char after_fault[];
static char *forbidden;
static void on_fault(int s, siginfo_t *info, void *context) {
	(void)info;
	got = s;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)after_fault;
}
__attribute__((noinline, noclone)) static void fault(void) {
	got = 0;
	__asm__ volatile("movb $1, (%0)\n.globl after_fault\nafter_fault:" : : "r"(forbidden) : "memory");
	if (!got) die("no signal");
}

// Two that wait for each other.
static uint32_t turn;
static void wait_turn(uint32_t mine) {
	uint32_t v;
	while ((v = __atomic_load_n(&turn, __ATOMIC_SEQ_CST)) != mine)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, v, 0, 0, 0);
}
static void give_turn(uint32_t to) {
	__atomic_store_n(&turn, to, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}
static void futex_round(void) {
	give_turn(1);
	wait_turn(0);
}
static void *futex_echo(void *a) {
	for (;;) {
		wait_turn(1);
		give_turn(0);
	}
	return a;
}
static void pipe_round(void) {
	if (write(pipes[0][1], buf, 1) != 1 || read(pipes[1][0], buf, 1) != 1) die("pipe");
}
static void pipe_own(void) {
	if (write(pipes[0][1], buf, 1) != 1 || read(pipes[0][0], buf, 1) != 1) die("pipe");
}
static void *echo(void *a) {
	char c;
	while (read(pipes[0][0], &c, 1) == 1)
		if (write(pipes[1][1], &c, 1) != 1) break;
	return a;
}

static void need_zero(void) { if ((fd = open("/dev/zero", O_RDONLY)) < 0) die("/dev/zero"); }
static void need_null(void) { if ((fd = open("/dev/null", O_WRONLY)) < 0) die("/dev/null"); }
static void need_heap(void) {
	heap = (char *)(((uintptr_t)sbrk(0) | 4095) + 2048);
	if (brk(heap)) die("brk");
}
static void need_event(void) { // one call takes one
	uint64_t most = ULLONG_MAX - 1;
	fd = eventfd(0, EFD_SEMAPHORE);
	if (fd < 0 || write(fd, &most, sizeof most) != sizeof most) die("eventfd");
}
static void need_file(void) {
	memset(buf, 1, sizeof buf);
	memset(buf2, 1, sizeof buf2);
	tmpfd = open(tmpname, O_RDWR | O_CREAT, 0600);
	if (tmpfd < 0 || write(tmpfd, buf, sizeof buf) != sizeof buf) die(tmpname);
}
static void need_handler(void) { signal(SIGUSR1, handler); }
static void need_fault(void) {
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, 0);
	forbidden = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (forbidden == MAP_FAILED) die("mmap");
}
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
static void need_program(void) { // echo, with the pipes as its standard files
	need_pipes();
	char *argv[] = {"guest", "echo", "0", 0};
	posix_spawn_file_actions_t a;
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, pipes[0][0], 0);
	posix_spawn_file_actions_adddup2(&a, pipes[1][1], 1);
	posix_spawn_file_actions_addclose(&a, pipes[0][1]);
	pid_t pid;
	if (posix_spawn(&pid, "/proc/self/exe", &a, 0, argv, environ)) die("posix_spawn");
	close(pipes[0][0]);
}
static void echo_forever(void) {
	pipes[0][0] = 0, pipes[1][1] = 1;
	echo(0);
	_exit(0);
}
static void need_thread(void) {
	pthread_t t;
	need_pipes();
	pthread_create(&t, 0, echo, 0);
}
static void need_futex(void) {
	pthread_t t;
	pthread_create(&t, 0, futex_echo, 0);
}

static struct {
	const char *name;
	void (*prepare)(void), (*op)(void);
} ops[] = {
	{"call", 0, empty_call},
	{"lseek", need_file, lseek_set},
	{"sigprocmask", 0, mask},
	{"futex-wake", 0, wake_none},
	{"sched-yield", 0, yield},
	{"clock-gettime", 0, get_time},
	{"getcpu", 0, get_cpu},
	{"brk", need_heap, move_break},
	{"read-event", need_event, read_event},
	{"read-zero", need_zero, read_zero},
	{"write-null", need_null, write_null},
	{"pread-4k", need_file, pread_4k},
	{"read-zero-1m", need_zero, read_1m},
	{"pread-1m", need_file, pread_1m},
	{"pwrite-1m", need_file, pwrite_1m},
	{"vm-readv-1m", need_file, readv_1m},
	{"open-close", need_file, open_close},
	{"open-close-host", 0, open_close_host},
	{"stat", need_file, do_stat},
	{"stat-host", 0, stat_host},
	{"mmap-4k", 0, mmap_4k},
	{"mmap-1m", 0, mmap_1m},
	{"pipe-own", need_pipes, pipe_own},
	{"echo", 0, echo_forever},
	{"pipe-threads", need_thread, pipe_round},
	{"pipe-programs", need_program, pipe_round},
	{"pipe-processes", need_process, pipe_round},
	{"futex", need_futex, futex_round},
	{"sleep", 0, doze},
	{"thread-join", 0, thread_join},
	{"fork-wait", 0, fork_wait},
	{"vfork-exec", 0, vfork_exec},
	{"spawn-exec", 0, spawn_exec},
	{"fork-exec", 0, fork_exec},
	{"signal-self", need_handler, signal_self},
	{"fault", need_fault, fault},
	{"python-start", 0, python_start},
	{"python-loop", 0, python_loop},
};

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// guest OPERATION MILLISECONDS: repeats the operation in batches that take a thirtieth of that each. Prints the mean and the
// fastest batch, which on a busy machine is one that nothing else got between.
int main(int argc, char **argv) {
	if (argc < 3) return 2;
	uint64_t want = strtoull(argv[2], 0, 10) * 1000000ull;
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		if (strcmp(ops[i].name, argv[1])) continue;
		if (ops[i].prepare) ops[i].prepare();
		ops[i].op();
		uint64_t n = 1, batches = 0, total = 0;
		double fastest = 1e18;
		while (total < want) {
			uint64_t t = now();
			for (uint64_t k = 0; k < n; k++) ops[i].op();
			t = now() - t;
			if (t < want / 30) {
				n *= 2;
				batches = total = 0;
				continue;
			}
			batches++;
			total += t;
			if ((double)t / n < fastest) fastest = (double)t / n;
		}
		printf("%.1f %.1f\n", (double)total / batches / n, fastest);
		fflush(stdout);
		unlink(tmpname);
		_exit(0);
	}
	fprintf(stderr, "no such operation: %s\n", argv[1]);
	return 2;
}
