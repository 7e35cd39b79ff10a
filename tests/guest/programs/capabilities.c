// capget and capset: dropping from the sets, the rules between them, and what setuid does to them.
#include "check.h"
#include <linux/capability.h>
static int get(struct __user_cap_data_struct *d) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	return syscall(SYS_capget, &h, d);
}
static int set(struct __user_cap_data_struct *d) {
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	return syscall(SYS_capset, &h, d);
}
#define HAS(f, c) ((d[(c) / 32].f >> ((c) % 32)) & 1)
int main(void) {
	struct __user_cap_data_struct d[2], e[2];
	struct __user_cap_header_struct h = {0x1234, 0};
	RET(syscall(SYS_capget, &h, d));
	printf("preferred version %x\n", h.version);
	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = 999999;
	RET(syscall(SYS_capget, &h, d));
	h.pid = -1;
	RET(syscall(SYS_capget, &h, d));
	RET(syscall(SYS_capget, &h, BAD));
	RET(syscall(SYS_capget, BAD, d));
	if (geteuid() != 0) {
		printf("not root\n");
		return 0;
	}
	MUST(get(d));
	printf("CHOWN e%d p%d i%d\n", HAS(effective, CAP_CHOWN), HAS(permitted, CAP_CHOWN), HAS(inheritable, CAP_CHOWN));
	d[0].effective &= ~(1u << CAP_CHOWN);
	RET(set(d));
	close(file_with("f", "x"));
	RET(chown("f", 1, 1));
	d[0].effective |= 1u << CAP_CHOWN;
	RET(set(d));
	RET(chown("f", 1, 1));
	d[0].permitted &= ~(1u << CAP_CHOWN);
	RET(set(d));
	d[0].effective &= ~(1u << CAP_CHOWN);
	RET(set(d));
	d[0].permitted |= 1u << CAP_CHOWN;
	RET(set(d));
	RET(prctl(PR_CAPBSET_READ, CAP_KILL));
	RET(prctl(PR_CAPBSET_DROP, CAP_KILL));
	RET(prctl(PR_CAPBSET_READ, CAP_KILL));
	RET(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_FOWNER, 0, 0));
	MUST(get(d));
	d[0].inheritable |= 1u << CAP_FOWNER;
	RET(set(d));
	RET(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_FOWNER, 0, 0));
	RET(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_FOWNER, 0, 0));
	RET(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	RET(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_FOWNER, 0, 0));
	// setuid to another loses all, unless kept; then only the effective ones.
	reap("setuid", CHILD({ MUST(setresuid(1000, 1000, 1000)); get(d); printf("e%d p%d\n", HAS(effective, CAP_FOWNER), HAS(permitted, CAP_FOWNER)); }));
	reap("keepcaps", CHILD({
		prctl(PR_SET_KEEPCAPS, 1);
		MUST(setresuid(1000, 1000, 1000));
		get(d);
		printf("e%d p%d\n", HAS(effective, CAP_FOWNER), HAS(permitted, CAP_FOWNER));
		d[0].effective = 1u << CAP_FOWNER;
		RET(set(d));
	}));
	reap("seteuid", CHILD({
		MUST(seteuid(1000));
		get(d);
		printf("e%d p%d\n", HAS(effective, CAP_FOWNER), HAS(permitted, CAP_FOWNER));
		MUST(seteuid(0));
		get(e);
		printf("back e%d\n", (e[0].effective >> CAP_FOWNER) & 1);
	}));
	return 0;
}
