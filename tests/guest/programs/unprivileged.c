// What the unprivileged may not do.
#include "check.h"
int main(void) {
	become_nobody();
	RET(syscall(SYS_quotactl, 0, "/dev/none", 0, NULL) < 0);
	RET(mount("a", "/", "tmpfs", 0, NULL));
	RET(umount("/"));
	RET(syscall(SYS_pivot_root, "/", "/"));
	RET(setns(open("/proc/self/ns/net", O_RDONLY), CLONE_NEWNET));
	RET(unshare(CLONE_NEWNS));
	RET(unshare(CLONE_NEWPID));
	RET(mknod("dev", S_IFCHR | 0666, 0x103));
	RET(chown("/", 1, 1));
	RET(chmod("/", 0777));
	RET(setpriority(PRIO_PROCESS, 0, -5));
	RET(sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}));
	RET(syscall(SYS_settimeofday, &(struct timeval){1, 0}, NULL));
	RET(syscall(SYS_syslog, 5, NULL, 0));
	RET(vhangup());
	RET(swapoff("/none") < 0);
	RET(prctl(PR_CAPBSET_DROP, 0));
	RET(syscall(SYS_delete_module, "x", 0) < 0);
	RET(syscall(SYS_kexec_load, 0, 0, NULL, 0) < 0);
	return 0;
}
