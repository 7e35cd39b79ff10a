// Makes the kernel keep as much as it can get of one kind, in as many processes as help, until it is refused or some
// seconds have passed; and then waits for a line. It has no memory of its own. It prints how much it got, and the
// errno that ended it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static char buf[1 << 16];
static int fails;
static long n;

// one makes one more, and returns whether it could.
static int sockets(void) {
	int sv[2];
	if (socketpair(AF_UNIX, n & 1 ? SOCK_STREAM : SOCK_DGRAM, 0, sv) < 0) return 0;
	while (send(sv[0], buf, n & 1 ? 60000 : 4200, MSG_DONTWAIT) > 0);
	return 1;
}
static int pipes(void) {
	int p[2];
	if (pipe2(p, O_NONBLOCK) < 0) return 0;
	while (write(p[1], buf, 4096) > 0);
	return 1;
}
static int msgs(void) {
	int id = msgget(IPC_PRIVATE, 0600);
	if (id < 0) return 0;
	for (;;) {
		*(long *)buf = 1;
		if (msgsnd(id, buf, 4000, IPC_NOWAIT) < 0) return errno == EAGAIN;
	}
}
static int emptymsgs(void) {
	static int id = -1;
	int made = 0;
	if (id < 0) id = msgget(IPC_PRIVATE, 0600);
	*(long *)buf = 1;
	while (made < 1000 && msgsnd(id, buf, 0, IPC_NOWAIT) == 0) made++;
	if (made == 0) { id = msgget(IPC_PRIVATE, 0600); return id >= 0; }
	return 1;
}
static int mqueues(void) {
	char name[32];
	struct mq_attr a = {.mq_maxmsg = 10, .mq_msgsize = 8192};
	sprintf(name, "/h%d.%ld", getpid(), n);
	struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_MSGQUEUE, &r);
	int q = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &a);
	if (q < 0) return 0;
	while (mq_send(q, buf, 8192, 0) == 0);
	return errno == EAGAIN;
}
static int sems(void) { return semget(IPC_PRIVATE, 32000, 0600) >= 0; }
static int files(void) { return open("/dev/null", O_RDONLY) >= 0; }
static int epolls(void) {
	static int target[64], ep;
	if (n % 64 == 0) ep = epoll_create1(0);
	if (n < 64) target[n] = eventfd(0, 0);
	struct epoll_event e = {.events = EPOLLIN};
	return ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, target[n % 64], &e) == 0;
}
static int watches(void) {
	static int in = -1;
	char name[32];
	if (n % 60000 == 0) in = inotify_init1(0);
	sprintf(name, "/tmp/w%d.%ld", getpid(), n);
	int fd = creat(name, 0600);
	if (fd < 0) return 0;
	close(fd);
	return inotify_add_watch(in, name, IN_ALL_EVENTS) >= 0;
}
static int inodes(void) {
	char name[300];
	if (n == 0) {
		char opt[] = "nr_inodes=0";
		mkdir("/tmp/t", 0700);
		mount("t", "/tmp/t", "tmpfs", 0, opt);
	}
	memset(name, 'a', sizeof name);
	sprintf(name + 200, "%d.%ld", getpid(), n);
	memcpy(name, "/tmp/t/", 7);
	buf[4000] = 0;
	return n & 1 ? symlink(buf, name) == 0 : mkdir(name, 0700) == 0;
}
static int links(void) {
	char name[300];
	if (n == 0) close(creat("/tmp/hoard.f", 0600));
	memset(name, 'b', sizeof name);
	sprintf(name + 200, "%d.%ld", getpid(), n);
	memcpy(name, "/tmp/", 5);
	return link("/tmp/hoard.f", name) == 0;
}
static int xattrs(void) {
	static char name[32];
	if (n % 16 == 0) {
		sprintf(name, "/tmp/x%d.%ld", getpid(), n);
		close(creat(name, 0600));
	}
	char attr[32];
	sprintf(attr, "user.%ld", n);
	return setxattr(name, attr, buf, 60000, 0) == 0 || errno == ENOSPC && n % 16;
}
static int locks(void) {
	static int fd = -1;
	if (n % 2000 == 0) { // who has many is slow
		char name[32];
		sprintf(name, "/tmp/l%d.%ld", getpid(), n);
		fd = open(name, O_CREAT | O_RDWR, 0600);
	}
	struct flock f = {.l_type = F_WRLCK, .l_start = n % 2000 * 2, .l_len = 1};
	return fcntl(fd, F_SETLK, &f) == 0;
}
static int regions(void) {
	char *p = mmap(0, 4096, n & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED;
}
static int timers(void) {
	timer_t t;
	struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_SIGPENDING, &r);
	struct sigevent e = {.sigev_notify = SIGEV_NONE};
	return timer_create(CLOCK_MONOTONIC, &e, &t) == 0;
}
static int signals(void) {
	struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_SIGPENDING, &r);
	sigset_t s;
	sigfillset(&s);
	sigprocmask(SIG_BLOCK, &s, 0);
	union sigval v = {0};
	return sigqueue(getpid(), SIGRTMIN, v) == 0;
}
static int memfds(void) { return memfd_create("x", 0) >= 0; }
static int mounts(void) {
	mkdir("/tmp/m", 0700);
	return mount("t", "/tmp/m", "tmpfs", 0, "") == 0;
}
static void *sleeper(void *p) { pause(); return 0; }
static int threads(void) {
	pthread_t t;
	static pthread_attr_t a;
	if (n == 0) {
		pthread_attr_init(&a);
		pthread_attr_setstacksize(&a, 16384);
	}
	int e = pthread_create(&t, &a, sleeper, 0);
	errno = e;
	return e == 0;
}
static int negative(void) {
	char name[300];
	memset(name, 'c', sizeof name);
	sprintf(name + 200, "%d.%ld", getpid(), n);
	name[0] = '/';
	access(name, F_OK);
	return 1;
}

static struct { const char *name; int (*one)(void); int procs; long most; } kinds[] = {
	{"sockets", sockets, 4, 100000}, {"pipes", pipes, 4, 100000}, {"msgs", msgs, 1, 32000}, {"emptymsgs", emptymsgs, 1, 32000}, {"mqueues", mqueues, 1, 20000},
	{"sems", sems, 1, 32000}, {"files", files, 8, 500000}, {"epolls", epolls, 8, 500000}, {"watches", watches, 2, 500000},
	{"inodes", inodes, 1, 1000000}, {"links", links, 1, 1000000}, {"xattrs", xattrs, 1, 100000}, {"locks", locks, 8, 200000},
	{"regions", regions, 12, 65000}, {"timers", timers, 8, 400000}, {"signals", signals, 8, 400000}, {"memfds", memfds, 4, 500000},
	{"mounts", mounts, 1, 100000}, {"threads", threads, 4, 3000}, {"negative", negative, 1, 400000},
};

int main(int argc, char **argv) {
	for (int i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(argv[1], kinds[i].name)) continue;
		int p[2];
		struct rlimit r = {1 << 20, 1 << 20};
		setrlimit(RLIMIT_NOFILE, &r);
		memset(buf, 'x', sizeof buf);
		pipe(p);
		setpgid(0, 0);
		for (int k = 0; k < kinds[i].procs; k++) {
			if (fork()) continue;
			close(p[0]);
			time_t end = time(0) + 6;
			for (fails = 0; n < kinds[i].most && fails < 20 && ((n & 255) || time(0) < end); )
				if (kinds[i].one()) n++;
				else fails++;
			int e = errno;
			dprintf(p[1], "%ld %s\n", n, fails ? strerrorname_np(e) : "-");
			close(p[1]);
			pause();
			_exit(0);
		}
		close(p[1]);
		char line[8192];
		int at = 0, got;
		while ((got = read(p[0], line + at, sizeof line - 1 - at)) > 0) at += got;
		line[at] = 0;
		printf("%s", line);
		printf("ready\n");
		fflush(stdout);
		fgets(line, sizeof line, stdin);
		signal(SIGTERM, SIG_IGN);
		kill(0, SIGTERM);
		while (wait(0) > 0);
		return 0;
	}
	return 2;
}
