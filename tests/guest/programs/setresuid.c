// The set*id calls: what root may, what others may, saved ids, filesystem ids, and -1.
#include "check.h"
#include <sys/fsuid.h>
static void show(void) {
	uid_t r, e, s;
	gid_t g, h, i;
	getresuid(&r, &e, &s);
	getresgid(&g, &h, &i);
	printf("uid %d %d %d gid %d %d %d fs %d %d\n", r, e, s, g, h, i, setfsuid(-1), setfsgid(-1));
}
int main(void) {
	if (geteuid() != 0) {
		RET(setuid(0));
		RET(setgid(0));
		RET(setreuid(0, 0));
		RET(setresuid(-1, -1, -1));
		return 0;
	}
	reap("setuid", CHILD({ RET(setgid(7)); RET(setuid(5)); show(); RET(setuid(0)); RET(seteuid(0)); RET(setgid(0)); }));
	reap("seteuid", CHILD({ RET(seteuid(5)); show(); RET(setuid(6)); RET(seteuid(0)); show(); }));
	reap("setreuid", CHILD({ RET(setreuid(3, 4)); show(); RET(setreuid(4, 3)); show(); RET(setreuid(-1, 9)); }));
	reap("setresuid", CHILD({ RET(setresuid(1, 2, 3)); show(); RET(setresuid(3, 1, 2)); show(); RET(setresuid(0, -1, -1)); RET(setresuid(-1, 2, -1)); show(); }));
	reap("setresgid", CHILD({ RET(setresgid(1, 2, 3)); show(); RET(setregid(-1, 9)); show(); }));
	reap("setfsuid", CHILD({ printf("was %d\n", setfsuid(55)); show(); RET(seteuid(8)); show(); }));
	reap("setgroups", CHILD({
		gid_t l[3] = {5, 3, 4};
		gid_t o[8];
		RET(setgroups(3, l));
		int n = getgroups(8, o);
		printf("%d: %d %d %d\n", n, o[0], o[1], o[2]);
		RET(getgroups(0, NULL));
		RET(getgroups(2, o));
		RET(getgroups(-1, o));
		RET(syscall(SYS_setgroups, 70000, l));
		RET(setgroups(1, BAD));
		become_nobody();
		RET(setgroups(0, NULL));
	}));
	RET(getresuid(BAD, BAD, BAD));
	return 0;
}
