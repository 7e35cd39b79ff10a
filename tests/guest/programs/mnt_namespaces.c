// Mount namespaces: unshare and setns of mounts, uts names, and their files in /proc/self/ns.
#include "check.h"
#include <sys/utsname.h>
int main(void) {
	struct stat a, b;
	RET(unshare(0x1));
	RET(setns(99, 0));
	RET(setns(0, 0));
	stat("/proc/self/ns/uts", &a);
	stat("/proc/self/ns/mnt", &b);
	IS(a.st_ino != b.st_ino);
	char l[64] = "";
	RET(readlink("/proc/self/ns/uts", l, 63) > 5);
	printf("%.5s\n", l);
	if (geteuid() != 0) {
		RET(unshare(CLONE_NEWUTS));
		return 0;
	}
	int old = MUST(open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
	struct utsname u, v;
	uname(&u);
	RET(unshare(CLONE_NEWUTS));
	stat("/proc/self/ns/uts", &b);
	IS(a.st_ino != b.st_ino);
	RET(sethostname("elsewhere", 9));
	RET(setdomainname("domain", 6));
	uname(&v);
	printf("%s %s\n", v.nodename, v.domainname);
	RET(setns(old, CLONE_NEWNS));
	RET(setns(old, CLONE_NEWUTS));
	uname(&v);
	IS(strcmp(u.nodename, v.nodename) == 0);
	RET(sethostname("x", 1000));
	RET(sethostname(BAD, 1));
	private_mounts();
	mkdir("m", 0755);
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({ MUST(unshare(CLONE_NEWNS)); MUST(mount("t", "m", "tmpfs", 0, NULL)); close(file_with("m/in", "in the child's namespace")); gate_open(g); gate_wait(h); });
	gate_wait(g);
	RET(access("m/in", F_OK));
	char path[600], cwd[512];
	getcwd(cwd, sizeof cwd);
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", c);
	int ns = open(path, O_RDONLY);
	reap("visitor", CHILD({ RET(setns(ns, 0)); chdir(cwd); show_file("m/in"); }));
	snprintf(path, sizeof path, "/proc/%d/root%s/m/in", c, cwd);
	RET(access(path, F_OK));
	reap("by pidfd", CHILD({ int p = syscall(SYS_pidfd_open, c, 0); RET(setns(p, CLONE_NEWNS)); chdir(cwd); RET(access("m/in", F_OK)); }));
	gate_open(h);
	reap("child", c);
	return 0;
}
