// /proc/self/maps: the form of its lines, the rights, names of mappings, and merging of equal neighbours.
#include "check.h"
static char line[512];
static int find(const char *what, unsigned long at) {
	FILE *f = fopen("/proc/self/maps", "r");
	int found = 0;
	while (!found && fgets(line, sizeof line, f)) {
		unsigned long a, b;
		CHECK(sscanf(line, "%lx-%lx", &a, &b) == 2);
		found = at ? at >= a && at < b : strstr(line, what) != NULL;
	}
	fclose(f);
	return found;
}
static void show(const char *label, void *p, void *base) {
	unsigned long a, b, off;
	char perm[8], dev[16], name[256] = "";
	long ino;
	if (!find(NULL, (unsigned long)p)) {
		printf("%s: not mapped\n", label);
		return;
	}
	int n = sscanf(line, "%lx-%lx %7s %lx %15s %ld %255s", &a, &b, perm, &off, dev, &ino, name);
	char *base_name = strrchr(name, '/');
	printf("%s: fields %d, start +%ld, pages %ld, %s, offset %lx, has inode %d, name %s\n", label, n, (long)(a - (unsigned long)base) / 4096, (long)(b - a) / 4096, perm, off, ino != 0, base_name ? base_name + 1 : name);
}
int main(void) {
	char *p = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p += PAGE;
	MUST(mprotect(p, 6 * PAGE, PROT_READ | PROT_WRITE));
	show("anonymous", p, p);
	MUST(mprotect(p + 2 * PAGE, PAGE, PROT_READ | PROT_EXEC));
	show("first part", p, p);
	show("middle", p + 2 * PAGE, p);
	show("last part", p + 3 * PAGE, p);
	MUST(mprotect(p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	show("merged again", p, p);
	int fd = file_with("file", "");
	MUST(ftruncate(fd, 4 * PAGE));
	char *m = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	show("file", m, m);
	unlink("file");
	find(NULL, (unsigned long)m);
	IS(strstr(line, "/file (deleted)") != NULL);
	int mf = memfd_create("note", 0);
	MUST(ftruncate(mf, PAGE));
	char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, mf, 0);
	find(NULL, (unsigned long)q);
	IS(strstr(line, "/memfd:note (deleted)") != NULL);
	IS(find("[stack]", 0));
	IS(strstr(line, " rw-p ") != NULL);
	malloc(10);
	IS(find("[heap]", 0));
	IS(find("[vdso]", 0));
	IS(strstr(line, " r-xp ") != NULL);
	return 0;
}
