// /proc/PID/fd: listing, link texts, opening through them, fdinfo, and deleted files.
#include "check.h"
#include <sys/eventfd.h>
#include <sys/epoll.h>
static void text(const char *what, int fd) {
	char p[64], b[512] = "";
	snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
	if (readlink(p, b, 511) < 0) {
		printf("%s: %s\n", what, ename(errno));
		return;
	}
	char *c = strchr(b, ':'), *s = strrchr(b, '/');
	if (c && !s)
		c[1] = 0; // without the inode number
	printf("%s: %s\n", what, s && b[0] == '/' ? s : b);
}
int main(void) {
	int f = file_with("f", "content"), p[2], s[2];
	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	text("file", f);
	text("pipe", p[0]);
	text("socket", s[0]);
	text("eventfd", eventfd(0, 0));
	text("epoll", epoll_create1(0));
	text("memfd", memfd_create("mem", 0));
	text("directory", open("/proc/sys", O_RDONLY));
	text("device", open("/dev/null", O_RDONLY));
	text("none", 99);
	unlink("f");
	text("deleted", f);
	char path[64], b[16] = "";
	snprintf(path, sizeof path, "/proc/self/fd/%d", f);
	int g = open(path, O_RDWR);
	RET(pread(g, b, 3, 0));
	RET(lseek(f, 3, SEEK_SET));
	RET(lseek(g, 0, SEEK_CUR));
	snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
	int w = open(path, O_WRONLY);
	RET(write(w, "abc", 3));
	RET(read(p[0], b, 3));
	snprintf(path, sizeof path, "/proc/self/fd/%d", s[0]);
	RET(open(path, O_RDWR));
	struct stat st;
	RET(stat(path, &st));
	IS(S_ISSOCK(st.st_mode));
	RET(lstat(path, &st));
	IS(S_ISLNK(st.st_mode));
	printf("%o\n", st.st_mode & 0777);
	int ro = open("/dev/null", O_RDONLY);
	snprintf(path, sizeof path, "/proc/self/fd/%d", ro);
	lstat(path, &st);
	printf("%o\n", st.st_mode & 0777);
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", f);
	FILE *i = fopen(path, "r");
	long pos = -1;
	unsigned flags = 0;
	fscanf(i, "pos: %ld flags: %o", &pos, &flags);
	printf("pos %ld flags %o\n", pos, flags & ~0100000);
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	while ((e = readdir(d)))
		n += atoi(e->d_name) == p[1];
	printf("listed %d\n", n);
	RET(access("/dev/fd/0", F_OK));
	RET(unlink(path) < 0);
	reap("a child's", CHILD({ snprintf(path, sizeof path, "/proc/%d/fd/%d", getppid(), p[1]); int k = open(path, O_WRONLY); RET(write(k, "up", 2)); }));
	RET(read(p[0], b, 16));
	return 0;
}
