// F_NOTIFY: the signal has come when the call that changed the directory returns; to the directory and to the one
// above it; DN_RENAME only for a change of name within the directory; once, or with DN_MULTISHOT for good.
#include "check.h"
static volatile int up, sub, other;
static int upfd, subfd;
static void h(int s, siginfo_t *i, void *u) {
	if (i->si_fd == upfd)
		up++;
	else if (i->si_fd == subfd)
		sub++;
	else
		other++;
}
static void say(const char *what) {
	printf("%s: above %d, directory %d, other %d\n", what, up, sub, other);
	up = sub = other = 0;
}
static void watch(int fd, unsigned what) {
	MUST(fcntl(fd, F_NOTIFY, 0));
	MUST(fcntl(fd, F_NOTIFY, what));
}
int main(void) {
	int sig = SIGRTMIN + 1;
	MUST(mkdir("d", 0755));
	close(file_with("f", "x"));
	handle_info(sig, h, SA_RESTART);
	upfd = MUST(open(".", O_RDONLY));
	subfd = MUST(open("d", O_RDONLY));
	MUST(fcntl(upfd, F_SETSIG, sig));
	MUST(fcntl(subfd, F_SETSIG, sig));
	watch(upfd, DN_ATTRIB | DN_MULTISHOT);
	watch(subfd, DN_ATTRIB | DN_MULTISHOT);
	MUST(chmod("d", 0700));
	say("chmod of the directory");
	MUST(chmod("f", 0600));
	say("chmod of a file beside it");
	watch(upfd, DN_RENAME | DN_MULTISHOT);
	watch(subfd, DN_RENAME | DN_MULTISHOT);
	MUST(rename("f", "d/f"));
	say("rename from one to the other");
	MUST(rename("d", "e"));
	say("rename of the directory");
	MUST(rename("e/f", "e/g"));
	say("rename in the directory");
	watch(upfd, DN_CREATE);
	watch(subfd, DN_CREATE | DN_DELETE | DN_MULTISHOT);
	close(file_with("e/1", ""));
	close(file_with("e/2", ""));
	close(file_with("1", ""));
	close(file_with("2", ""));
	say("two new files in each");
	MUST(rename("e/1", "e/3"));
	say("rename as create and delete");
	MUST(unlink("e/3"));
	say("unlink");
	RET(fcntl(MUST(open("1", O_RDONLY)), F_NOTIFY, DN_CREATE));
	return 0;
}
