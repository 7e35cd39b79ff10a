// openat2: RESOLVE_BENEATH, IN_ROOT, NO_SYMLINKS, NO_MAGICLINKS, NO_XDEV, CACHED, and the structure's checks.
#include "check.h"
#include <linux/openat2.h>
static int dir;
static long o(const char *path, uint64_t flags, uint64_t resolve) {
	struct open_how h = {.flags = flags, .resolve = resolve};
	long r = syscall(SYS_openat2, dir, path, &h, sizeof h);
	if (r >= 0) {
		close(r);
		return 0;
	}
	return r;
}
int main(void) {
	mkdir("top", 0755);
	mkdir("top/sub", 0755);
	close(file_with("top/sub/f", "f"));
	close(file_with("outside", "o"));
	symlink("sub/f", "top/in");
	symlink("../outside", "top/out");
	symlink("/sub/f", "top/abs");
	symlink("sub/../../outside", "top/sneaky");
	symlink("/proc/self/exe", "top/magic");
	dir = open("top", O_RDONLY | O_DIRECTORY);
	RET(o("sub/f", O_RDONLY, RESOLVE_BENEATH));
	RET(o("in", O_RDONLY, RESOLVE_BENEATH));
	RET(o("sub/../sub/f", O_RDONLY, RESOLVE_BENEATH));
	RET(o("..", O_RDONLY, RESOLVE_BENEATH));
	RET(o("../outside", O_RDONLY, RESOLVE_BENEATH));
	RET(o("out", O_RDONLY, RESOLVE_BENEATH));
	RET(o("sneaky", O_RDONLY, RESOLVE_BENEATH));
	RET(o("abs", O_RDONLY, RESOLVE_BENEATH));
	RET(o("/etc/passwd", O_RDONLY, RESOLVE_BENEATH));
	RET(o("abs", O_RDONLY, RESOLVE_IN_ROOT));
	RET(o("/sub/f", O_RDONLY, RESOLVE_IN_ROOT));
	RET(o("../../../sub/f", O_RDONLY, RESOLVE_IN_ROOT));
	RET(o("out", O_RDONLY, RESOLVE_IN_ROOT));
	RET(o("in", O_RDONLY, RESOLVE_NO_SYMLINKS));
	RET(o("sub/f", O_RDONLY, RESOLVE_NO_SYMLINKS));
	RET(o("in", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
	RET(o("magic", O_RDONLY, RESOLVE_NO_MAGICLINKS));
	RET(o("magic", O_RDONLY, 0));
	RET(o("/proc/self/fd/0", O_RDONLY, RESOLVE_NO_MAGICLINKS));
	RET(o("/proc/version", O_RDONLY, RESOLVE_NO_XDEV));
	RET(o("sub/f", O_RDONLY, RESOLVE_NO_XDEV));
	RET(o("sub/f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
	RET(o("sub/f", O_RDONLY, 0x1000));
	RET(o("sub/f", 1ULL << 40, 0));
	RET(o("new", O_WRONLY | O_CREAT, RESOLVE_CACHED));
	struct open_how h = {.flags = O_RDONLY, .mode = 0644};
	RET(syscall(SYS_openat2, dir, "sub/f", &h, sizeof h));
	h.flags = O_WRONLY | O_CREAT;
	h.mode = 0100644;
	RET(syscall(SYS_openat2, dir, "sub/f", &h, sizeof h));
	h.mode = 0644;
	RET(syscall(SYS_openat2, dir, "sub/f", &h, 8));
	RET(syscall(SYS_openat2, dir, "sub/f", &h, 5000));
	RET(syscall(SYS_openat2, dir, "sub/f", BAD, sizeof h));
	return 0;
}
