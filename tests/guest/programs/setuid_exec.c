// A setuid and setgid program changes the effective and saved ids, sets AT_SECURE, unless no_new_privs or nosuid.
#include "check.h"
#include <sys/auxv.h>
static void show(const char *w) {
	uid_t r, e, s;
	gid_t g, h, i;
	getresuid(&r, &e, &s);
	getresgid(&g, &h, &i);
	printf("%s: uid %d %d %d gid %d %d %d secure %ld dumpable %d\n", w, r, e, s, g, h, i, getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE) == 1);
}
static void copy_self(const char *to) {
	int in = MUST(open("/proc/self/exe", O_RDONLY)), out = MUST(open(to, O_WRONLY | O_CREAT, 0755));
	char b[65536];
	ssize_t n;
	while ((n = read(in, b, sizeof b)) > 0)
		MUST(write(out, b, n));
	close(in);
	close(out);
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
	MUST(chmod(".", 0755));
	copy_self("suid");
	MUST(chown("suid", 1234, 4321));
	MUST(chmod("suid", 04755));
	copy_self("sgid");
	MUST(chown("sgid", 1234, 4321));
	MUST(chmod("sgid", 02755));
	copy_self("rootsuid");
	MUST(chmod("rootsuid", 06755));
	for (int nnp = 0; nnp < 2; nnp++) {
		const char *names[] = {"suid", "sgid", "rootsuid"};
		for (int i = 0; i < 3; i++) {
			char path[32];
			snprintf(path, sizeof path, "./%s", names[i]);
			reap(names[i], CHILD({
				become_nobody();
				if (nnp)
					prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
				execl(path, names[i], "again", NULL);
				printf("%s\n", ename(errno));
			}));
		}
	}
	// chown and writing clear the bits.
	struct stat st;
	MUST(chown("suid", 1, 1));
	stat("suid", &st);
	printf("after chown %o\n", st.st_mode & 07777);
	MUST(chmod("suid", 06777));
	reap("writer", CHILD({ become_nobody(); int fd = open("suid", O_WRONLY | O_APPEND); MUST(write(fd, "x", 1)); }));
	stat("suid", &st);
	printf("after a write by another %o\n", st.st_mode & 07777);
	return 0;
}
