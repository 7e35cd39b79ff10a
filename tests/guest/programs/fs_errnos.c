// Which errno comes first: reads and writes at offsets of what has none, of directories; empty paths; files that epoll
// does not take; the size of an AIO context; mounting on a descriptor's link.
#include "check.h"
#include <sys/epoll.h>
#include <sys/vfs.h>
int main(void) {
	char b[16] = "";
	struct iovec v = {b, sizeof b};
	int p[2], d = MUST(open(".", O_RDONLY)), path = MUST(open(".", O_PATH));
	MUST(pipe(p));
	RET(read(d, b, sizeof b));
	RET(pread(d, b, sizeof b, 0));
	RET(preadv(d, &v, 1, 0));
	RET(preadv2(d, &v, 1, 0, 0));
	RET(preadv2(d, &v, 1, -1, 0));
	RET(pwrite(d, b, sizeof b, 0));
	RET(pread(p[0], b, 1, 0));
	RET(pread(p[1], b, 1, 0));
	RET(pwrite(p[0], b, 1, 0));
	RET(preadv(p[1], &v, 1, 0));
	RET(pwritev(p[0], &v, 1, 0));
	RET(pwritev2(p[0], &v, 1, 0, 0));
	RET(pwritev2(p[0], &v, 1, -1, 0));
	RET(pwritev(path, &v, 1, 0));
	RET(preadv(path, &v, 1, 0));
	struct statfs s;
	RET(statfs("", &s));
	RET(statfs(".", &s));

	static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/proc/self/stat", "/proc/self/mounts"};
	int ep = MUST(epoll_create1(0));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct epoll_event ev = {.events = EPOLLIN};
		int r = epoll_ctl(ep, EPOLL_CTL_ADD, MUST(open(names[i], O_RDONLY)), &ev);
		printf("epoll of %s: %s\n", names[i], r ? ename(errno) : "ok");
	}

	unsigned long ctx = 0;
	RET(syscall(SYS_io_setup, 0, &ctx));
	RET(syscall(SYS_io_setup, -1, &ctx));
	RET(syscall(SYS_io_setup, 0x400001, &ctx));
	RET(syscall(SYS_io_setup, 0x80000000, &ctx));

	private_mounts();
	close(file_with("f", "x"));
	char name[64];
	snprintf(name, sizeof name, "/proc/self/fd/%d", MUST(open("/proc/self/fd/0", O_PATH | O_NOFOLLOW)));
	int r = mount("f", name, NULL, MS_BIND, NULL);
	printf("mount on a descriptor's link: %s\n", r ? ename(errno) : "ok");
	snprintf(name, sizeof name, "/proc/self/fdinfo/%d", d);
	r = mount("f", name, NULL, MS_BIND, NULL);
	printf("mount on a fdinfo file: %s\n", r ? ename(errno) : "ok");
	return 0;
}
