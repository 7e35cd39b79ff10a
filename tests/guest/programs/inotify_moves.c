// inotify: both halves of a move share a cookie; moves of the watched thing, out of and into the directory.
#include "check.h"
#include <sys/inotify.h>
static int in, wa, wb, ws;
static uint32_t last;
static void drain(const char *what) {
	char b[8192] __attribute__((aligned(8)));
	ssize_t n = read(in, b, sizeof b);
	printf("%s:\n", what);
	for (char *p = b; n > 0 && p < b + n;) {
		struct inotify_event *e = (void *)p;
		printf("  %s mask %x name %s cookie %s\n", e->wd == wa ? "a" : e->wd == wb ? "b" : e->wd == ws ? "self" : "?", e->mask, e->len ? e->name : "-", e->cookie == 0 ? "none" : e->cookie == last ? "same" : "new");
		last = e->cookie;
		p += sizeof *e + e->len;
	}
}
int main(void) {
	in = MUST(inotify_init1(IN_NONBLOCK));
	mkdir("a", 0755);
	mkdir("b", 0755);
	close(file_with("a/f", "x"));
	wa = inotify_add_watch(in, "a", IN_MOVE | IN_CREATE | IN_DELETE | IN_MOVE_SELF);
	wb = inotify_add_watch(in, "b", IN_MOVE | IN_CREATE | IN_DELETE);
	ws = inotify_add_watch(in, "a/f", IN_MOVE_SELF | IN_ATTRIB | IN_DELETE_SELF);
	rename("a/f", "a/g");
	drain("within");
	rename("a/g", "b/g");
	drain("across");
	rename("b/g", "outside");
	drain("out");
	rename("outside", "b/back");
	drain("in");
	mkdir("a/sub", 0755);
	rename("a/sub", "b/sub");
	drain("directory");
	close(file_with("b/victim", ""));
	rename("b/back", "b/victim");
	drain("over another");
	renameat2(AT_FDCWD, "b/victim", AT_FDCWD, "b/sub", RENAME_EXCHANGE);
	drain("exchange");
	rename("a", "c");
	drain("the watched directory itself");
	link("b/sub", "b/hard");
	drain("link");
	return 0;
}
