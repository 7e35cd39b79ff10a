// pivot_root: the new root takes over, the old one is at put_old and can be unmounted.
#include "check.h"
static long pivot(const char *a, const char *b) { return syscall(SYS_pivot_root, a, b); }
int main(void) {
	RET(pivot("none", "none"));
	private_mounts();
	mkdir("new", 0755);
	RET(pivot("new", "new"));
	MUST(mount("t", "new", "tmpfs", 0, NULL));
	mkdir("new/old", 0755);
	mkdir("new/dir", 0755);
	close(file_with("new/marker", "new root"));
	RET(pivot("new", "."));
	RET(pivot("new", "new/marker"));
	RET(pivot("new/dir", "new/old"));
	gate g = gate_new(), h = gate_new();
	pid_t other = CHILD({ chdir("/"); gate_open(h); gate_wait(g); RET(access("/marker", F_OK)); show_file("marker"); });
	gate_wait(h);
	RET(pivot("new", "new/old"));
	gate_open(g);
	reap("another process in the namespace is moved too", other);
	RET(chdir("/"));
	show_file("/marker");
	RET(access("/old/proc/self", F_OK));
	RET(access("/proc/self", F_OK));
	RET(umount2("/old", MNT_DETACH));
	RET(access("/old/proc", F_OK));
	DIR *d = opendir("/");
	int n = 0;
	while (readdir(d))
		n++;
	printf("entries %d\n", n);
	return 0;
}
