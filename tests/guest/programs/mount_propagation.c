// Propagation: shared, private, slave and unbindable mounts, as seen in /proc/self/mountinfo and by effect.
#include "check.h"
static void info(const char *what, const char *point) {
	FILE *f = fopen("/proc/self/mountinfo", "r");
	char l[1024], p[512], opt[512];
	while (fgets(l, sizeof l, f)) {
		if (sscanf(l, "%*d %*d %*s %*s %511s %*s %511[^-]", p, opt) < 1)
			continue;
		size_t n = strlen(p), k = strlen(point);
		if (n > k && strcmp(p + n - k, point) == 0 && p[n - k - 1] == '/')
			printf("%s: %s shared %d master %d unbindable %d\n", what, point, strstr(l, "shared:") != NULL, strstr(l, "master:") != NULL, strstr(l, "unbindable") != NULL);
	}
	fclose(f);
}
int main(void) {
	private_mounts();
	mkdir("m", 0755);
	mkdir("peer", 0755);
	mkdir("slave", 0755);
	MUST(mount("t", "m", "tmpfs", 0, NULL));
	mkdir("m/x", 0755);
	mkdir("m/y", 0755);
	info("fresh", "m");
	RET(mount(NULL, "m", NULL, MS_SHARED, NULL));
	info("made shared", "m");
	MUST(mount("m", "peer", NULL, MS_BIND, NULL));
	info("bound", "peer");
	MUST(mount("m", "slave", NULL, MS_BIND, NULL));
	RET(mount(NULL, "slave", NULL, MS_SLAVE, NULL));
	info("made slave", "slave");
	MUST(mount("t", "m/x", "tmpfs", 0, NULL));
	close(file_with("m/x/f", "one"));
	show_file("peer/x/f");
	show_file("slave/x/f");
	MUST(mount("t", "slave/y", "tmpfs", 0, NULL));
	close(file_with("slave/y/f", "two"));
	show_file("m/y/f");
	RET(umount("peer/x"));
	RET(access("m/x/f", F_OK));
	RET(access("slave/x/f", F_OK));
	RET(mount(NULL, "peer", NULL, MS_PRIVATE, NULL));
	MUST(mount("t", "m/x", "tmpfs", 0, NULL));
	close(file_with("m/x/f", "three"));
	RET(access("peer/x/f", F_OK));
	show_file("slave/x/f");
	RET(mount(NULL, "peer", NULL, MS_UNBINDABLE, NULL));
	info("unbindable", "peer");
	mkdir("z", 0755);
	RET(mount("peer", "z", NULL, MS_BIND, NULL));
	RET(mount(NULL, "peer", NULL, MS_SHARED | MS_PRIVATE, NULL));
	// A new namespace gets copies; those of shared mounts are peers.
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({ MUST(unshare(CLONE_NEWNS)); gate_open(g); gate_wait(h); show_file("m/y/n"); MUST(umount("m/y")); });
	gate_wait(g);
	MUST(mount("t", "m/y", "tmpfs", 0, NULL));
	close(file_with("m/y/n", "from the parent"));
	gate_open(h);
	reap("child", c);
	RET(access("m/y/n", F_OK));
	return 0;
}
