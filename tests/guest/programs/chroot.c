// chroot: paths and symlinks stay inside; the working directory may be outside; only root may.
#include "check.h"
int main(void) {
	mkdir("jail", 0755);
	mkdir("jail/in", 0755);
	close(file_with("jail/in/f", "inside"));
	close(file_with("out", "outside"));
	symlink("/in/f", "jail/abs");
	symlink("../../../../in/f", "jail/up");
	reap("unprivileged", CHILD({ become_nobody(); RET(chroot("jail")); }));
	RET(chroot("none"));
	RET(chroot("out"));
	if (geteuid() != 0)
		return 0;
	reap("jailed", CHILD({
		RET(chroot("jail"));
		RET(access("/in/f", F_OK));
		show_file("/abs");
		show_file("/up");
		RET(access("out", F_OK)); // the working directory is still outside
		char b[512];
		RET(syscall(SYS_getcwd, b, sizeof b) > 0);
		printf("%.13s\n", b);
		RET(chdir("/"));
		RET(access("out", F_OK));
		RET(access("../out", F_OK));
		getcwd(b, sizeof b);
		printf("%s\n", b);
		RET(access("/proc", F_OK));
		reap("inherited", CHILD({ RET(access("/in", F_OK)); }));
	}));
	RET(access("out", F_OK));
	return 0;
}
