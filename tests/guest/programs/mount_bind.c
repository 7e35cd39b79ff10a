// Bind mounts: of directories and files, recursive, shadowing, moving, and unlinking a mount point.
#include "check.h"
int main(void) {
	private_mounts();
	mkdir("a", 0755);
	mkdir("b", 0755);
	mkdir("a/sub", 0755);
	close(file_with("a/f", "in a"));
	close(file_with("b/f", "in b"));
	RET(mount("a", "b", NULL, MS_BIND, NULL));
	show_file("b/f");
	close(file_with("b/new", "through b"));
	show_file("a/new");
	MUST(mount("t", "a/sub", "tmpfs", 0, NULL));
	close(file_with("a/sub/t", "tmpfs"));
	RET(access("b/sub/t", F_OK));
	RET(umount("b"));
	show_file("b/f");
	RET(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
	RET(access("b/sub/t", F_OK));
	RET(umount("b"));
	RET(umount2("b", MNT_DETACH));
	RET(mount("a/f", "b/f", NULL, MS_BIND, NULL));
	show_file("b/f");
	RET(unlink("b/f"));
	RET(rename("b/f", "b/g"));
	RET(umount("b/f"));
	show_file("b/f");
	RET(mount("a", "b/f", NULL, MS_BIND, NULL));
	RET(mount("a/f", "b", NULL, MS_BIND, NULL));
	RET(mount("none", "b", NULL, MS_BIND, NULL));
	mkdir("c", 0755);
	RET(mount("a/sub", "c", NULL, MS_MOVE, NULL));
	show_file("c/t");
	RET(access("a/sub/t", F_OK));
	RET(mount("a", "c", NULL, MS_MOVE, NULL));
	RET(rmdir("c"));
	// ".." from the root of a mount leads to the parent of the mount point.
	chdir("c");
	show_file("../a/f");
	chdir("..");
	RET(rename("c/t", "a/t"));
	RET(link("c/t", "a/t"));
	return 0;
}
