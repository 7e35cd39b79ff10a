// nice, getpriority, setpriority: range, inheritance, by group and user, and privilege.
#include "check.h"
int main(void) {
	RET(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	RET(nice(5));
	RET(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	RET(setpriority(PRIO_PROCESS, 0, 100));
	RET(getpriority(PRIO_PROCESS, 0));
	reap("child", CHILD({ RET(getpriority(PRIO_PROCESS, 0)); }));
	RET(setpriority(9, 0, 0));
	RET(getpriority(PRIO_PROCESS, 999999));
	RET(setpriority(PRIO_PROCESS, 999999, 0));
	reap("unprivileged", CHILD({ become_nobody(); RET(setpriority(PRIO_PROCESS, 0, 0)); RET(setpriority(PRIO_PROCESS, 0, 19)); RET(nice(-1)); }));
	RET(setpriority(PRIO_PGRP, 0, 19));
	RET(getpriority(PRIO_PGRP, 0));
	return 0;
}
