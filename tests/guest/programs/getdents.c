// Directory reading: all entries once, types, rewinding, seeking, small buffers, and changes while reading.
#include "check.h"
struct d64 {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};
static int cmp(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
static int list(DIR *d, int print) {
	char *names[400];
	int n = 0;
	struct dirent *e;
	while ((e = readdir(d))) {
		char buf[300];
		snprintf(buf, sizeof buf, "%s:%d", e->d_name, e->d_type);
		names[n++] = strdup(buf);
	}
	qsort(names, n, sizeof *names, cmp);
	for (int i = 0; print && i < n; i++)
		printf("%s\n", names[i]);
	return n;
}
int main(void) {
	mkdir("d", 0755);
	chdir("d");
	close(file_with("file", ""));
	mkdir("dir", 0755);
	symlink("x", "link");
	mkfifo("fifo", 0644);
	DIR *d = opendir(".");
	list(d, 1);
	RET(readdir(d) == NULL);
	rewinddir(d);
	RET(list(d, 0));
	int fd = open(".", O_RDONLY);
	char b[32768];
	RET(syscall(SYS_getdents64, fd, b, 10));
	RET(syscall(SYS_getdents64, fd, BAD, 1000));
	RET(syscall(SYS_getdents64, 99, b, 1000));
	RET(syscall(SYS_getdents64, open("file", O_RDONLY), b, 1000));
	char name[16];
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "n%03d", i);
		close(open(name, O_CREAT | O_WRONLY, 0644));
	}
	lseek(fd, 0, SEEK_SET);
	int total = 0, calls = 0;
	long n;
	while ((n = syscall(SYS_getdents64, fd, b, 256)) > 0) {
		calls++;
		for (long o = 0; o < n; o += ((struct d64 *)(b + o))->len)
			total++;
	}
	printf("entries %d, several calls %d\n", total, calls > 20);
	RET(syscall(SYS_getdents64, fd, b, 256));
	// Seek back to a remembered place gives the same entry.
	rewinddir(d);
	for (int i = 0; i < 50; i++)
		readdir(d);
	long pos = telldir(d);
	char want[256];
	strcpy(want, readdir(d)->d_name);
	for (int i = 0; i < 30; i++)
		readdir(d);
	seekdir(d, pos);
	IS(strcmp(want, readdir(d)->d_name) == 0);
	// Removing everything while reading leaves none behind.
	rewinddir(d);
	struct dirent *e;
	int removed = 0;
	while ((e = readdir(d)))
		removed += e->d_name[0] == 'n' && unlink(e->d_name) == 0;
	printf("removed %d\n", removed);
	rewinddir(d);
	RET(list(d, 0));
	return 0;
}
