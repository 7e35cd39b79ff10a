// renameat2: exchange, noreplace, whiteout, and flags that exclude each other.
#include "check.h"
int main(void) {
	close(file_with("a", "A"));
	close(file_with("b", "B"));
	mkdir("d", 0755);
	close(file_with("d/x", "X"));
	RET(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	show_file("a");
	show_file("b");
	RET(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_EXCHANGE));
	show_file("a/x");
	show_file("d");
	RET(renameat2(AT_FDCWD, "a", AT_FDCWD, "a/x", RENAME_EXCHANGE));
	RET(renameat2(AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE));
	RET(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_NOREPLACE));
	RET(renameat2(AT_FDCWD, "b", AT_FDCWD, "new", RENAME_NOREPLACE));
	show_file("new");
	RET(renameat2(AT_FDCWD, "d", AT_FDCWD, "new", RENAME_EXCHANGE | RENAME_NOREPLACE));
	RET(renameat2(AT_FDCWD, "d", AT_FDCWD, "new", 0x100));
	RET(renameat2(AT_FDCWD, "d", AT_FDCWD, "new", RENAME_EXCHANGE | RENAME_WHITEOUT));
	RET(renameat2(AT_FDCWD, "new", AT_FDCWD, "new", RENAME_NOREPLACE));
	return 0;
}
