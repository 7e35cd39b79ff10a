// The new mount API: fsopen, fsconfig, fsmount, move_mount, open_tree, mount_setattr.
#include "check.h"
#include <linux/mount.h>
#include <sys/statvfs.h>
static int fsc(int fd, unsigned cmd, const char *k, const void *v, int aux) { return syscall(SYS_fsconfig, fd, cmd, k, v, aux); }
int main(void) {
	RET(syscall(SYS_fsopen, "nosuchfs", 0) < 0);
	private_mounts();
	mkdir("m", 0755);
	mkdir("n", 0755);
	int fs = syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	IS(fs >= 0);
	RET(fcntl(fs, F_GETFD));
	RET(fsc(fs, FSCONFIG_SET_STRING, "size", "1m", 0));
	RET(fsc(fs, FSCONFIG_SET_STRING, "bogus", "1m", 0));
	RET(fsc(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
	RET(fsc(fs, 99, NULL, NULL, 0));
	RET(syscall(SYS_fsmount, fs, 0, 0));
	RET(fsc(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int mnt = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC);
	IS(mnt >= 0);
	RET(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "m", MOVE_MOUNT_F_EMPTY_PATH));
	RET(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "m", 0));
	struct statvfs v;
	statvfs("m", &v);
	printf("flags %lx\n", v.f_flag & 0xf);
	RET(open("m/f", O_CREAT | O_WRONLY, 0644));
	RET(mount(NULL, "m", NULL, MS_REMOUNT, NULL));
	OK(open("m/f", O_CREAT | O_WRONLY, 0644));
	int tree = syscall(SYS_open_tree, AT_FDCWD, "m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	IS(tree >= 0);
	RET(faccessat(tree, "f", F_OK, 0));
	struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
	RET(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &a, sizeof a));
	RET(syscall(SYS_move_mount, tree, "", AT_FDCWD, "n", MOVE_MOUNT_F_EMPTY_PATH));
	RET(open("n/g", O_CREAT | O_WRONLY, 0644));
	OK(open("m/g", O_CREAT | O_WRONLY, 0644));
	a = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY, .propagation = MS_SHARED};
	RET(syscall(SYS_mount_setattr, AT_FDCWD, "n", 0, &a, sizeof a));
	OK(open("n/h", O_CREAT | O_WRONLY, 0644));
	a.attr_clr = 1ULL << 50;
	RET(syscall(SYS_mount_setattr, AT_FDCWD, "n", 0, &a, sizeof a));
	RET(syscall(SYS_mount_setattr, AT_FDCWD, "n", 0, &a, 4));
	RET(syscall(SYS_open_tree, AT_FDCWD, "none", 0));
	RET(syscall(SYS_open_tree, AT_FDCWD, "m", 0x40000000));
	return 0;
}
