// What execve does to capabilities: root gets all, others none, ambient ones stay, the bounding set limits.
#include "check.h"
#include <linux/capability.h>
static void show(const char *w) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	syscall(SYS_capget, &h, d);
	printf("%s: CHOWN %d%d%d NET_RAW %d%d%d ambient %d securebits %x\n", w, d[0].effective & 1, d[0].permitted & 1, d[0].inheritable & 1, d[0].effective >> 13 & 1, d[0].permitted >> 13 & 1, d[0].inheritable >> 13 & 1, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 13, 0, 0), prctl(PR_GET_SECUREBITS));
}
static void again(const char *name) {
	execl("/proc/self/exe", name, "again", NULL);
	printf("%s\n", ename(errno));
}
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		show(argv[0]);
		return 0;
	}
	if (geteuid() != 0) {
		printf("not root\n");
		return 0;
	}
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}}, raw[2] = {{1 << 13, 1 << 13, 1 << 13}};
	reap("root without caps", CHILD({ syscall(SYS_capset, &h, none); again("root"); }));
	reap("bounded", CHILD({ prctl(PR_CAPBSET_DROP, CAP_CHOWN); again("bounded"); }));
	reap("nobody", CHILD({ prctl(PR_SET_KEEPCAPS, 1); setresuid(65534, 65534, 65534); show("kept"); again("nobody"); }));
	reap("inheritable", CHILD({ prctl(PR_SET_KEEPCAPS, 1); setresuid(65534, 65534, 65534); MUST(syscall(SYS_capset, &h, raw)); again("inheritable"); }));
	reap("ambient", CHILD({ prctl(PR_SET_KEEPCAPS, 1); setresuid(65534, 65534, 65534); MUST(syscall(SYS_capset, &h, raw)); MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 13, 0, 0)); again("ambient"); }));
	reap("noroot", CHILD({ MUST(prctl(PR_SET_SECUREBITS, 1)); again("noroot"); }));
	reap("no fixup", CHILD({ MUST(prctl(PR_SET_SECUREBITS, 4)); setresuid(65534, 65534, 65534); show("no fixup"); }));
	reap("locked", CHILD({ RET(prctl(PR_SET_SECUREBITS, 2)); RET(prctl(PR_SET_SECUREBITS, 3)); RET(prctl(PR_SET_SECUREBITS, 0x10000)); }));
	return 0;
}
