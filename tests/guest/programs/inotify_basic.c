// inotify: events of files and directories, masks, one-shot, removal, coalescing and errors.
#include "check.h"
#include <sys/inotify.h>
static int in, wd, wf;
static void drain(const char *what) {
	char b[8192] __attribute__((aligned(8)));
	ssize_t n = read(in, b, sizeof b);
	printf("%s:\n", what);
	for (char *p = b; n > 0 && p < b + n;) {
		struct inotify_event *e = (void *)p;
		printf("  %s mask %x name %s\n", e->wd == wd ? "dir" : e->wd == wf ? "file" : "other", e->mask, e->len ? e->name : "-");
		p += sizeof *e + e->len;
	}
}
int main(void) {
	in = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	mkdir("d", 0755);
	close(file_with("d/f", "x"));
	wd = MUST(inotify_add_watch(in, "d", IN_ALL_EVENTS));
	wf = MUST(inotify_add_watch(in, "d/f", IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF));
	int fd = open("d/f", O_RDWR);
	drain("open");
	write(fd, "a", 1);
	write(fd, "a", 1);
	drain("two writes");
	char b[4];
	pread(fd, b, 1, 0);
	drain("read");
	fchmod(fd, 0600);
	drain("chmod");
	close(fd);
	drain("close");
	close(open("d/new", O_CREAT | O_WRONLY, 0644));
	drain("create");
	mkdir("d/sub", 0755);
	drain("mkdir");
	unlink("d/new");
	rmdir("d/sub");
	drain("delete");
	truncate("d/f", 0);
	drain("truncate");
	unlink("d/f");
	drain("unlink the watched file");
	RET(read(in, b, 4));
	RET(inotify_rm_watch(in, wf));
	RET(inotify_rm_watch(in, wd));
	drain("rm_watch");
	wd = inotify_add_watch(in, "d", IN_CREATE | IN_ONESHOT);
	close(open("d/1", O_CREAT | O_WRONLY, 0644));
	close(open("d/2", O_CREAT | O_WRONLY, 0644));
	drain("one-shot");
	RET(inotify_add_watch(in, "d/1", IN_ONLYDIR | IN_CREATE));
	RET(inotify_add_watch(in, "none", IN_CREATE));
	RET(inotify_add_watch(in, "d", 0));
	RET(inotify_add_watch(0, "d", IN_CREATE));
	RET(inotify_add_watch(99, "d", IN_CREATE));
	RET(inotify_init1(0x1));
	RET(read(in, b, 4));
	wd = inotify_add_watch(in, "d", IN_CREATE);
	IS(inotify_add_watch(in, "d", IN_DELETE | IN_MASK_ADD) == wd);
	RET(inotify_add_watch(in, "d", IN_DELETE | IN_MASK_CREATE));
	unlink("d/1");
	int avail = 0;
	RET(ioctl(in, FIONREAD, &avail));
	printf("bytes waiting %d\n", avail);
	RET(read(in, b, 4));
	drain("added mask");
	return 0;
}
