// Extended attributes of the user and trusted kinds: set, get, list, remove, flags, sizes, links.
#include "check.h"
#include <sys/xattr.h>
int main(void) {
	char b[70000] = "";
	int fd = file_with("f", "");
	RET(setxattr("f", "user.one", "1", 1, 0));
	RET(setxattr("f", "user.one", "11", 2, XATTR_CREATE));
	RET(setxattr("f", "user.two", "22", 2, XATTR_REPLACE));
	RET(setxattr("f", "user.two", "22", 2, XATTR_CREATE));
	RET(getxattr("f", "user.one", b, 10));
	RET(getxattr("f", "user.two", NULL, 0));
	RET(getxattr("f", "user.two", b, 1));
	RET(getxattr("f", "user.none", b, 10));
	RET(listxattr("f", NULL, 0));
	RET(listxattr("f", b, 5));
	memset(b, 0, 100);
	ssize_t n = listxattr("f", b, 100);
	int one = 0, two = 0;
	for (char *p = b; p < b + n; p += strlen(p) + 1) {
		one |= strcmp(p, "user.one") == 0;
		two |= strcmp(p, "user.two") == 0;
	}
	printf("listed %d %d\n", one, two);
	RET(fsetxattr(fd, "user.three", "", 0, 0));
	RET(fgetxattr(fd, "user.three", b, 10));
	RET(removexattr("f", "user.one"));
	RET(removexattr("f", "user.one"));
	RET(setxattr("f", "bogus.x", "1", 1, 0));
	RET(setxattr("f", "user.", "1", 1, 0));
	RET(setxattr("f", "", "1", 1, 0));
	RET(setxattr("f", "user.big", b, 65537, 0));
	RET(setxattr("f", "user.f", "1", 1, 9));
	RET(setxattr("none", "user.f", "1", 1, 0));
	RET(setxattr("f", "user.f", BAD, 1, 0));
	char name[300] = "user.";
	memset(name + 5, 'n', 252);
	RET(setxattr("f", name, "1", 1, 0));
	mkdir("d", 0755);
	RET(setxattr("d", "user.d", "1", 1, 0));
	symlink("f", "l");
	RET(lsetxattr("l", "user.l", "1", 1, 0));
	RET(getxattr("l", "user.two", b, 10));
	mkfifo("p", 0644);
	RET(setxattr("p", "user.p", "1", 1, 0));
	RET(fsetxattr(open("f", O_PATH), "user.p", "1", 1, 0));
	chmod("f", 0444);
	reap("nobody", CHILD({ if (geteuid() == 0) { become_nobody(); RET(setxattr("f", "user.x", "1", 1, 0)); RET(getxattr("f", "user.two", b, 10)); RET(setxattr("f", "trusted.x", "1", 1, 0)); } }));
	return 0;
}
